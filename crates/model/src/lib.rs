//! The words of Bessemer: ids, units, limits, nouns, commands, outcomes, effects, rejections.
//!
//! Not here: bytes, JSON, time sources, or how anything is stored or shown.

pub mod access;
pub mod command;
pub mod effect;
pub mod failure;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod ids;
pub mod lane;
pub mod limits;
pub mod outcome;
pub mod project;
pub mod queue;
pub mod rejection;
pub mod units;

pub use access::{Role, Scope, TokenRecord};
pub use command::{Command, Request, RetryKey};
pub use effect::Effect;
pub use failure::{Failure, NotDone};
pub use ids::{
    BootCount, DataId, GroupId, LogIndex, MessageId, NodeId, OrderingKey, Position, ProjectId,
    QueueName, ReservationId, StoreId, TokenId,
};
pub use lane::LaneSeq;
pub use outcome::{Outcome, ReservedMessage};
pub use project::{Quota, QuotaPatch, Usage};
pub use queue::{DeadLetter, DeadLetterPatch, Handle, Held, NewMessage, QueuePatch, QueueSettings};
pub use rejection::Rejection;
pub use units::Millis;
