//! Hints from the engine to the process around it. Any of them may be lost: what must happen is
//! found again by looking at the state.

use crate::ids::{ProjectId, QueueName};

/// Something that became true by applying an entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// At least one more message of the queue can be reserved: long polls may try.
    MessagesReady { project: ProjectId, queue: QueueName },
    /// The queue is gone: long polls on it end.
    QueueDeleted { project: ProjectId, queue: QueueName },
    /// The token can no longer be used: caches forget it.
    TokenRevoked { project: ProjectId, token: crate::ids::TokenId },
    /// Rows of an ended store wait for `Sweep`.
    GarbageLeft,
}
