//! Every message reads back as it was; garbage is an error.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;

use super::*;
use crate::types::{EntryData, LeaderId, Membership, PeerNode};

fn id(index: u64) -> LogId {
    LogId { leader_id: LeaderId { term: 2, node_id: 1 }, index }
}

fn samples() -> Vec<Message> {
    let vote = Vote { leader_id: LeaderId { term: 2, node_id: 1 }, committed: true };
    let hello = Hello {
        cluster_id: "c".into(),
        from: NodeId(1),
        to: NodeId(2),
        boot: BootCount(3),
        data: DataId(77),
        last_index: 4,
    };
    let node = PeerNode { peer_address: "a:1".into(), http_address: "b:2".into() };
    let membership =
        Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, node)])).unwrap();
    let meta = SnapshotMeta {
        last_log_id: Some(id(9)),
        last_membership: StoredMembership::new(Some(id(1)), membership),
    };
    let entry = |index, payload| Entry { log_id: id(index), payload };
    let entries = vec![
        entry(4, EntryPayload::Blank),
        entry(5, EntryPayload::Normal(EntryData::new(vec![7; 40]))),
    ];
    vec![
        Message::Hello(hello.clone()),
        Message::Welcome(hello),
        Message::SayAgain,
        Message::Admitted,
        Message::Refused(Refusal::PeerWentBack),
        Message::Append { vote, prev: Some(id(3)), commit: None, entries },
        Message::Append { vote, prev: None, commit: Some(id(1)), entries: Vec::new() },
        Message::Appended { last: Some(id(5)) },
        Message::Conflict { at: id(3) },
        Message::HigherVote { vote },
        Message::Ballot { vote, last: None, transfer: true, pre: false },
        Message::BallotAnswer { vote, granted: true, last: Some(id(1)) },
        Message::Transfer { from: vote, to: 2, last: Some(id(8)) },
        Message::TransferAnswer { accepted: false },
        Message::Ping { held: vec![(NodeId(3), 9)] },
        Message::Ping { held: vec![] },
        Message::Pong { wall_ms: 5, disk_low: true },
        Message::ReadIndex,
        Message::ReadIndexAnswer { index: Some(7) },
        Message::ReadIndexAnswer { index: None },
        Message::Part { bytes: vec![1, 2, 3] },
        Message::NotLeader,
        Message::SnapshotOffer {
            vote,
            meta,
            label: "9-2-1".into(),
            files: vec![SnapshotFile { name: "x".into(), bytes: 10, crc: 11 }],
        },
        Message::SnapshotWanted { held: vec![0, 5] },
        Message::SnapshotChunk { file: 1, offset: 2, bytes: vec![9; 10] },
        Message::SnapshotEnd,
        Message::SnapshotInstalled { vote },
    ]
}

#[test]
fn messages_read_back_as_they_were() {
    for message in samples() {
        let bytes = message.encode(GroupId(5));
        assert_eq!(Message::decode(&bytes), Ok((GroupId(5), message)));
    }
}

/// Messages of every released version, see `tests/compat/README.md`: one a line, in hexadecimal,
/// and what it means.
#[test]
fn compat_messages_of_all_versions_read_as_they_did() {
    let samples_dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/compat");
    if let Ok(version) = std::env::var("BESSEMER_COMPAT_WRITE") {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let line = |message: &Message| format!("{} {message:?}\n", hex(message.encode(GroupId(0))));
        let text: String = samples().iter().map(line).collect();
        std::fs::write(samples_dir.join(version).join("peer-messages.txt"), text).unwrap();
    }
    let mut lines = 0;
    for entry in std::fs::read_dir(samples_dir).unwrap() {
        let path = entry.unwrap().path().join("peer-messages.txt");
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        for line in text.lines() {
            let (hex, means) = line.split_once(' ').unwrap();
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            let (_, message) = Message::decode(&bytes).unwrap();
            assert_eq!(format!("{message:?}"), means);
            lines += 1;
        }
    }
    assert!(lines >= 20, "{lines} samples");
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    for message in samples() {
        let bytes = message.encode(GroupId(0));
        for cut in 0..bytes.len() {
            let _ = Message::decode(&bytes[..cut]);
        }
        for at in 0..bytes.len() {
            for flip in [1u8, 0x10, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let _ = Message::decode(&bytes);
            }
        }
    }
    assert!(Message::decode(&[]).is_err());
    assert!(Message::decode(&[9, 0, 0, 12]).is_err());
    assert!(Message::decode(&[1, 0, 0, 200]).is_err());
}

#[test]
fn an_unknown_read_index_comes_with_no_index() {
    let mut bytes = Message::ReadIndexAnswer { index: None }.encode(GroupId(0));
    assert!(Message::decode(&bytes).is_ok());
    *bytes.last_mut().unwrap() = 1;
    assert!(Message::decode(&bytes).is_err());
}
