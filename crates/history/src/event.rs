//! What is judged: everything that clients asked and heard, that the log applied, and that nodes
//! said of themselves, in one run.
//!
//! Not here: judging. All times but log times are nanoseconds of one true clock, so that two
//! events of one history can always be compared.

use bessemer_model::{
    LaneSeq, LogIndex, MessageId, Millis, NodeId, Outcome, Rejection, Request, ReservationId,
};

/// Names one posted message for its whole life: the client wrote it into the body.
pub type Uid = u64;
/// Index into `Rules::queues`.
pub type QueueNumber = usize;
/// A project of the run. Two projects never share a queue.
pub type Tenant = u64;
/// A token of the run, in order of minting.
pub type TokenNumber = u64;

/// One recorded run.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub rules: Rules,
    /// What clients did, in order of answers. At most one operation of a client is under way.
    pub operations: Vec<Operation>,
    /// What the log applied: ascending by index, then by place in the entry. Empty when the run
    /// could not look into the log; else all of it, up to after the last answer.
    pub applied: Vec<Applied>,
    /// What nodes said of themselves, in order of time.
    pub sightings: Vec<Sighting>,
    /// When every fault was over. `None`: the run had no such moment.
    pub healed_ns: Option<u64>,
    /// When every queue was found empty after that.
    pub drained_ns: Option<u64>,
}

/// What the run promised its judge.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub queues: Vec<QueueRules>,
    /// A reserve whose answer nobody heard may hold messages, and give them back uncounted, until
    /// this long after its client gave up.
    pub undo_ns: u64,
    /// A node cut off from the leader may believe a revoked token for this long.
    pub revoked_believed_ns: u64,
    /// After the heal a write succeeds within this.
    pub writes_within_ns: u64,
    /// After the heal every queue is empty within this.
    pub drained_within_ns: u64,
}

#[derive(Clone, Debug)]
pub struct QueueRules {
    pub tenant: Tenant,
    pub kind: QueueKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueKind {
    Plain,
    /// Messages are posted, and released, with delays.
    Delayed,
    /// Every message has an ordering key.
    Keyed,
    /// A message that was reserved `max_reservations` times moves to `into` at its next reserve.
    Dying {
        into: QueueNumber,
        max_reservations: u32,
    },
    /// Where the dying go; nothing is posted here.
    Dead,
}

/// A message that is held, as the client names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    pub queue: QueueNumber,
    pub message: MessageId,
    pub reservation: ReservationId,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    Post {
        queue: QueueNumber,
        /// At least one; the order of the post.
        uids: Vec<Uid>,
        delay: Millis,
        /// Ordering key of all of them.
        key: Option<u64>,
        /// Sent with an idempotency key: may be sent again, as another operation with these uids.
        keyed: bool,
    },
    Reserve {
        queue: QueueNumber,
        /// At most this many.
        count: u32,
        timeout: Millis,
        /// How long the client waits for a first message (long poll); zero asks once.
        wait: Millis,
    },
    Ack(Held),
    Touch {
        held: Held,
        timeout: Millis,
    },
    Release {
        held: Held,
        delay: Millis,
    },
    /// A linearizable read: is the message there?
    Look {
        queue: QueueNumber,
        message: MessageId,
    },
    /// One transaction: acknowledges `held` and posts `uid` to `to`.
    Swap {
        held: Held,
        to: QueueNumber,
        uid: Uid,
    },
    /// Mints a token of a project.
    Mint {
        tenant: Tenant,
        token: TokenNumber,
    },
    Revoke {
        token: TokenNumber,
    },
}

/// A message as a reserve delivered it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Got {
    pub message: MessageId,
    /// `None` when the body is not one that was posted.
    pub uid: Option<Uid>,
    pub reserved_count: u32,
    pub reservation: ReservationId,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Ids in the order of the post.
    Posted(Vec<MessageId>),
    /// In the order of the reply; empty when nothing was there.
    Reserved(Vec<Got>),
    /// How many messages the ack removed.
    Acked(u32),
    Touched(ReservationId),
    Released,
    Swapped(MessageId),
    /// Whether the message was there.
    Seen(bool),
    Minted,
    Revoked,
    Refused(Rejection),
    /// The token was not accepted.
    Unauthorized,
    /// The token was accepted, and may not do this.
    Forbidden,
    /// Certainly not done, for a reason of the moment.
    NotDone,
    Unknown,
    /// An answer that does not belong to the operation.
    Nonsense(String),
}

impl Answer {
    /// The operation certainly changed nothing.
    pub fn is_certainly_nothing(&self) -> bool {
        use Answer::{Forbidden, NotDone, Refused, Unauthorized};
        matches!(self, Refused(_) | NotDone | Unauthorized | Forbidden)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The node that was asked.
    pub node: NodeId,
    /// The token it was asked with; `None` for the operator's.
    pub token: Option<TokenNumber>,
    pub called_ns: u64,
    /// When the answer came, or the client gave up.
    pub answered_ns: u64,
    /// Log time of the node before the call and after the answer: the operation was applied at a
    /// log time between the two, ends included.
    pub log_low: Millis,
    pub log_high: Millis,
    pub op: Op,
    pub answer: Answer,
}

/// The uid in a body: its first 8 bytes, big-endian. `None` for a shorter body.
pub fn uid_in_body(body: &[u8]) -> Option<Uid> {
    Some(Uid::from_be_bytes(*body.first_chunk()?))
}

/// The number in a token's name, where the run wrote it there in decimal: only then is an
/// operation with tokens found in the log.
pub fn token_of_name(name: &str) -> Option<TokenNumber> {
    name.parse().ok()
}

/// One request that the log applied, as the first node that applied it saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    pub index: LogIndex,
    /// Log time at which it was applied. Never less than that of an earlier one.
    pub log_time: Millis,
    /// Lane of its part and its place in it; `None` for the leader's own commands.
    pub lane: Option<(LaneSeq, u32)>,
    pub request: Request,
    pub answer: Result<Outcome, Rejection>,
}

/// What a node said of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    pub at_ns: u64,
    pub node: NodeId,
    /// Grows with every start of the node.
    pub boot: u64,
    pub term: u64,
    pub leads: bool,
    pub committed: LogIndex,
    pub applied: LogIndex,
    /// Hash chain over everything applied, at `applied`.
    pub chain: [u8; 32],
    pub log_time: Millis,
    pub members: Vec<NodeId>,
}
