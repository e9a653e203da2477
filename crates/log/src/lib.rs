//! The write-ahead log: segmented, checksummed, shared by all groups of a node.
//!
//! Not here: what an entry means, threads, async, real files. The owner of a [`Log`] drives it:
//!
//! ```text
//! loop {
//!     while log.drain()? {}                  // writes and syncs what was queued, runs callbacks
//!     log.upkeep()?;                         // removes old segments, makes the spare one
//!     if park_timeout(IDLE).is_timeout() {   // the waker unparks
//!         log.seal()?;                       // states the durable end; cheap when there is none
//!     }
//! }
//! ```
//!
//! While `stats().disk_full`, the owner calls `drain` again at each timeout: room may be back.
//!
//! # Files
//!
//! A log is a directory of segments `00000000000000000001.log`, each allocated at full size and
//! zero where nothing was written. A segment holds records, one after the other, each at a
//! multiple of 8 bytes. The first record of a segment names the end of the one before; then
//! come the vote, the purge point and the committed mark of every group, so that segments can be
//! removed from the front. Votes, entries, truncations and purges of all groups form one
//! sequence, and a crash leaves a prefix of it.
//!
//! # Damage
//!
//! Each record states the *watermark*: how far the log was synced when the record was written.
//! At open the sequence ends at the first record that cannot be read. If any record after it
//! states a watermark beyond it, synced bytes are damaged and the log refuses to open
//! ([`LogError::Corrupt`]). Otherwise it is the torn tail of an unfinished write: it is
//! overwritten with zeros, durably, before anything is appended.
//!
//! What remains: damage to the records of the *last* sync, when nothing was written after it, looks
//! like a torn tail. `seal` closes that window (the owner calls it after a moment of idleness
//! and on a clean stop); every `open` and every later `drain` close it too. For the crash inside
//! the window, peers compare [`GroupState::last`] with what this node acknowledged.

mod cache;
mod error;
mod files;
mod frame;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod group;
mod group_log;
mod log;
pub mod memory_disk;
mod options;
mod position;
mod record;
mod recover;
mod replay;
mod scan;
mod segment;
mod stats;
mod view;
mod writer;

pub use error::LogError;
pub use group::GroupState;
pub use group_log::GroupLog;
pub use log::Log;
pub use options::{LogOptions, OPAQUE_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use position::Position;
pub use recover::Recovered;
pub use stats::LogStats;

/// An entry: its index, and its bytes.
pub type Entry = (u64, std::sync::Arc<[u8]>);

/// Told once a record, and everything queued before it, is durable, or never will be.
///
/// Runs on the thread that drains, in the order the calls were made. Must return at once and
/// must not call `drain`, `seal` or `upkeep`. An `Err` is final: the log has stopped.
pub type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;
