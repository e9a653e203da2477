//! Every refusal the log can give: deterministic, the same for ever, with a stable code.
//!
//! One page per code stands in `docs/errors/`. The order in which a verb checks is part of its API.

use std::fmt;

use crate::ids::{MessageId, ProjectId, QueueName, TokenId};
use crate::units::Millis;

/// Why a command changed nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rejection {
    ProjectMissing {
        project: ProjectId,
    },
    ProjectExists {
        project: ProjectId,
    },
    TokenMissing {
        token: TokenId,
    },
    TokenExists {
        token: TokenId,
    },
    QueueMissing {
        queue: QueueName,
    },
    MessageMissing {
        message: MessageId,
    },
    /// The message is reserved and the request named no reservation.
    ReservationRequired {
        message: MessageId,
    },
    /// The named reservation has ended, or never was one of this message.
    ReservationStale {
        message: MessageId,
    },
    /// A name or key is empty or too long.
    LengthOutOfRange {
        what: Named,
        bytes: u64,
        bytes_max: u64,
    },
    CountOutOfRange {
        what: Counted,
        count: u64,
        count_max: u64,
    },
    TimeOutOfRange {
        what: Timed,
        given: Millis,
        min: Millis,
        max: Millis,
    },
    /// A dead-letter setting names no queue, and none was named before.
    DeadLetterUnnamed {
        queue: QueueName,
    },
    /// A queue cannot be its own dead-letter queue.
    DeadLetterLoop {
        queue: QueueName,
    },
    OverQuota {
        what: Quotum,
        limit: u64,
    },
    /// The idempotency key was used for another request.
    RetryKeyMismatch,
    /// A transaction holds a command that is not a queue command.
    TransactionMember,
    /// The group was given its version and secret before.
    GroupInitialized,
}

/// What a length belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    ProjectId,
    ProjectName,
    QueueName,
    OrderingKey,
    RetryKey,
    TokenId,
    TokenName,
    Body,
}

/// What a count belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    Messages,
    Reservations,
    Deletes,
    Commands,
    MaxReservations,
}

/// What a time belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timed {
    MessageTimeout,
    MessageExpiration,
    Delay,
}

/// What a quota limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quotum {
    Bytes,
    Messages,
    Queues,
    RetryKeys,
    Tokens,
}

impl Rejection {
    /// Stable code, as in `docs/errors/<code>.md` and in every machine-readable answer.
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::ProjectMissing { .. } => "ProjectMissing",
            Rejection::ProjectExists { .. } => "ProjectExists",
            Rejection::TokenMissing { .. } => "TokenMissing",
            Rejection::TokenExists { .. } => "TokenExists",
            Rejection::QueueMissing { .. } => "QueueMissing",
            Rejection::MessageMissing { .. } => "MessageMissing",
            Rejection::ReservationRequired { .. } => "ReservationRequired",
            Rejection::ReservationStale { .. } => "ReservationStale",
            Rejection::LengthOutOfRange { .. } => "LengthOutOfRange",
            Rejection::CountOutOfRange { .. } => "CountOutOfRange",
            Rejection::TimeOutOfRange { .. } => "TimeOutOfRange",
            Rejection::DeadLetterUnnamed { .. } => "DeadLetterUnnamed",
            Rejection::DeadLetterLoop { .. } => "DeadLetterLoop",
            Rejection::OverQuota { .. } => "OverQuota",
            Rejection::RetryKeyMismatch => "RetryKeyMismatch",
            Rejection::TransactionMember => "TransactionMember",
            Rejection::GroupInitialized => "GroupInitialized",
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Named::ProjectId => "project id",
            Named::ProjectName => "project name",
            Named::QueueName => "queue name",
            Named::OrderingKey => "ordering key",
            Named::RetryKey => "idempotency key",
            Named::TokenId => "token id",
            Named::TokenName => "token name",
            Named::Body => "message body",
        })
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Counted::Messages => "messages in one post",
            Counted::Reservations => "n",
            Counted::Deletes => "ids in one delete",
            Counted::Commands => "commands in one transaction",
            Counted::MaxReservations => "max_reservations",
        })
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Timed::MessageTimeout => "timeout",
            Timed::MessageExpiration => "message_expiration",
            Timed::Delay => "delay",
        })
    }
}

impl fmt::Display for Quotum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quotum::Bytes => "bytes of message bodies",
            Quotum::Messages => "messages",
            Quotum::Queues => "queues",
            Quotum::RetryKeys => "idempotency keys kept for 24 hours",
            Quotum::Tokens => "tokens",
        })
    }
}

/// Says what happened, to what, and what to do, in a sentence for the person who asked.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::ProjectMissing { project } => write!(f, "Project {project} not found"),
            Rejection::ProjectExists { project } => write!(f, "Project {project} exists already"),
            Rejection::TokenMissing { token } => write!(f, "Token {token} not found"),
            Rejection::TokenExists { token } => write!(f, "Token {token} exists already"),
            // Exact text: Go clients compare it (ironmq-v3.md section 2).
            Rejection::QueueMissing { .. } => f.write_str("Queue not found"),
            Rejection::MessageMissing { .. } => f.write_str("Message not found"),
            Rejection::ReservationRequired { .. } => f.write_str("A reservation_id is required"),
            Rejection::ReservationStale { .. } => f.write_str("Reservation timed out"),
            Rejection::LengthOutOfRange { what, bytes, bytes_max } => {
                write!(f, "The {what} has {bytes} bytes; at most {bytes_max} are allowed")?;
                if *bytes == 0 { f.write_str(", and at least 1") } else { Ok(()) }
            }
            Rejection::CountOutOfRange { what, count, count_max } => {
                write!(f, "{what} is {count}; it must be 1 to {count_max}")
            }
            Rejection::TimeOutOfRange { what, given, min, max } => {
                write!(f, "{what} is {given}; it must be {min} to {max}")
            }
            Rejection::DeadLetterUnnamed { queue } => {
                write!(f, "dead_letter of queue {queue} needs a queue_name")
            }
            Rejection::DeadLetterLoop { queue } => {
                write!(f, "Queue {queue} cannot be its own dead letter queue")
            }
            Rejection::OverQuota { what, limit } => write!(
                f,
                "The limit of {limit} {what} is reached; remove some or ask the operator \
                 to raise it"
            ),
            Rejection::RetryKeyMismatch => f.write_str(
                "This idempotency key was used for a different request; use a new key for a new \
                 request",
            ),
            Rejection::TransactionMember => {
                f.write_str("A transaction may hold queue commands only")
            }
            Rejection::GroupInitialized => f.write_str("The group is initialized already"),
        }
    }
}

impl std::error::Error for Rejection {}
