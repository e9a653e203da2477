//! What holds for any bytes, as functions that panic when it does not: run by `fuzz/` and by the
//! tests here, over the same corpus.
//!
//! Bytes are refused, or are exactly what the value they give is written as.

use std::fmt::Debug;

use bessemer_model::DataId;

use crate::bytes::{DecodeError, Reader, Writer};
use crate::codec::{
    decode, decode_record, encode, encode_record, get_log_id, get_stored_membership, get_vote,
    put_log_id, put_stored_membership, put_vote, record_log_id,
};
use crate::peers::PeerMemory;
use crate::snapshot::{get_records, put_records};
use crate::wire::Message;

/// Input: a message of a peer.
pub fn message(bytes: &[u8]) {
    if let Ok((group, message)) = Message::decode(bytes) {
        assert_eq!(message.encode(group), bytes, "{message:?} has one form");
    }
}

/// Input: a record of the log, as openraft's entries are kept.
pub fn record(bytes: &[u8]) {
    let peeked = record_log_id(bytes);
    let Ok(entry) = decode_record(bytes.into()) else { return };
    assert_eq!(peeked, Ok(entry.log_id), "a peek says what is there");
    assert_eq!(&*encode_record(&entry), bytes, "an entry has one form");
}

/// Input: what is stored, then its bytes.
pub fn stored(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 7 {
        0 => same(bytes, get_vote, put_vote),
        1 => same(bytes, get_log_id, put_log_id),
        2 => same(bytes, get_stored_membership, put_stored_membership),
        3 => {
            if let Ok(records) = get_records(bytes) {
                assert_eq!(put_records(&records), bytes, "{records:?} have one form");
            }
        }
        4 => peers(bytes, PeerMemory::load, PeerMemory::peers_known),
        5 => peers(bytes, PeerMemory::load_nodes_seen, PeerMemory::nodes_known),
        _ => admitted(bytes),
    }
}

fn same<T: Debug>(
    bytes: &[u8],
    get: fn(&mut Reader<'_>) -> Result<T, DecodeError>,
    put: fn(&mut Writer, &T),
) {
    if let Ok(value) = decode(bytes, "input", get) {
        assert_eq!(encode(&value, put), bytes, "{value:?} has one form");
    }
}

/// What is refused changes nothing; what is taken over is all of it, and twice is once.
fn peers(
    bytes: &[u8],
    load: fn(&PeerMemory, &[u8]) -> Result<(), DecodeError>,
    known: fn(&PeerMemory) -> Vec<u8>,
) {
    let memory = PeerMemory::default();
    let empty = known(&memory);
    if load(&memory, bytes).is_err() {
        assert_eq!(known(&memory), empty, "what is refused changes nothing");
        return;
    }
    assert_eq!(known(&memory), bytes, "what is known has one form");
    assert!(load(&memory, bytes).is_ok());
    assert_eq!(known(&memory), bytes, "twice is once");
}

/// What is read is written alike and read again, but for the mark of another node.
fn admitted(bytes: &[u8]) {
    let own = DataId(1);
    let memory = PeerMemory::default();
    if memory.load_admitted(bytes, own).is_ok() {
        let kept = memory.admitted(own);
        assert_eq!(kept.len(), bytes.len(), "as many peers");
        let again = PeerMemory::default();
        assert!(again.load_admitted(&kept, own).is_ok());
        assert_eq!(again.admitted(own), kept, "what is known has one form");
    }
}

#[cfg(test)]
mod tests {
    use bessemer_corpus::{Heap, check};

    #[global_allocator]
    static HEAP: Heap = Heap;

    #[test]
    fn a_message_has_one_form_or_is_refused() {
        check("replica_message", 5000, super::message);
    }

    #[test]
    fn a_record_has_one_form_or_is_refused() {
        check("replica_record", 5000, super::record);
    }

    #[test]
    fn what_is_stored_has_one_form_or_is_refused() {
        check("replica_stored", 5000, super::stored);
    }
}
