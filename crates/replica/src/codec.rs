//! Log ids, votes, memberships and log records as bytes of our own, on disk and on the wire.
//!
//! Not here: messages between nodes (`wire.rs`); what a batch says (the engine's entry codec).
//! Invariants: every decoder is total; every encoding starts with its version where it is stored
//! by itself; `log_index(raft) = raft + 1`, since openraft counts entries from 0 and everything
//! else counts from 1 with 0 as "before the first".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bessemer_model::LogIndex;
use openraft::EntryPayload;

use crate::bytes::{DecodeError, Reader, Writer};
use crate::types::{
    Entry, EntryData, LeaderId, LogId, Membership, PeerNode, StoredMembership, Vote,
};

/// Version of every stored encoding here. V1 was the first.
const VERSION: u8 = 1;
const KIND_BLANK: u8 = 0;
const KIND_BATCH: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;
/// Bytes before the payload of a log record: version, kind, term, node, index.
pub const RECORD_HEADER_BYTES: usize = 2 + 3 * 8;

/// The index outside openraft of the entry that openraft calls `raft_index`.
pub fn log_index(raft_index: u64) -> LogIndex {
    LogIndex(raft_index + 1)
}

/// The index inside openraft; `None` before the first entry.
pub fn raft_index(index: LogIndex) -> Option<u64> {
    index.0.checked_sub(1)
}

pub fn put_log_id(w: &mut Writer, id: &LogId) {
    w.u64(id.leader_id.term);
    w.u64(id.leader_id.node_id);
    w.u64(id.index);
}

pub fn get_log_id(r: &mut Reader<'_>) -> Result<LogId, DecodeError> {
    let leader_id = LeaderId { term: r.u64()?, node_id: r.u64()? };
    Ok(LogId { leader_id, index: r.u64()? })
}

pub fn put_option_log_id(w: &mut Writer, id: Option<&LogId>) {
    w.bool(id.is_some());
    if let Some(id) = id {
        put_log_id(w, id);
    }
}

pub fn get_option_log_id(r: &mut Reader<'_>) -> Result<Option<LogId>, DecodeError> {
    if r.bool()? { Ok(Some(get_log_id(r)?)) } else { Ok(None) }
}

pub fn put_vote(w: &mut Writer, vote: &Vote) {
    w.u64(vote.leader_id.term);
    w.u64(vote.leader_id.node_id);
    w.bool(vote.committed);
}

pub fn get_vote(r: &mut Reader<'_>) -> Result<Vote, DecodeError> {
    let leader_id = LeaderId { term: r.u64()?, node_id: r.u64()? };
    Ok(Vote { leader_id, committed: r.bool()? })
}

pub fn put_membership(w: &mut Writer, membership: &Membership) {
    let configs = membership.get_joint_config();
    w.length(configs.len());
    for config in configs {
        w.length(config.len());
        for node in config {
            w.u64(*node);
        }
    }
    w.length(membership.nodes().count());
    for (id, node) in membership.nodes() {
        w.u64(*id);
        w.text(&node.peer_address);
        w.text(&node.http_address);
    }
}

pub fn get_membership(r: &mut Reader<'_>) -> Result<Membership, DecodeError> {
    let mut configs = Vec::new();
    for _ in 0..r.count(4)? {
        let mut config = BTreeSet::new();
        for _ in 0..r.count(8)? {
            config.insert(r.key_above(config.last().copied())?);
        }
        configs.push(config);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..r.count(16)? {
        let id = r.key_above(nodes.last_key_value().map(|(id, _)| *id))?;
        nodes.insert(id, PeerNode { peer_address: r.text()?, http_address: r.text()? });
    }
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|_| r.error())
}

pub fn put_stored_membership(w: &mut Writer, stored: &StoredMembership) {
    put_option_log_id(w, stored.log_id().as_ref());
    put_membership(w, stored.membership());
}

pub fn get_stored_membership(r: &mut Reader<'_>) -> Result<StoredMembership, DecodeError> {
    let log_id = get_option_log_id(r)?;
    Ok(StoredMembership::new(log_id, get_membership(r)?))
}

/// One value by itself, with a version in front: for the log's and the state's opaque fields.
pub fn encode<T: ?Sized>(value: &T, put: fn(&mut Writer, &T)) -> Vec<u8> {
    let mut w = Writer::with_capacity(64);
    w.u8(VERSION);
    put(&mut w, value);
    w.bytes
}

/// The opposite of `encode`.
pub fn decode<T>(
    bytes: &[u8],
    what: &'static str,
    get: fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut r = Reader::new(bytes, what);
    if r.u8()? != VERSION {
        return Err(r.error());
    }
    let value = get(&mut r)?;
    r.end()?;
    Ok(value)
}

fn put_record_header(w: &mut Writer, kind: u8, id: &LogId) {
    w.u8(VERSION);
    w.u8(kind);
    put_log_id(w, id);
}

/// The record of `entry` for the log and the wire. Copies nothing when the entry came from a
/// record of the same log id.
pub fn encode_record(entry: &Entry) -> Arc<[u8]> {
    let mut w = Writer::with_capacity(RECORD_HEADER_BYTES);
    match &entry.payload {
        EntryPayload::Blank => put_record_header(&mut w, KIND_BLANK, &entry.log_id),
        EntryPayload::Membership(membership) => {
            put_record_header(&mut w, KIND_MEMBERSHIP, &entry.log_id);
            put_membership(&mut w, membership);
        }
        EntryPayload::Normal(data) => {
            put_record_header(&mut w, KIND_BATCH, &entry.log_id);
            if data.start == RECORD_HEADER_BYTES && data.bytes[..data.start] == w.bytes[..] {
                return data.bytes.clone();
            }
            w.bytes.reserve_exact(data.batch().len());
            w.bytes.extend_from_slice(data.batch());
        }
    }
    w.bytes.into()
}

