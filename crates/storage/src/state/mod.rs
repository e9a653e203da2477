//! The state of a group: the map on RocksDB, its checkpoints, the snapshots it is given.
//!
//! Not here: what a key means; when to checkpoint or to receive a snapshot.

pub mod checkpoint;
pub mod kv;
pub(crate) mod manifest;
pub mod options;
pub(crate) mod pointer;
pub mod staging;
pub mod store;
#[cfg(test)]
mod store_tests;
