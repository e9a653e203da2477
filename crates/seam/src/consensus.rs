//! Agreement, as the use cases see it: hand in a request, get its outcome; read what is agreed.
//!
//! Not here: Raft's words. Implemented by `replica`; use cases hold `Arc<dyn Consensus>`.

use std::sync::Arc;
use std::time::Duration;

use bessemer_model::{Effect, Failure, LogIndex, Millis, NodeId, Outcome, Request};

use crate::BoxFuture;
use crate::kv::KvRead;

/// One node's part in the cluster's agreement.
pub trait Consensus: Send + Sync + 'static {
    /// Proposes `request` and waits for its outcome, at most `patience`.
    ///
    /// `NotDone` is certain: the request was never given a place in the node's lane. Once it has
    /// one and the patience ends, the answer is `Unknown`. Requests of one caller that are not
    /// awaited one after the other may be applied in any order.
    fn propose(
        &self,
        request: Request,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Outcome, Failure>>;

    /// Waits until this node's state holds everything that was committed anywhere when the call
    /// began (ReadIndex). Calls that wait together share one round.
    fn barrier(&self, patience: Duration) -> BoxFuture<'_, Result<(), Failure>>;

    /// This node's state now; frozen. Linearizable after a `barrier`, stale otherwise.
    fn view(&self) -> Arc<dyn KvRead>;

    /// Log time of the newest entry applied here.
    fn log_time(&self) -> Millis;

    /// Effects of entries applied here, in order, from now on.
    fn effects(&self) -> Box<dyn EffectStream>;

    /// How this node sees the cluster now.
    fn status(&self) -> ClusterStatus;

    /// Changes the membership; see `MembershipChange`.
    fn change_membership(
        &self,
        change: MembershipChange,
        patience: Duration,
    ) -> BoxFuture<'_, Result<(), MembershipError>>;
}

/// A bounded subscription to effects.
pub trait EffectStream: Send {
    /// The next effects, at least one. `Lagged` when the subscriber was too slow and some were
    /// dropped: it looks at the state instead. `None` when the node stops. Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Option<Effects>>;
}

#[derive(Clone, Debug)]
pub enum Effects {
    Some(Vec<Effect>),
    Lagged,
}

/// One node's view of the cluster; any part may be a moment old.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterStatus {
    pub me: NodeId,
    pub leader: Option<NodeId>,
    pub term: u64,
    /// Newest entry known committed, and newest applied here.
    pub committed: LogIndex,
    pub applied: LogIndex,
    /// Hash chain over all applied batches, at `applied`.
    pub chain: [u8; 32],
    pub log_time: Millis,
    /// False when this node leads and no majority answered it lately.
    pub has_majority: bool,
    /// How far this node's wall clock is from those of a majority; 0 while none is known.
    pub clock_off: Millis,
    /// Whether that is too far to lead.
    pub clock_wrong: bool,
    /// Bytes free on the log's device are below the low-water mark.
    pub disk_low: bool,
    /// In ascending order of id.
    pub members: Vec<Member>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    pub node: NodeId,
    /// `host:port` of the peer door and of the HTTP door.
    pub peer_address: String,
    pub http_address: String,
    pub voter: bool,
    /// Newest entry the leader knows to be durable on this node; `None` when this node is not
    /// the leader or has not heard yet.
    pub matched: Option<LogIndex>,
}

/// A change of membership: learner first, then joint consensus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipChange {
    /// Adds a node: it is fed as a learner until it has caught up, then votes.
    Join { node: NodeId, peer_address: String, http_address: String },
    /// Takes a node out. Refused for the last voter.
    Leave { node: NodeId },
    /// Adds `new` and takes `old` out, in one change of the voters.
    Replace { old: NodeId, new: NodeId, peer_address: String, http_address: String },
    /// Hands leadership to `to`.
    Transfer { to: NodeId },
}

/// Why a membership change was not made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipError {
    /// Only the leader can; ask there.
    NotLeader {
        leader: Option<NodeId>,
    },
    UnknownNode {
        node: NodeId,
    },
    /// The id was used before; a returning node takes a new one.
    NodeExists {
        node: NodeId,
    },
    LastVoter,
    /// Another change is under way.
    InProgress,
    /// Not finished in time; it may still finish. `cluster status` tells.
    Unknown,
}
