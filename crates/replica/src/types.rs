//! openraft's type parameters, and short names for its types.
//!
//! Not here: bytes (`codec.rs`). Nothing of openraft is ever serialized by openraft itself.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use openraft::impls::{InlineBatch, OneshotResponder, leader_id_adv};
use openraft::{AsyncRuntime, EntryPayload, OptionalSend, RaftTypeConfig};

/// openraft's configuration over the asynchronous runtime `Rt`.
pub struct Types<Rt>(PhantomData<fn() -> Rt>);

/// Who leads: a term and a node. Two leaders of one term are ordered by node.
pub type LeaderId = leader_id_adv::LeaderId<u64, u64>;
pub type LogId = openraft::LogId<LeaderId>;
pub type Vote = openraft::Vote<LeaderId>;
pub type Membership = openraft::Membership<u64, PeerNode>;
pub type StoredMembership = openraft::StoredMembership<LeaderId, u64, PeerNode>;
pub type SnapshotMeta = openraft::SnapshotMeta<LeaderId, u64, PeerNode>;
pub type Payload = EntryPayload<EntryData, u64, PeerNode>;
pub type Entry = openraft::Entry<LeaderId, Payload>;

/// Where a member is reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeerNode {
    pub peer_address: String,
    pub http_address: String,
}

/// The encoded batch of one entry: a part of a shared buffer, so that a clone copies nothing.
///
/// Invariant: `start <= bytes.len()`. On a follower, and after a read from the log, `bytes` is the
/// whole log record and `start` the length of its header.
#[derive(Clone)]
pub struct EntryData {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) start: usize,
}

impl EntryData {
    /// Wraps a batch that is not in a log record yet.
    pub fn new(batch: Vec<u8>) -> EntryData {
        EntryData { bytes: batch.into(), start: 0 }
    }

    /// The batch, as the engine's entry codec wrote it.
    pub fn batch(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl PartialEq for EntryData {
    fn eq(&self, other: &EntryData) -> bool {
        self.batch() == other.batch()
    }
}

impl fmt::Debug for EntryData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for EntryData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len() - self.start)
    }
}

impl<Rt: AsyncRuntime> RaftTypeConfig for Types<Rt> {
    type D = EntryData;
    /// Outcomes come from the local apply of the node that owns the lane, never from here.
    type R = ();
    type NodeId = u64;
    type Node = PeerNode;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = Rt;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::AnyError;
}

// Written by hand: a derive would ask the same of `Rt`.

impl<Rt> fmt::Debug for Types<Rt> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}

impl<Rt> Clone for Types<Rt> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Rt> Copy for Types<Rt> {}

impl<Rt> Default for Types<Rt> {
    fn default() -> Self {
        Types(PhantomData)
    }
}

impl<Rt> PartialEq for Types<Rt> {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl<Rt> Eq for Types<Rt> {}

impl<Rt> PartialOrd for Types<Rt> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<Rt> Ord for Types<Rt> {
    fn cmp(&self, _other: &Self) -> Ordering {
        Ordering::Equal
    }
}
