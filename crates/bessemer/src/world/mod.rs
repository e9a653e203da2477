//! The production world: tokio, TCP, real files, RocksDB.

pub mod log_driver;
pub mod real;
#[cfg(test)]
mod suite;
pub mod tcp_net;
pub mod tokio_runtime;
