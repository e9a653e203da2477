//! What the outside world can do to us, as traits: a map on disk, a log's disk, a network, a
//! clock, agreement with peers. Production and simulation each implement them once.
//!
//! Not here: an implementation that touches a device.

pub mod consensus;
pub mod kv;
pub mod kv_memory;
pub mod kv_suite;
pub mod log_disk;
pub mod log_disk_suite;
pub mod mutants;
pub mod net;
pub mod runtime;
pub mod state_store;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
