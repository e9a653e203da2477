//! The outside world of each node, simulated: network, log disk, state directory.
//!
//! Not here: time and tasks (`runtime`), which faults happen when (`faults`).
//! Invariant: a seam of a dead life does nothing any more, whoever still holds it.

pub mod disk;
pub mod net;
pub mod state;
