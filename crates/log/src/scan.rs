//! Finding records in a segment: one after the other, and again behind a damaged one.
//!
//! Not here: what a damaged record means for the log (`recover.rs`).

use std::io;

use bessemer_seam::log_disk::LogFile;

use crate::frame::{
    self, ALIGN_BYTES, FRAME_BYTES_MIN, HEADER_BYTES, Header, Place, TRAILER_BYTES,
};
use crate::position::Position;
use crate::segment::Window;

/// Zeros are skipped in steps of this many bytes.
const SKIP_BYTES: u64 = 4096;

/// What lies at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// A whole record; both checksums are right.
    Record(Header),
    /// Zeros, or no room for a record: nothing was written here.
    End,
    /// Something that is not a record.
    Bad,
}

/// Looks at `place`, whose segment `window` reads.
pub(crate) fn next<F: LogFile>(window: &mut Window<'_, F>, place: Place) -> io::Result<Next> {
    let offset = u64::from(place.at.offset);
    if offset + FRAME_BYTES_MIN as u64 > window.bytes() {
        return Ok(Next::End);
    }
    let Some(bytes) = window.slice(offset, HEADER_BYTES as u64)? else {
        return Ok(Next::End);
    };
    if bytes[..4] == [0; 4] {
        return Ok(Next::End);
    }
    let Some(header) = frame::header(place, bytes) else {
        return Ok(Next::Bad);
    };
    let whole = match window.slice(offset, u64::from(header.bytes))? {
        Some(frame) => frame::body(place, frame).is_some(),
        None => false,
    };
    Ok(if whole { Next::Record(header) } else { Next::Bad })
}

/// What lies behind the end, or behind a damaged record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rest {
    /// The largest watermark any whole record states.
    pub watermark: Option<Position>,
    /// End of the last bytes that are not zero; `None` when all are.
    pub written_end: Option<u32>,
}

/// Searches `segment` from the offset `from` (a multiple of 8) to its end, for records at any
/// multiple of 8. Costs one read of the segment, little memory.
pub(crate) fn search<F: LogFile>(
    window: &mut Window<'_, F>,
    salt: u64,
    segment: u32,
    from: u32,
) -> io::Result<Rest> {
    let mut rest = Rest::default();
    let mut offset = from;
    while u64::from(offset) < window.bytes() {
        let left = window.bytes() - u64::from(offset);
        let block = window.slice(u64::from(offset), left.min(SKIP_BYTES))?.unwrap_or(&[]);
        let block_bytes = block.len() as u32;
        let Some(zeros) = block.iter().position(|byte| *byte != 0) else {
            offset += block_bytes;
            continue;
        };
        offset += (zeros - zeros % ALIGN_BYTES) as u32;
        let place = Place { salt, at: Position { segment, offset } };
        let step = match next(window, place)? {
            Next::Record(header) => {
                rest.watermark = rest.watermark.max(Some(header.watermark));
                header.stride()
            }
            Next::Bad | Next::End => ALIGN_BYTES as u32,
        };
        rest.written_end = Some((u64::from(offset) + u64::from(step)).min(window.bytes()) as u32);
        offset += step;
    }
    Ok(rest)
}

/// The body of the record at `at` that `next` found to be whole.
pub(crate) fn body<'w, F: LogFile>(
    window: &'w mut Window<'_, F>,
    at: Position,
    header: &Header,
) -> io::Result<&'w [u8]> {
    let frame = window.slice(u64::from(at.offset), u64::from(header.bytes))?;
    let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(&frame[HEADER_BYTES..frame.len() - TRAILER_BYTES])
}
