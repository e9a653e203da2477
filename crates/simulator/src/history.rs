//! What clients asked and heard, in one list: the material of every check.
//!
//! Not here: judging (`checks.rs`). All times of one event come from one true clock; log times
//! come from the node that was asked, read before the call and after its answer, so that the
//! entry was applied at a log time between the two.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bessemer_model::{MessageId, Millis, NodeId, Rejection, ReservationId};

/// Names one posted message for its whole life: the client wrote it into the body.
pub type Uid = u64;
/// Index of a queue of the workload.
pub type QueueNumber = usize;

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
        uids: Vec<Uid>,
        delay: Millis,
        /// Ordering key of all of them.
        key: Option<u64>,
        /// Sent with an idempotency key: may be sent again.
        keyed: bool,
    },
    Reserve {
        queue: QueueNumber,
        timeout: Millis,
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
    Posted(Vec<MessageId>),
    Reserved(Vec<Got>),
    /// How many messages the ack removed.
    Acked(u32),
    Touched(ReservationId),
    Released,
    Swapped(MessageId),
    /// Whether the message was there.
    Seen(bool),
    Refused(Rejection),
    /// Certainly not done.
    NotDone,
    Unknown,
    /// An outcome that does not belong to the command.
    Nonsense(String),
}

impl Answer {
    /// The command certainly changed nothing.
    pub fn is_certainly_nothing(&self) -> bool {
        matches!(self, Answer::Refused(_) | Answer::NotDone)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub node: NodeId,
    /// True time of call and answer, in nanoseconds.
    pub called_ns: u64,
    pub answered_ns: u64,
    /// Log time of the node before the call and after the answer.
    pub log_low: Millis,
    pub log_high: Millis,
    pub op: Op,
    pub answer: Answer,
}

/// The list, shared by all clients; in order of answers.
#[derive(Clone, Default)]
pub struct History {
    events: Arc<Mutex<Vec<Event>>>,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, event: Event) {
        self.lock().push(event);
    }

    pub fn events(&self) -> Vec<Event> {
        self.lock().clone()
    }
}
