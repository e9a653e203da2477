//! A whole cluster in one thread, from a seed.
//!
//! Not here: a real clock, socket, disk or thread.
//! The way through: `run.rs` makes a plan from a seed and runs it: `cluster.rs` starts machines,
//! each a `node.rs` on `world`, `workload.rs` asks them, `faults.rs` hurts them, `observer.rs` and
//! `checks.rs` judge; time and tasks are `runtime`'s.

pub mod bugs;
pub mod checks;
pub mod cluster;
pub mod doors;
pub mod faults;
pub mod history;
pub mod log_lines;
pub mod membership;
pub mod node;
pub mod observer;
pub mod run;
pub mod runtime;
pub mod seed;
mod signal;
pub mod trace;
pub mod workload;
pub mod world;
