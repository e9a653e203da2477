//! The set of segment files: spares made ahead, old ones removed.
//!
//! Not here: what is written into them.
//! Invariants: numbers of existing segments have no gap: made at the top, removed from the
//! bottom, each durable before the next. A spare is all zeros.

use std::io;
use std::sync::Arc;

use bessemer_seam::log_disk::LogDisk;

use crate::error::LogError;
use crate::log::{Shared, State, lock};
use crate::segment;
use crate::stats::LogStats;

/// A segment's number and its file.
pub(crate) type Numbered<F> = (u32, Arc<F>);

/// Held locked while a file is made or removed.
pub(crate) struct Files {
    /// Number of the next segment to make.
    pub next_number: u32,
}

impl<D: LogDisk> Shared<D> {
    /// A segment to write into; `None` while the device is full. Waits for `files` only when
    /// there is no spare.
    pub fn take_spare(&self) -> Result<Option<Numbered<D::File>>, LogError> {
        let ready = self.pop_spare();
        if ready.is_some() {
            return Ok(ready);
        }
        let mut files = lock(&self.files);
        // One may have been made while this waited.
        if self.state().spares.is_empty() {
            self.create(&mut files)?;
        }
        Ok(self.pop_spare())
    }

    /// Removes what is not needed, then makes the spares.
    pub fn upkeep(&self) -> Result<(), LogError> {
        self.reclaim()?;
        while self.lacks_spare() && self.create(&mut lock(&self.files))? {}
        let free_bytes = self.free_bytes()?;
        let mut state = self.state();
        state.stats.free_bytes = free_bytes;
        let room_again = state.stats.disk_full && !state.create_failed;
        drop(state);
        if room_again {
            self.wake();
        }
        Ok(())
    }

    /// Removes all segments below `needed_from`, oldest first.
    pub fn reclaim(&self) -> Result<(), LogError> {
        let _files = lock(&self.files);
        while let Some(number) = self.removable() {
            let name = segment::name(number);
            self.disk.remove(&name).map_err(|error| LogError::io("remove", &name, &error))?;
            self.state().segments.remove(&number);
        }
        Ok(())
    }

    /// The oldest segment, when no group needs it. Its own function: the lock ends with it.
    fn removable(&self) -> Option<u32> {
        self.state().removable()
    }

    pub fn free_bytes(&self) -> Result<u64, LogError> {
        self.disk.free_bytes().map_err(|error| LogError::io("ask for free bytes of", "", &error))
    }

    /// Also true while the device is full: asking again is the only way to learn of new room.
    pub fn wants_upkeep(&self) -> bool {
        self.removable().is_some() || self.lacks_spare()
    }

    pub fn stats(&self) -> LogStats {
        let state = self.state();
        let mut stats = state.stats.clone();
        stats.queue_bytes = state.queue_bytes;
        stats.cache_bytes = state.cache.bytes();
        stats.segments = state.segments.len();
        stats.spares = state.spares.len();
        stats.low = state.create_failed || stats.free_bytes < self.options.low_water_bytes;
        stats.failed = state.failed.is_some();
        stats
    }

    fn pop_spare(&self) -> Option<Numbered<D::File>> {
        self.state().spares.pop_front()
    }

    fn lacks_spare(&self) -> bool {
        self.state().spares.len() < self.options.spare_segments
    }

    /// Makes one spare; false when the device is full.
    fn create(&self, files: &mut Files) -> Result<bool, LogError> {
        let number = files.next_number;
        let name = segment::name(number);
        let made = self.disk.create(&name, self.options.segment_bytes);
        let mut state = self.state();
        match made {
            Ok(file) => {
                state.spares.push_back((number, Arc::new(file)));
                files.next_number = number.checked_add(1).expect("2^32 segments are never written");
                state.create_failed = false;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                state.create_failed = true;
                Ok(false)
            }
            Err(error) => Err(LogError::io("make", &name, &error)),
        }
    }
}

impl<F> State<F> {
    fn removable(&self) -> Option<u32> {
        self.segments.keys().next().copied().filter(|number| *number < self.needed_from)
    }
}
