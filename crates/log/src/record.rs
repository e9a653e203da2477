//! What a record says: its kinds, and their bytes.
//!
//! Not here: framing and checksums (`frame.rs`), and what a vote or an entry means.
//! Invariant: numbers of kinds are never reused; a change of a body's bytes is a new version.

use bessemer_model::GroupId;

use crate::frame::{self, Header, Place};
use crate::position::Position;

const VERSION: u8 = 1;
const MAGIC: [u8; 8] = *b"bessemer";

/// One step of the log's sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Record<'a> {
    /// First in each segment.
    Segment {
        salt: u64,
        previous_end: Position,
    },
    /// All about a group but its entries' bytes, so that older segments may go.
    Summary(Summary),
    Vote(&'a [u8]),
    Entry {
        index: u64,
        payload: &'a [u8],
    },
    /// Entries above `after` are gone; `None` is all of them.
    Truncate {
        after: Option<u64>,
    },
    Purge {
        index: u64,
        log_id: &'a [u8],
    },
    Committed(&'a [u8]),
    /// Says nothing but its watermark.
    Mark,
}

/// A group as the records before this one left it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Summary {
    /// First and last entry.
    pub range: Option<(u64, u64)>,
    pub purged: Option<(u64, Vec<u8>)>,
    pub vote: Option<Vec<u8>>,
    pub committed: Option<Vec<u8>>,
}

/// Bytes of an entry's record before its payload.
pub(crate) const ENTRY_PREFIX_BYTES: usize = frame::HEADER_BYTES + 8;

impl Record<'_> {
    fn kind(&self) -> u8 {
        match self {
            Record::Segment { .. } => 1,
            Record::Summary(_) => 2,
            Record::Vote(_) => 3,
            Record::Entry { .. } => 4,
            Record::Truncate { .. } => 5,
            Record::Purge { .. } => 6,
            Record::Committed(_) => 7,
            Record::Mark => 8,
        }
    }

    fn body_bytes(&self) -> usize {
        match self {
            Record::Segment { .. } => 24,
            Record::Summary(summary) => {
                let optional = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, |p| 4 + p.len());
                let purged = summary.purged.as_ref().map_or(0, |(_, id)| 12 + id.len());
                let range = summary.range.map_or(0, |_| 16);
                1 + range + purged + optional(&summary.vote) + optional(&summary.committed)
            }
            Record::Vote(bytes) | Record::Committed(bytes) => bytes.len(),
            Record::Entry { payload, .. } => 8 + payload.len(),
            Record::Truncate { after } => 1 + after.map_or(0, |_| 8),
            Record::Purge { log_id, .. } => 8 + log_id.len(),
            Record::Mark => 0,
        }
    }

    /// Bytes that this record takes in a segment.
    pub fn stride(&self) -> usize {
        frame::stride_of(self.body_bytes())
    }

    /// Appends this record, framed for `at`, to `into`.
    pub fn encode(
        &self,
        into: &mut Vec<u8>,
        salt: u64,
        at: Position,
        group: GroupId,
        watermark: Position,
    ) {
        // A segment's first record is read before the salt is known.
        let salt = if matches!(self, Record::Segment { .. }) { 0 } else { salt };
        let header = Header { bytes: 0, group, kind: self.kind(), version: VERSION, watermark };
        frame::encode(into, Place { salt, at }, header, self.body_bytes(), |into| self.body(into));
    }

    fn body(&self, into: &mut Vec<u8>) {
        match self {
            Record::Segment { salt, previous_end } => {
                into.extend_from_slice(&MAGIC);
                into.extend_from_slice(&salt.to_le_bytes());
                into.extend_from_slice(&previous_end.to_u64().to_le_bytes());
            }
            Record::Summary(summary) => summary.encode(into),
            Record::Vote(bytes) | Record::Committed(bytes) => into.extend_from_slice(bytes),
            Record::Entry { index, payload: bytes } | Record::Purge { index, log_id: bytes } => {
                into.extend_from_slice(&index.to_le_bytes());
                into.extend_from_slice(bytes);
            }
            Record::Truncate { after } => {
                into.push(u8::from(after.is_some()));
                if let Some(after) = after {
                    into.extend_from_slice(&after.to_le_bytes());
                }
            }
            Record::Mark => {}
        }
    }
}

