//! What a command that was not rejected brought about.

use crate::ids::{MessageId, ProjectId, ReservationId, TokenId};
use crate::project::Quota;
use crate::queue::QueueSettings;

/// The answer to a `Command`; which variant belongs to which command is written there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Done,
    ProjectCreated {
        id: ProjectId,
    },
    /// The whole quota after the change.
    QuotaUpdated {
        quota: Quota,
    },
    TokenCreated {
        id: TokenId,
    },
    QueuePut {
        settings: QueueSettings,
        created: bool,
    },
    QueueDeleted,
    /// Ids in the order of the request; empty for an empty post.
    Posted {
        ids: Vec<MessageId>,
    },
    /// Oldest first; empty when nothing was startable.
    Reserved {
        messages: Vec<ReservedMessage>,
    },
    /// How many messages were there to be deleted.
    Deleted {
        count: u32,
    },
    Touched {
        reservation: ReservationId,
    },
    Released,
    Cleared,
    /// One outcome per command, in order.
    Transacted {
        outcomes: Vec<Outcome>,
    },
}

/// A message handed to a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReservedMessage {
    pub id: MessageId,
    /// `None` where the engine was not asked for bodies (an outcome repeated for a keyed retry
    /// finds it in the state as long as the message lives).
    pub body: Option<Vec<u8>>,
    /// Counts this reservation: 1 on the first.
    pub reserved_count: u32,
    pub reservation: ReservationId,
}
