//! Agreement: one node's replica of a group's log and state. The home of openraft.
//!
//! Not here: HTTP, authorization, containers, what a command means, files, sockets.
//! Generic over its [`World`]: runtime, network, log disk, state store. Production and the
//! simulation run the same code.
//!
//! The way of a request: `replica.rs` propose → `proposer.rs` a place in this node's lane →
//! `lane.rs` to the leader → `forward.rs` and `intake.rs` into an entry → `log_store.rs` and
//! `session.rs` to every log → `state_machine.rs` applied on every node → back to `proposer.rs`,
//! where the node that owns the lane answers the caller.

mod bytes;
mod codec;
mod config;
mod disk;
mod effects;
mod event;
mod fatal;
mod forward;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod growth;
mod intake;
mod lane;
mod link;
mod log_store;
mod membership;
mod network;
mod options;
mod peers;
mod progress;
mod proposer;
mod reads;
mod replica;
mod retention;
mod role;
mod server;
mod session;
mod shared;
mod snapshot;
mod snapshot_receive;
mod snapshot_send;
mod state_machine;
mod steering;
mod tasks;
mod ticker;
mod types;
mod watch;
mod wire;
mod world;

pub use bytes::DecodeError;
pub use log_store::LogStore;
pub use options::{ELECTION_TIMEOUT_MS, HEARTBEAT_INTERVAL_MS, ReplicaOptions};
pub use replica::{Replica, ReplicaMetrics, StartError, open_storage};
pub use snapshot::{SnapshotData, TransferCounts};
pub use state_machine::{SnapshotBuilder, StateMachine};
pub use ticker::CLUSTER_VERSION;
pub use types::{EntryData, PeerNode, Types};
pub use world::World;
