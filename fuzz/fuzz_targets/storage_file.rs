//! Manifests of snapshots, the pointer to the state, and the identity of a data directory.
//!
//! Compiles these files of `bessemer-storage` by themselves: the crate would bring RocksDB.
#![no_main]
#![allow(dead_code)]

#[path = "../../crates/storage/src/boot.rs"]
mod boot;
#[path = "../../crates/storage/src/files.rs"]
mod files;
#[path = "../../crates/storage/src/fuzz.rs"]
mod fuzz;
#[path = "../../crates/storage/src/sealed.rs"]
mod sealed;
#[path = "../../crates/storage/src/state"]
mod state {
    pub(crate) mod manifest;
    pub(crate) mod pointer;
}

bessemer_fuzz::target!(fuzz::file);
