//! What nodes say to each other: one message, one byte string.
//!
//! Not here: streams (`link.rs`), who answers what (`server.rs`).
//! Invariants: the first message of every stream is `Hello`, the answer `Welcome` or `Refused`;
//! every message carries its group; decoding is total.

use std::sync::Arc;

use bessemer_model::{BootCount, DataId, GroupId, NodeId};
use bessemer_seam::state_store::SnapshotFile;

use crate::bytes::{DecodeError, Reader, Writer};
use crate::codec::{
    RECORD_HEADER_BYTES, decode_record, encode_record, get_log_id, get_option_log_id,
    get_stored_membership, get_vote, put_log_id, put_option_log_id, put_stored_membership,
    put_vote,
};
use crate::types::{Entry, LogId, SnapshotMeta, StoredMembership, Vote};

/// Version of the peer protocol. V1 was the first.
const PROTOCOL: u8 = 1;

/// Who speaks, and what it knows of its own past.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    pub cluster_id: String,
    pub from: NodeId,
    pub to: NodeId,
    pub boot: BootCount,
    /// The data directory it runs on.
    pub data: DataId,
    /// Newest entry it holds, in its log or its state (0 = none): it may not go back behind what was
    /// committed with its help.
    pub last_index: u64,
}

/// Why a stream was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    WrongCluster = 1,
    WrongNode = 2,
    WrongGroup = 3,
    /// The peer's boot count or log is behind what is remembered of it: its disk lost data. It
    /// must come back under a new node id.
    PeerWentBack = 4,
    Overloaded = 5,
    /// A forward stream to a node that does not lead.
    NotLeader = 6,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    Hello(Hello),
    Welcome(Hello),
    /// Asks for another `Hello` before the peer is refused: its log may have gone on since, and one
    /// that is gone does not answer.
    SayAgain,
    /// Ends the handshake: the one that began it takes the other in, too.
    Admitted,
    Refused(Refusal),
    Append {
        vote: Vote,
        prev: Option<LogId>,
        commit: Option<LogId>,
        entries: Vec<Entry>,
    },
    /// All up to this entry is durable at the follower.
    Appended {
        last: Option<LogId>,
    },
    Conflict {
        at: LogId,
    },
    HigherVote {
        vote: Vote,
    },
    Ballot {
        vote: Vote,
        last: Option<LogId>,
        transfer: bool,
        pre: bool,
    },
    BallotAnswer {
        vote: Vote,
        granted: bool,
        last: Option<LogId>,
    },
    Transfer {
        from: Vote,
        to: u64,
        last: Option<LogId>,
    },
    TransferAnswer {
        accepted: bool,
    },
    /// Carries what the sender knows other nodes to hold: newest durable and committed index of
    /// each.
    Ping {
        held: Vec<(NodeId, u64)>,
    },
    /// The wall clock, in milliseconds since the epoch, and whether the disk is nearly full.
    Pong {
        wall_ms: u64,
        disk_low: bool,
    },
    ReadIndex,
    /// A state at `index` or later holds everything that was committed when the question came.
    ReadIndexAnswer {
        index: Option<u64>,
    },
    /// One part of a lane, encoded by the engine's entry codec.
    Part {
        bytes: Vec<u8>,
    },
    /// The receiver of forwarded parts does not lead any more.
    NotLeader,
    SnapshotOffer {
        vote: Vote,
        meta: SnapshotMeta,
        label: String,
        files: Vec<SnapshotFile>,
    },
    /// How many bytes of each offered file are held already.
    SnapshotWanted {
        held: Vec<u64>,
    },
    SnapshotChunk {
        file: u32,
        offset: u64,
        bytes: Vec<u8>,
    },
    SnapshotEnd,
    SnapshotInstalled {
        vote: Vote,
    },
}