impl Summary {
    fn encode(&self, into: &mut Vec<u8>) {
        let flags = u8::from(self.range.is_some())
            | u8::from(self.purged.is_some()) << 1
            | u8::from(self.vote.is_some()) << 2
            | u8::from(self.committed.is_some()) << 3;
        into.push(flags);
        if let Some((first, last)) = self.range {
            into.extend_from_slice(&first.to_le_bytes());
            into.extend_from_slice(&last.to_le_bytes());
        }
        if let Some((index, log_id)) = &self.purged {
            into.extend_from_slice(&index.to_le_bytes());
            put_bytes(into, log_id);
        }
        for part in [&self.vote, &self.committed].into_iter().flatten() {
            put_bytes(into, part);
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Summary> {
        let flags = fields.byte()?;
        let mut summary = Summary::default();
        if flags & 1 != 0 {
            summary.range = Some((fields.number()?, fields.number()?));
        }
        if flags & 2 != 0 {
            summary.purged = Some((fields.number()?, fields.bytes()?.to_vec()));
        }
        if flags & 4 != 0 {
            summary.vote = Some(fields.bytes()?.to_vec());
        }
        if flags & 8 != 0 {
            summary.committed = Some(fields.bytes()?.to_vec());
        }
        (flags < 16).then_some(summary)
    }
}

/// Reads a body; `None` when kind or version are unknown, or the body is not one of that kind.
pub(crate) fn decode(kind: u8, version: u8, body: &[u8]) -> Option<Record<'_>> {
    if version != VERSION {
        return None;
    }
    let mut fields = Fields { rest: body };
    let record = match kind {
        1 => {
            (fields.take(8)? == MAGIC).then_some(())?;
            let salt = fields.number()?;
            Record::Segment { salt, previous_end: Position::from_u64(fields.number()?) }
        }
        2 => Record::Summary(Summary::decode(&mut fields)?),
        3 => Record::Vote(fields.rest()),
        4 => Record::Entry { index: fields.number()?, payload: fields.rest() },
        5 => match fields.byte()? {
            0 => Record::Truncate { after: None },
            1 => Record::Truncate { after: Some(fields.number()?) },
            _ => return None,
        },
        6 => Record::Purge { index: fields.number()?, log_id: fields.rest() },
        7 => Record::Committed(fields.rest()),
        8 => Record::Mark,
        _ => return None,
    };
    fields.rest.is_empty().then_some(record)
}

fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("opaque values are bounded");
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(bytes);
}

/// The not yet read part of a body.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u64> {
        let bytes = self.take(8)?.try_into().expect("8 bytes were taken");
        Some(u64::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.take(4)?.try_into().expect("4 bytes were taken");
        self.take(u32::from_le_bytes(length) as usize)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(record: &Record<'_>) {
        let at = Position::new(1, 8);
        let mut bytes = Vec::new();
        record.encode(&mut bytes, 0, at, GroupId(1), Position::default());
        assert_eq!(bytes.len(), record.stride());
        let place = Place { salt: 0, at };
        let header = frame::header(place, &bytes).unwrap();
        let body = frame::body(place, &bytes[..header.bytes as usize]).unwrap();
        assert_eq!(decode(header.kind, header.version, body).as_ref(), Some(record));
        assert_eq!(decode(header.kind, 2, body), None);
        assert_eq!(decode(99, 1, body), None);
    }

    #[test]
    fn every_kind_reads_back() {
        let full = Summary {
            range: Some((3, 9)),
            purged: Some((2, vec![1, 2])),
            vote: Some(vec![7]),
            committed: Some(vec![]),
        };
        round_trip(&Record::Segment { salt: u64::MAX, previous_end: Position::new(1, 2) });
        round_trip(&Record::Summary(full));
        round_trip(&Record::Summary(Summary::default()));
        round_trip(&Record::Vote(b"v"));
        round_trip(&Record::Entry { index: 0, payload: b"" });
        round_trip(&Record::Entry { index: u64::MAX, payload: b"payload" });
        round_trip(&Record::Truncate { after: None });
        round_trip(&Record::Truncate { after: Some(4) });
        round_trip(&Record::Purge { index: 4, log_id: b"id" });
        round_trip(&Record::Committed(b"c"));
        round_trip(&Record::Mark);
    }

    #[test]
    fn short_and_long_bodies_are_refused() {
        assert_eq!(decode(4, 1, &[0; 7]), None);
        assert_eq!(decode(8, 1, &[0]), None);
        assert_eq!(decode(2, 1, &[4, 255, 255, 255, 255, 0]), None);
        assert_eq!(decode(2, 1, &[16]), None);
    }

    #[test]
    fn a_truncation_says_whether_it_keeps_entries_in_one_way() {
        assert!(decode(5, 1, &[1, 4, 0, 0, 0, 0, 0, 0, 0]).is_some());
        assert_eq!(decode(5, 1, &[2, 4, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
