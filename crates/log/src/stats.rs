//! Numbers of a log, for metrics and for back-pressure.

use crate::position::Position;

/// A log's numbers at one moment. Counters grow from 0 at open.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogStats {
    /// Calls of `drain` that wrote something.
    pub drains: u64,
    pub records: u64,
    /// Entry records among them.
    pub entries: u64,
    /// Bytes written, framing included.
    pub bytes: u64,
    pub syncs: u64,
    /// Entries served from memory, and from segments.
    pub reads_cached: u64,
    pub reads_disk: u64,
    /// Entries' bytes (and a little per record) queued and not yet durable.
    pub queue_bytes: usize,
    /// Entries' bytes held for readers.
    pub cache_bytes: usize,
    /// Segments that hold records, and empty ones held ready.
    pub segments: usize,
    pub spares: usize,
    /// Free bytes of the device when last asked (each drain and each upkeep).
    pub free_bytes: u64,
    /// Few bytes are free, or a spare segment could not be made: growing work should be refused.
    pub low: bool,
    /// Records wait because no segment can be made. Passes once a purge or an operator frees space.
    pub disk_full: bool,
    /// The log has stopped for good.
    pub failed: bool,
    /// Everything before this is durable.
    pub durable: Position,
}