mod kind {
    pub const HELLO: u8 = 1;
    pub const WELCOME: u8 = 2;
    pub const REFUSED: u8 = 3;
    pub const APPEND: u8 = 4;
    pub const APPENDED: u8 = 5;
    pub const CONFLICT: u8 = 6;
    pub const HIGHER_VOTE: u8 = 7;
    pub const BALLOT: u8 = 8;
    pub const BALLOT_ANSWER: u8 = 9;
    pub const TRANSFER: u8 = 10;
    pub const TRANSFER_ANSWER: u8 = 11;
    pub const PING: u8 = 12;
    pub const PONG: u8 = 13;
    pub const READ_INDEX: u8 = 14;
    pub const READ_INDEX_ANSWER: u8 = 15;
    pub const PART: u8 = 16;
    pub const NOT_LEADER: u8 = 17;
    pub const SNAPSHOT_OFFER: u8 = 18;
    pub const SNAPSHOT_WANTED: u8 = 19;
    pub const SNAPSHOT_CHUNK: u8 = 20;
    pub const SNAPSHOT_END: u8 = 21;
    pub const SNAPSHOT_INSTALLED: u8 = 22;
    pub const SAY_AGAIN: u8 = 23;
    pub const ADMITTED: u8 = 24;
}

impl Message {
    /// The bytes of this message for `group`.
    pub fn encode(&self, group: GroupId) -> Vec<u8> {
        let mut w = Writer::with_capacity(64);
        w.u8(PROTOCOL);
        w.u16(group.0);
        match self {
            Message::Hello(hello) => put_hello(&mut w, kind::HELLO, hello),
            Message::Welcome(hello) => put_hello(&mut w, kind::WELCOME, hello),
            Message::SayAgain => w.u8(kind::SAY_AGAIN),
            Message::Admitted => w.u8(kind::ADMITTED),
            Message::Refused(why) => {
                w.u8(kind::REFUSED);
                w.u8(*why as u8);
            }
            Message::Append { vote, prev, commit, entries } => {
                put_append(&mut w, vote, prev, commit, entries);
            }
            Message::Appended { last } => {
                w.u8(kind::APPENDED);
                put_option_log_id(&mut w, last.as_ref());
            }
            Message::Conflict { at } => {
                w.u8(kind::CONFLICT);
                put_log_id(&mut w, at);
            }
            Message::HigherVote { vote } => {
                w.u8(kind::HIGHER_VOTE);
                put_vote(&mut w, vote);
            }
            Message::Ballot { .. }
            | Message::BallotAnswer { .. }
            | Message::Transfer { .. }
            | Message::TransferAnswer { .. } => self.put_election(&mut w),
            Message::Ping { held } => {
                w.u8(kind::PING);
                w.length(held.len());
                for (node, index) in held {
                    w.u64(node.0);
                    w.u64(*index);
                }
            }
            Message::Pong { wall_ms, disk_low } => {
                w.u8(kind::PONG);
                w.u64(*wall_ms);
                w.bool(*disk_low);
            }
            Message::ReadIndex => w.u8(kind::READ_INDEX),
            Message::ReadIndexAnswer { index } => {
                w.u8(kind::READ_INDEX_ANSWER);
                w.bool(index.is_some());
                w.u64(index.unwrap_or(0));
            }
            Message::Part { bytes } => {
                w.u8(kind::PART);
                w.bytes.extend_from_slice(bytes);
            }
            Message::NotLeader => w.u8(kind::NOT_LEADER),
            Message::SnapshotOffer { .. }
            | Message::SnapshotWanted { .. }
            | Message::SnapshotChunk { .. }
            | Message::SnapshotEnd
            | Message::SnapshotInstalled { .. } => self.put_snapshot(&mut w),
        }
        w.bytes
    }

    fn put_election(&self, w: &mut Writer) {
        match self {
            Message::Ballot { vote, last, transfer, pre } => {
                w.u8(kind::BALLOT);
                put_vote(w, vote);
                put_option_log_id(w, last.as_ref());
                w.bool(*transfer);
                w.bool(*pre);
            }
            Message::BallotAnswer { vote, granted, last } => {
                w.u8(kind::BALLOT_ANSWER);
                put_vote(w, vote);
                w.bool(*granted);
                put_option_log_id(w, last.as_ref());
            }
            Message::Transfer { from, to, last } => {
                w.u8(kind::TRANSFER);
                put_vote(w, from);
                w.u64(*to);
                put_option_log_id(w, last.as_ref());
            }
            Message::TransferAnswer { accepted } => {
                w.u8(kind::TRANSFER_ANSWER);
                w.bool(*accepted);
            }
            other => unreachable!("{other:?} is not about elections"),
        }
    }

