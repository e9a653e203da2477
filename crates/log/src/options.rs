//! What a log may use: segment size, memory, reserve.
//!
//! Not here: where the files are (the `LogDisk`).

use crate::error::LogError;

/// Smallest and largest segment, in bytes. Offsets inside a segment are 32 bits.
pub const SEGMENT_BYTES_MIN: u64 = 4096;
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Largest vote, log id or committed mark, in bytes: each is repeated in every segment.
pub const OPAQUE_BYTES_MAX: usize = 1024;

/// Bytes kept free at the end of each segment for purge records while the device is full.
const PURGE_ROOM_BYTES_MAX: u64 = 16 * 1024;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// Size of a segment, allocated when it is made. A multiple of 8 within
    /// `SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX`. May change between runs.
    pub segment_bytes: u64,
    /// Segments held ready, empty. They are also the reserve that keeps small records flowing
    /// once no more can be allocated.
    pub spare_segments: usize,
    /// Memory for the newest entries; older ones are read back from their segments. Entries
    /// that are not yet written are held regardless.
    pub cache_bytes: usize,
    /// Bytes appended and not yet durable above which `Log::has_room` is false: callers wait.
    pub room_bytes: usize,
    /// Bytes appended and not yet durable above which the log stops: callers did not wait, and the
    /// device has been stuck for too long.
    pub queue_bytes_max: usize,
    /// Below this many free bytes on the device, `LogStats::low` is set.
    pub low_water_bytes: u64,
    /// Random; used when the log is first made, then kept in the files. It keeps a message body
    /// from ever passing for a record.
    pub salt: u64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 64 << 20,
            spare_segments: 1,
            cache_bytes: 64 << 20,
            room_bytes: 16 << 20,
            queue_bytes_max: 512 << 20,
            low_water_bytes: 1 << 30,
            salt: 0,
        }
    }
}

impl LogOptions {
    /// Largest entry, in bytes: half a segment.
    pub fn entry_bytes_max(&self) -> usize {
        (self.segment_bytes / 2) as usize
    }

    pub(crate) fn check(&self) -> Result<(), LogError> {
        let in_range = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes);
        if !in_range || !self.segment_bytes.is_multiple_of(8) {
            return Err(LogError::SegmentBytes { bytes: self.segment_bytes });
        }
        Ok(())
    }
}

/// Bytes at the end of a segment of `segment_bytes` that only purge records may use.
pub(crate) fn purge_room_bytes(segment_bytes: u64) -> u64 {
    PURGE_ROOM_BYTES_MAX.min(segment_bytes / 8)
}
