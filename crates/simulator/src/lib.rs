//! A whole cluster in one thread, from a seed.
//!
//! Not here: a real clock, socket, disk or thread.

pub mod bugs;
pub mod checks;
pub mod doors;
pub mod history;
pub mod runtime;
pub mod seed;
pub mod trace;
pub mod workload;
pub mod world;
