//! Bytes on a disk.
//!
//! Holds: the state map on RocksDB (`state`), its checkpoints and the way a received snapshot
//! becomes the state, the log's real files (`disk`), and the identity of a data directory (`boot`).
//! Not here: what a key or a log record means, agreement, peers.

pub mod boot;
pub mod disk;
mod files;
#[cfg(any(test, feature = "fuzz"))]
mod fuzz;
mod sealed;
pub mod state;

pub use boot::{Boot, BootError, LOG_DIR, STATE_DIR, open_boot};
pub use state::checkpoint::RocksCheckpoint;
pub use state::kv::{RocksKv, RocksView};
pub use state::options::StorageOptions;
pub use state::staging::RocksStaging;
pub use state::store::{RocksFrozen, RocksStore};
