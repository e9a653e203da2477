//! What an entry of the log means: queues, messages, projects, tokens, as a pure state machine.
//!
//! Not here: clocks, disks, networks, threads, who leads, and what a client is told in the end.
//! Entries go into `Engine::apply` in order; outcomes, effects and rows come out, the same on
//! every node. State is reached through `seam::kv` alone.
//!
//! Where to begin: `transcripts/post_reserve_ack.txt`, then `queue/ack.rs`, then `apply.rs`.

mod apply;
mod bytes;
mod codec;
mod core;
mod engine;
pub mod entry;
mod fault;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod group;
mod overlay;
mod project;
mod queue;
pub mod read;
mod reservation;
mod retry;
mod settle;
mod state;
mod tables;
mod told;
mod transaction;
mod window;

pub use codec::request::{decode_request, encode_request};
pub use engine::Engine;
pub use entry::{
    Batch, Part, decode_batch, decode_part, encode_batch, encode_part, join_part, peek_part,
};
pub use fault::{DecodeError, Fault};
#[cfg(feature = "mutants")]
pub use retry::forget_keyed_outcomes;
pub use told::{Applied, PartResult, PartTold, Told};
