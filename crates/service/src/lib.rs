//! Use cases of Bessemer: who asks, may they, what is proposed or read, and who waits.
//!
//! Not here: HTTP, JSON, Raft's words, clocks of the machine. Time, tasks and chance come from
//! the `Runtime` seam, agreement from the `Consensus` seam.
//! Invariant: nothing changes state but `Consensus::propose`; every answer says whether it is
//! certain (`ServiceError`).

mod authorize;
mod caller;
mod cluster;
mod delivery;
mod failure;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod messages;
mod options;
mod projects;
mod queues;
mod race;
mod service;
mod tokens;
mod transactions;
mod waiters;

pub use bessemer_model::QuotaPatch;
pub use caller::Caller;
pub use delivery::{Delivery, Undo};
pub use failure::ServiceError;
pub use messages::{MessageView, Release, Reserve, Touch};
pub use options::Options;
pub use projects::{ProjectListing, ProjectView};
pub use queues::{ListQueues, QueueView};
pub use service::{Duty, Freshness, Service};
pub use tokens::{MintedToken, NewToken};