/// The log id of a record, without its payload.
pub fn record_log_id(record: &[u8]) -> Result<LogId, DecodeError> {
    let mut r = Reader::new(record, "a log record");
    let (version, kind) = (r.u8()?, r.u8()?);
    if version != VERSION || kind > KIND_MEMBERSHIP {
        return Err(r.error());
    }
    get_log_id(&mut r)
}

/// The entry of a record. A batch shares the record's buffer.
pub fn decode_record(record: Arc<[u8]>) -> Result<Entry, DecodeError> {
    let log_id = record_log_id(&record)?;
    let mut r = Reader::new(&record[RECORD_HEADER_BYTES..], "a log record");
    let payload = match record[1] {
        KIND_BLANK => {
            r.end()?;
            EntryPayload::Blank
        }
        KIND_MEMBERSHIP => {
            let membership = get_membership(&mut r)?;
            r.end()?;
            EntryPayload::Membership(membership)
        }
        _ => EntryPayload::Normal(EntryData { bytes: record, start: RECORD_HEADER_BYTES }),
    };
    Ok(Entry { log_id, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u64) -> LogId {
        LogId { leader_id: LeaderId { term: 7, node_id: 3 }, index }
    }

    fn membership() -> Membership {
        let node = |n: u64| PeerNode {
            peer_address: format!("10.0.0.{n}:7000"),
            http_address: format!("10.0.0.{n}:8080"),
        };
        let nodes: BTreeMap<u64, PeerNode> = (1..=4).map(|n| (n, node(n))).collect();
        Membership::new(vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3])], nodes).unwrap()
    }

    fn entries() -> Vec<Entry> {
        vec![
            Entry { log_id: id(0), payload: EntryPayload::Membership(membership()) },
            Entry { log_id: id(1), payload: EntryPayload::Blank },
            Entry {
                log_id: id(u64::MAX - 1),
                payload: EntryPayload::Normal(EntryData::new(b"batch".to_vec())),
            },
        ]
    }

    #[test]
    fn records_read_back_as_they_were() {
        for entry in entries() {
            let record = encode_record(&entry);
            assert_eq!(record_log_id(&record), Ok(entry.log_id));
            assert_eq!(decode_record(record).unwrap(), entry);
        }
    }

    #[test]
    fn a_record_read_from_the_log_is_not_copied_again() {
        let record = encode_record(&entries()[2]);
        let again = encode_record(&decode_record(record.clone()).unwrap());
        assert!(Arc::ptr_eq(&record, &again));
        // Under another log id it is a new record.
        let mut moved = decode_record(record.clone()).unwrap();
        moved.log_id.index = 5;
        assert_eq!(record_log_id(&encode_record(&moved)), Ok(moved.log_id));
    }

    #[test]
    fn stored_values_read_back_as_they_were() {
        let vote = Vote { leader_id: id(0).leader_id, committed: true };
        assert_eq!(decode(&encode(&vote, put_vote), "a vote", get_vote), Ok(vote));
        assert_eq!(decode(&encode(&id(9), put_log_id), "a log id", get_log_id), Ok(id(9)));
        for stored in
            [StoredMembership::default(), StoredMembership::new(Some(id(4)), membership())]
        {
            let bytes = encode(&stored, put_stored_membership);
            assert_eq!(decode(&bytes, "a membership", get_stored_membership), Ok(stored));
        }
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        let mut samples: Vec<Vec<u8>> =
            entries().iter().map(|entry| encode_record(entry).to_vec()).collect();
        let stored = StoredMembership::new(Some(id(4)), membership());
        samples.push(encode(&stored, put_stored_membership));
        for sample in samples {
            for cut in 0..sample.len() {
                let _ = decode_record(sample[..cut].into());
                assert!(decode(&sample[..cut], "x", get_stored_membership).is_err());
            }
            for at in 0..sample.len() {
                for flip in [1u8, 0x80, 0xff] {
                    let mut bytes = sample.clone();
                    bytes[at] ^= flip;
                    let _ = decode_record(bytes.as_slice().into());
                    let _ = decode(&bytes, "x", get_stored_membership);
                    let _ = decode(&bytes, "x", get_vote);
                }
            }
        }
    }

    #[test]
    fn a_membership_that_names_a_node_twice_or_out_of_order_is_refused() {
        let node = |id: u64| [&id.to_be_bytes()[..], &[0; 8]].concat();
        let read = |config: [u64; 2], nodes: [u64; 2]| {
            let mut bytes = vec![0, 0, 0, 1, 0, 0, 0, 2];
            config.iter().for_each(|id| bytes.extend(id.to_be_bytes()));
            bytes.extend([0, 0, 0, 2]);
            nodes.iter().for_each(|id| bytes.extend(node(*id)));
            get_membership(&mut Reader::new(&bytes, "a membership")).is_ok()
        };
        assert!(read([1, 2], [1, 2]));
        assert!(!read([1, 1], [1, 2]) && !read([2, 1], [1, 2]));
        assert!(!read([1, 2], [2, 2]) && !read([1, 2], [2, 1]));
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let mut record = encode_record(&entries()[1]).to_vec();
        record[0] = 9;
        assert!(decode_record(record.into()).is_err());
    }
}
