//! Any bytes decode to an entry or an error: never a panic, never memory beyond the input's size.

use bessemer_engine::{
    Batch, Part, decode_batch, decode_request, encode_batch, encode_part, encode_request, peek_part,
};
use bessemer_model::{
    BootCount, Command, LaneSeq, Millis, NodeId, ProjectId, QuotaPatch, Request, Role, TokenId,
    TokenRecord,
};

use crate::operations::{Chance, Operations};

fn rounds() -> u64 {
    crate::rounds(20_000, 1_000_000)
}

fn request(operations: &mut Operations) -> Request {
    let project = ProjectId::new("p");
    match operations.chance.below(20) {
        0 => {
            let token = TokenRecord {
                id: TokenId::new("t"),
                secret_hash: [9; 32],
                role: operations.chance.pick(&[Role::Reader, Role::Member, Role::Owner]),
                name: "name".into(),
                expires_at: operations.chance.one_in(2).then_some(Millis(u64::MAX)),
            };
            Request { project, retry: None, command: Command::CreateToken { token } }
        }
        1 => {
            let command = Command::InitGroup { cluster_version: u32::MAX, secret: [8; 32] };
            Request { project, retry: None, command }
        }
        2 => {
            let mut bound = || operations.chance.one_in(2).then_some(7);
            let patch = QuotaPatch {
                bytes_max: bound(),
                messages_max: bound(),
                queues_max: bound(),
                retry_keys_max: bound(),
                tokens_max: bound(),
                waiters_max: bound(),
            };
            Request { project, retry: None, command: Command::UpdateQuota { patch } }
        }
        3 => {
            let command = Command::RevokeToken { id: TokenId::new("é") };
            Request { project, retry: None, command }
        }
        _ => operations.next().1,
    }
}

pub fn batch(operations: &mut Operations) -> Batch {
    let mut parts = Vec::new();
    for _ in 0..operations.chance.below(4) {
        let lane = operations.chance.one_in(2).then(|| LaneSeq {
            node: NodeId(operations.chance.next()),
            boot: BootCount(operations.chance.below(9)),
            seq: operations.chance.next(),
        });
        let requests = (0..operations.chance.below(4)).map(|_| request(operations)).collect();
        parts.push(Part { lane, requests });
    }
    Batch { stamp: operations.now, parts }
}

pub fn encode(batch: &Batch) -> Vec<u8> {
    let parts: Vec<Vec<u8>> =
        batch.parts.iter().map(|part| encode_part(part.lane, &part.requests)).collect();
    encode_batch(batch.stamp, &parts)
}

#[test]
fn what_was_encoded_reads_back() {
    let mut operations = Operations::new(3);
    for _ in 0..rounds() / 20 {
        let batch = batch(&mut operations);
        assert_eq!(decode_batch(&encode(&batch)), Ok(batch.clone()));
        for part in &batch.parts {
            let bytes = encode_part(part.lane, &part.requests);
            assert_eq!(peek_part(&bytes), Ok((part.lane, part.requests.len())));
            for request in &part.requests {
                assert_eq!(decode_request(&encode_request(request)).as_ref(), Ok(request));
            }
        }
    }
}

#[test]
fn a_transaction_in_a_transaction_keeps_nothing() {
    let inner = Command::Transaction { commands: vec![Command::Tick] };
    let command = Command::Transaction { commands: vec![inner] };
    let request = Request { project: ProjectId::new("p"), retry: None, command };
    let decoded = decode_request(&encode_request(&request)).unwrap();
    let empty = Command::Transaction { commands: Vec::new() };
    assert_eq!(decoded.command, Command::Transaction { commands: vec![empty] });
}

#[test]
fn damaged_entries_never_panic() {
    let mut operations = Operations::new(4);
    let mut refused = 0;
    for _ in 0..rounds() {
        let mut bytes = encode(&batch(&mut operations));
        let chance = &mut operations.chance;
        match chance.below(3) {
            0 => bytes.truncate(chance.below(bytes.len() as u64 + 1) as usize),
            1 => bytes.push(chance.next() as u8),
            _ => {}
        }
        for _ in 0..chance.below(4) {
            if !bytes.is_empty() {
                let place = chance.below(bytes.len() as u64) as usize;
                bytes[place] = chance.next() as u8;
            }
        }
        refused += u64::from(decode_batch(&bytes).is_err());
    }
    assert!(refused > rounds() / 4, "damage was met: {refused}");
}

#[test]
fn random_bytes_never_panic() {
    let mut chance = Chance(5);
    for _ in 0..rounds() {
        let mut bytes: Vec<u8> = (0..chance.below(64)).map(|_| chance.next() as u8).collect();
        // Mostly with the right version in front, or nothing behind it would be read.
        if let Some(first) = bytes.first_mut() {
            *first = chance.pick(&[1, 1, 1, 0, 2]);
        }
        let _ = decode_batch(&bytes);
        let _ = decode_request(&bytes);
        let _ = peek_part(&bytes);
    }
}

#[test]
fn a_count_beyond_the_input_takes_no_memory() {
    // Version, lane, then a count of 2^63 requests.
    let mut part = vec![1, 0];
    part.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(peek_part(&part).is_err());
    assert!(decode_batch(&encode_batch(Millis(0), &[part])).is_err());
}