    fn put_snapshot(&self, w: &mut Writer) {
        match self {
            Message::SnapshotOffer { vote, meta, label, files } => {
                w.u8(kind::SNAPSHOT_OFFER);
                put_vote(w, vote);
                put_snapshot_meta(w, meta);
                w.text(label);
                w.length(files.len());
                for file in files {
                    w.text(&file.name);
                    w.u64(file.bytes);
                    w.u32(file.crc);
                }
            }
            Message::SnapshotWanted { held } => {
                w.u8(kind::SNAPSHOT_WANTED);
                w.length(held.len());
                held.iter().for_each(|bytes| w.u64(*bytes));
            }
            Message::SnapshotChunk { file, offset, bytes } => {
                w.u8(kind::SNAPSHOT_CHUNK);
                w.u32(*file);
                w.u64(*offset);
                w.bytes.extend_from_slice(bytes);
            }
            Message::SnapshotEnd => w.u8(kind::SNAPSHOT_END),
            Message::SnapshotInstalled { vote } => {
                w.u8(kind::SNAPSHOT_INSTALLED);
                put_vote(w, vote);
            }
            other => unreachable!("{other:?} is not about snapshots"),
        }
    }

    /// Reads a message and the group it is for.
    pub fn decode(bytes: &[u8]) -> Result<(GroupId, Message), DecodeError> {
        let mut r = Reader::new(bytes, "a message of a peer");
        if r.u8()? != PROTOCOL {
            return Err(r.error());
        }
        let group = GroupId(r.u16()?);
        let kind = r.u8()?;
        let message = match kind {
            kind::HELLO => Message::Hello(get_hello(&mut r)?),
            kind::WELCOME => Message::Welcome(get_hello(&mut r)?),
            kind::SAY_AGAIN => Message::SayAgain,
            kind::ADMITTED => Message::Admitted,
            kind::REFUSED => Message::Refused(get_refusal(&mut r)?),
            kind::APPEND => get_append(&mut r)?,
            kind::APPENDED => Message::Appended { last: get_option_log_id(&mut r)? },
            kind::CONFLICT => Message::Conflict { at: get_log_id(&mut r)? },
            kind::HIGHER_VOTE => Message::HigherVote { vote: get_vote(&mut r)? },
            kind::PING => Message::Ping { held: get_held(&mut r)? },
            kind::PONG => Message::Pong { wall_ms: r.u64()?, disk_low: r.bool()? },
            kind::READ_INDEX => Message::ReadIndex,
            kind::READ_INDEX_ANSWER => {
                let (known, index) = (r.bool()?, r.u64()?);
                if !known && index != 0 {
                    return Err(r.error());
                }
                Message::ReadIndexAnswer { index: known.then_some(index) }
            }
            kind::PART => return Ok((group, Message::Part { bytes: r.rest().to_vec() })),
            kind::NOT_LEADER => Message::NotLeader,
            kind::BALLOT..=kind::TRANSFER_ANSWER => get_election(kind, &mut r)?,
            kind::SNAPSHOT_CHUNK => {
                let (file, offset) = (r.u32()?, r.u64()?);
                return Ok((
                    group,
                    Message::SnapshotChunk { file, offset, bytes: r.rest().to_vec() },
                ));
            }
            _ => get_snapshot(kind, &mut r)?,
        };
        r.end()?;
        Ok((group, message))
    }
}

fn get_held(r: &mut Reader<'_>) -> Result<Vec<(NodeId, u64)>, DecodeError> {
    (0..r.count(16)?).map(|_| Ok((NodeId(r.u64()?), r.u64()?))).collect()
}

fn put_hello(w: &mut Writer, kind: u8, hello: &Hello) {
    w.u8(kind);
    w.text(&hello.cluster_id);
    w.u64(hello.from.0);
    w.u64(hello.to.0);
    w.u64(hello.boot.0);
    w.u64(hello.data.0);
    w.u64(hello.last_index);
}

