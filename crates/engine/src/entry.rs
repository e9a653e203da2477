//! Entries of the log: a batch of parts, each a run of requests of one lane.
//!
//! Not here: the bytes of a request (`codec/request.rs`); who made the batch.
//! Layout, version 1:
//!   batch = version, stamp (8 bytes), number of parts, then each part with its length;
//!   part  = version, 0 or (1, node, boot, seq), number of requests, then each with its length.
//! The leader joins parts without reading their requests. Any bytes decode to a value or an error.

use bessemer_model::{BootCount, LaneSeq, Millis, NodeId, Request};

use crate::bytes::{Reader, Writer};
use crate::codec::request::{decode_request, encode_request};
use crate::fault::DecodeError;

/// Batch format. 1 was the first.
const BATCH_VERSION: u8 = 1;
/// Part format. 1 was the first.
const PART_VERSION: u8 = 1;
/// Latest stamp, some 280,000 years after the epoch: log time never comes near its type's end.
const STAMP_MAX: Millis = Millis(1 << 53);

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The leader's log time when it made the entry.
    pub stamp: Millis,
    pub parts: Vec<Part>,
}

/// Requests of one node, in its order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// `None`: the leader's own commands (`InitGroup`, `Tick`, `Sweep`).
    pub lane: Option<LaneSeq>,
    pub requests: Vec<Request>,
}

/// Joins parts, each from `encode_part`, into an entry. Their requests are not looked at.
pub fn encode_batch(stamp: Millis, parts: &[Vec<u8>]) -> Vec<u8> {
    let bytes: usize = parts.iter().map(|part| part.len() + 10).sum();
    let mut writer = Writer::with_capacity(bytes + 20);
    writer.u8(BATCH_VERSION);
    writer.fixed(stamp.0);
    writer.var(parts.len() as u64);
    for part in parts {
        writer.slice(part);
    }
    writer.finish()
}

/// Encodes requests as one part.
pub fn encode_part(lane: Option<LaneSeq>, requests: &[Request]) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = requests.iter().map(encode_request).collect();
    join_part(lane, &encoded)
}

/// Joins requests, each from `encode_request`, into one part.
pub fn join_part(lane: Option<LaneSeq>, requests: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let bytes: usize = requests.iter().map(|request| request.as_ref().len() + 10).sum();
    let mut writer = Writer::with_capacity(bytes + 40);
    writer.u8(PART_VERSION);
    match lane {
        None => writer.u8(0),
        Some(lane) => {
            writer.u8(1);
            writer.var(lane.node.0);
            writer.var(lane.boot.0);
            writer.var(lane.seq);
        }
    }
    writer.var(requests.len() as u64);
    for request in requests {
        writer.slice(request.as_ref());
    }
    writer.finish()
}

/// Reads the header of a part: its lane and its number of requests, which are not looked at.
pub fn peek_part(part: &[u8]) -> Result<(Option<LaneSeq>, usize), DecodeError> {
    let mut reader = Reader::new("part", part);
    let (lane, count) = part_header(&mut reader)?;
    // Each request takes at least the byte of its length.
    if count > reader.left() as u64 {
        return Err(reader.malformed());
    }
    Ok((lane, reader.room(count)))
}

/// Reads a whole entry.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch, DecodeError> {
    let mut reader = Reader::new("batch", bytes);
    reader.version(BATCH_VERSION)?;
    let stamp = Millis(reader.fixed()?);
    if stamp > STAMP_MAX {
        return Err(reader.malformed());
    }
    let count = reader.var()?;
    let mut parts = Vec::with_capacity(reader.room(count).min(1024));
    for _ in 0..count {
        parts.push(decode_part(reader.slice()?)?);
    }
    reader.end()?;
    Ok(Batch { stamp, parts })
}

/// Reads a whole part.
pub fn decode_part(bytes: &[u8]) -> Result<Part, DecodeError> {
    let mut reader = Reader::new("part", bytes);
    let (lane, count) = part_header(&mut reader)?;
    let mut requests = Vec::with_capacity(reader.room(count).min(1024));
    for _ in 0..count {
        requests.push(decode_request(reader.slice()?)?);
    }
    reader.end()?;
    Ok(Part { lane, requests })
}

fn part_header(reader: &mut Reader<'_>) -> Result<(Option<LaneSeq>, u64), DecodeError> {
    reader.version(PART_VERSION)?;
    let lane = if reader.flag()? {
        Some(LaneSeq {
            node: NodeId(reader.var()?),
            boot: BootCount(reader.var()?),
            seq: reader.var()?,
        })
    } else {
        None
    };
    Ok((lane, reader.var()?))
}
