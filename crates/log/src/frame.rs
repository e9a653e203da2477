//! How a record lies in a segment: header, body, checksum, zeros up to a multiple of 8.
//!
//! Not here: what a body says (`record.rs`).
//! Layout, little-endian: length u32 (header, body and checksum; never 0) · crc u32 of the other
//! header bytes · group u16 · kind u8 · version u8 · watermark u64 · body · crc u32 of all before.
//! Invariant: both checksums are seeded with the log's salt and the record's position, so bytes
//! are a record only where they were written as one.

use bessemer_model::GroupId;

use crate::position::Position;

pub(crate) const HEADER_BYTES: usize = 20;
pub(crate) const TRAILER_BYTES: usize = 4;
pub(crate) const ALIGN_BYTES: usize = 8;
/// Smallest record: an empty body.
pub(crate) const FRAME_BYTES_MIN: usize = HEADER_BYTES + TRAILER_BYTES;

/// The header of a record whose own checksum is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    /// Header, body and checksum, without the zeros after.
    pub bytes: u32,
    pub group: GroupId,
    pub kind: u8,
    pub version: u8,
    pub watermark: Position,
}

impl Header {
    /// Bytes from this record's start to the next one's.
    pub fn stride(&self) -> u32 {
        self.bytes.next_multiple_of(ALIGN_BYTES as u32)
    }
}

/// Bytes that a record with a body of `body_bytes` takes in a segment.
pub(crate) fn stride_of(body_bytes: usize) -> usize {
    (FRAME_BYTES_MIN + body_bytes).next_multiple_of(ALIGN_BYTES)
}

/// Where a record is, and whose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub salt: u64,
    pub at: Position,
}

impl Place {
    fn seed(self) -> u32 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.salt.to_le_bytes());
        bytes[8..].copy_from_slice(&self.at.to_u64().to_le_bytes());
        crc32c::crc32c(&bytes)
    }
}

/// Appends a record to `into`; `body` writes exactly `body_bytes` bytes.
pub(crate) fn encode(
    into: &mut Vec<u8>,
    place: Place,
    mut header: Header,
    body_bytes: usize,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = into.len();
    header.bytes = u32::try_from(FRAME_BYTES_MIN + body_bytes).expect("records fit in a segment");
    into.extend_from_slice(&header.bytes.to_le_bytes());
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(&header.group.0.to_le_bytes());
    into.push(header.kind);
    into.push(header.version);
    into.extend_from_slice(&header.watermark.to_u64().to_le_bytes());
    let seed = place.seed();
    let crc = header_crc(seed, &into[start..]);
    into[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    body(into);
    assert_eq!(into.len() - start, HEADER_BYTES + body_bytes, "a body is as long as announced");
    let crc = crc32c::crc32c_append(seed, &into[start..]);
    into.extend_from_slice(&crc.to_le_bytes());
    into.resize(start + stride_of(body_bytes), 0);
}

/// Reads a header from the first `HEADER_BYTES` of `bytes`; `None` when it is not one.
pub(crate) fn header(place: Place, bytes: &[u8]) -> Option<Header> {
    let length = u32::from_le_bytes(array(bytes, 0));
    if (length as usize) < FRAME_BYTES_MIN {
        return None;
    }
    if u32::from_le_bytes(array(bytes, 4)) != header_crc(place.seed(), &bytes[..HEADER_BYTES]) {
        return None;
    }
    Some(Header {
        bytes: length,
        group: GroupId(u16::from_le_bytes(array(bytes, 8))),
        kind: bytes[10],
        version: bytes[11],
        watermark: Position::from_u64(u64::from_le_bytes(array(bytes, 12))),
    })
}

/// The body of the record that `frame` is, whole and without the zeros; `None` when damaged.
pub(crate) fn body(place: Place, frame: &[u8]) -> Option<&[u8]> {
    let end = frame.len().checked_sub(TRAILER_BYTES)?;
    let crc = crc32c::crc32c_append(place.seed(), &frame[..end]);
    if u32::from_le_bytes(array(frame, end)) != crc {
        return None;
    }
    frame.get(HEADER_BYTES..end)
}

fn header_crc(seed: u32, header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &header[..4]), &header[8..HEADER_BYTES])
}

fn array<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    bytes[from..from + N].try_into().expect("a slice of N bytes is an array of N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { salt: 7, at: Position::new(3, 64) };

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = Header {
            bytes: 0,
            group: GroupId(9),
            kind: 4,
            version: 1,
            watermark: Position::new(2, 8),
        };
        encode(&mut bytes, PLACE, header, 5, |into| into.extend_from_slice(b"hello"));
        bytes
    }

    #[test]
    fn a_record_reads_back() {
        let bytes = sample();
        assert_eq!(bytes.len(), stride_of(5));
        let header = header(PLACE, &bytes).unwrap();
        assert_eq!((header.bytes, header.stride()), (29, 32));
        assert_eq!((header.group, header.kind, header.version), (GroupId(9), 4, 1));
        assert_eq!(header.watermark, Position::new(2, 8));
        assert_eq!(body(PLACE, &bytes[..29]).unwrap(), b"hello");
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        for bit in 0..29 * 8 {
            let mut bytes = sample();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let whole = header(PLACE, &bytes).is_some() && body(PLACE, &bytes[..29]).is_some();
            assert!(!whole, "bit {bit}");
            assert_eq!(header(PLACE, &bytes).is_some(), bit >= HEADER_BYTES * 8, "bit {bit}");
        }
    }

    #[test]
    fn a_record_is_none_elsewhere() {
        let bytes = sample();
        let moved = Place { at: Position::new(3, 72), ..PLACE };
        assert!(header(moved, &bytes).is_none());
        assert!(body(moved, &bytes[..29]).is_none());
        assert!(header(Place { salt: 8, ..PLACE }, &bytes).is_none());
    }
}
