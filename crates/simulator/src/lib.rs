//! A whole cluster in one thread, from a seed.
//!
//! Not here: a real clock, socket, disk or thread.
//! The way through: `run.rs` makes a plan from a seed and runs it: `cluster.rs` starts machines,
//! each a `node.rs` on `world`, each `client.rs` of the `workload.rs` asks them through `calls.rs`,
//! `faults.rs` hurts them, `record.rs` takes down what `bessemer_history` judges; time and tasks
//! are `runtime`'s.

pub mod calls;
pub mod client;
pub mod cluster;
pub mod doors;
pub mod faults;
pub mod log_lines;
pub mod membership;
pub mod mishaps;
pub mod mutants;
pub mod node;
pub mod queues;
pub mod record;
pub mod run;
pub mod runtime;
mod scenes;
pub mod seed;
pub mod shrink;
mod signal;
pub mod trace;
pub mod workload;
pub mod world;
