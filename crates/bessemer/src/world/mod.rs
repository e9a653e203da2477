//! The production world: tokio, TCP, real files, RocksDB.

pub mod log_driver;
pub mod real;
pub mod tcp_net;
pub mod tokio_runtime;