fn get_hello(r: &mut Reader<'_>) -> Result<Hello, DecodeError> {
    Ok(Hello {
        cluster_id: r.text()?,
        from: NodeId(r.u64()?),
        to: NodeId(r.u64()?),
        boot: BootCount(r.u64()?),
        data: DataId(r.u64()?),
        last_index: r.u64()?,
    })
}

fn get_refusal(r: &mut Reader<'_>) -> Result<Refusal, DecodeError> {
    Ok(match r.u8()? {
        1 => Refusal::WrongCluster,
        2 => Refusal::WrongNode,
        3 => Refusal::WrongGroup,
        4 => Refusal::PeerWentBack,
        5 => Refusal::Overloaded,
        6 => Refusal::NotLeader,
        _ => return Err(r.error()),
    })
}

fn put_append(
    w: &mut Writer,
    vote: &Vote,
    prev: &Option<LogId>,
    commit: &Option<LogId>,
    entries: &[Entry],
) {
    let records: Vec<Arc<[u8]>> = entries.iter().map(encode_record).collect();
    w.bytes.reserve_exact(128 + records.iter().map(|record| record.len() + 4).sum::<usize>());
    w.u8(kind::APPEND);
    put_vote(w, vote);
    put_option_log_id(w, prev.as_ref());
    put_option_log_id(w, commit.as_ref());
    w.length(records.len());
    for record in &records {
        w.block(record);
    }
}

fn get_append(r: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let vote = get_vote(r)?;
    let prev = get_option_log_id(r)?;
    let commit = get_option_log_id(r)?;
    let count = r.count(4 + RECORD_HEADER_BYTES)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(decode_record(r.block()?.into())?);
    }
    Ok(Message::Append { vote, prev, commit, entries })
}

fn get_election(kind: u8, r: &mut Reader<'_>) -> Result<Message, DecodeError> {
    Ok(match kind {
        kind::BALLOT => Message::Ballot {
            vote: get_vote(r)?,
            last: get_option_log_id(r)?,
            transfer: r.bool()?,
            pre: r.bool()?,
        },
        kind::BALLOT_ANSWER => Message::BallotAnswer {
            vote: get_vote(r)?,
            granted: r.bool()?,
            last: get_option_log_id(r)?,
        },
        kind::TRANSFER => {
            Message::Transfer { from: get_vote(r)?, to: r.u64()?, last: get_option_log_id(r)? }
        }
        kind::TRANSFER_ANSWER => Message::TransferAnswer { accepted: r.bool()? },
        _ => return Err(r.error()),
    })
}

fn get_snapshot(kind: u8, r: &mut Reader<'_>) -> Result<Message, DecodeError> {
    Ok(match kind {
        kind::SNAPSHOT_OFFER => {
            let vote = get_vote(r)?;
            let meta = get_snapshot_meta(r)?;
            let label = r.text()?;
            let count = r.count(16)?;
            let mut files = Vec::with_capacity(count);
            for _ in 0..count {
                files.push(SnapshotFile { name: r.text()?, bytes: r.u64()?, crc: r.u32()? });
            }
            Message::SnapshotOffer { vote, meta, label, files }
        }
        kind::SNAPSHOT_WANTED => {
            let count = r.count(8)?;
            let mut held = Vec::with_capacity(count);
            for _ in 0..count {
                held.push(r.u64()?);
            }
            Message::SnapshotWanted { held }
        }
        kind::SNAPSHOT_END => Message::SnapshotEnd,
        kind::SNAPSHOT_INSTALLED => Message::SnapshotInstalled { vote: get_vote(r)? },
        _ => return Err(r.error()),
    })
}

pub fn put_snapshot_meta(w: &mut Writer, meta: &SnapshotMeta) {
    put_option_log_id(w, meta.last_log_id.as_ref());
    put_stored_membership(w, &meta.last_membership);
}

pub fn get_snapshot_meta(r: &mut Reader<'_>) -> Result<SnapshotMeta, DecodeError> {
    let last_log_id = get_option_log_id(r)?;
    let last_membership: StoredMembership = get_stored_membership(r)?;
    Ok(SnapshotMeta { last_log_id, last_membership })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
