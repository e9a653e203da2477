//! The handle of a whole log, and what its parts share.
//!
//! Not here: encoding and syncing (`writer.rs`), opening (`recover.rs`), groups' calls
//! (`group_log.rs`).
//! Locks, taken in this order and never across a callback: `writer` (held while writing and
//! syncing), `files` (held while creating and removing segments), `state` (held for moments).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bessemer_model::GroupId;
use bessemer_seam::log_disk::LogDisk;

use crate::Done;
use crate::cache::Cache;
use crate::error::LogError;
use crate::files::{Files, Numbered};
use crate::group::Group;
use crate::group_log::GroupLog;
use crate::options::LogOptions;
use crate::position::Position;
use crate::recover::{self, Recovered};
use crate::stats::LogStats;
use crate::writer::Writer;

/// A node's log. Clones share it.
pub struct Log<D: LogDisk> {
    shared: Arc<Shared<D>>,
}

impl<D: LogDisk> Clone for Log<D> {
    fn clone(&self) -> Self {
        Log { shared: self.shared.clone() }
    }
}

pub(crate) type Waker = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Shared<D: LogDisk> {
    pub disk: D,
    pub options: LogOptions,
    /// The log's own, from its files.
    pub salt: u64,
    pub writer: Mutex<Writer<D::File>>,
    pub files: Mutex<Files>,
    pub state: Mutex<State<D::File>>,
    pub waker: Mutex<Option<Waker>>,
}

/// What appenders, readers and the writer meet in.
pub(crate) struct State<F> {
    pub groups: BTreeMap<GroupId, Group>,
    pub cache: Cache,
    /// Taken whole by each drain.
    pub queue: VecDeque<Item>,
    /// Of all items queued and not yet durable, the writer's included.
    pub queue_bytes: usize,
    pub next_ticket: u64,
    /// Segments that hold records, the one being written included.
    pub segments: BTreeMap<u32, Arc<F>>,
    /// Empty segments in the order of their use.
    pub spares: VecDeque<Numbered<F>>,
    /// Durably, no group needs a segment below this one.
    pub needed_from: u32,
    /// The last attempt to make a segment found the device full.
    pub create_failed: bool,
    /// Set once; then nothing more is written. `closed` once the writer has told every callback
    /// it held: from then on callers are told at once.
    pub failed: Option<LogError>,
    pub closed: bool,
    pub stats: LogStats,
}

/// One piece of queued work.
pub(crate) enum Item {
    Entry { group: GroupId, index: u64, ticket: u64, entry: Arc<[u8]> },
    Vote { group: GroupId, vote: Vec<u8> },
    Truncate { group: GroupId, after: Option<u64> },
    Purge { group: GroupId, index: u64, log_id: Vec<u8> },
    Committed { group: GroupId, committed: Vec<u8> },
    Mark,
    Done(Done),
}

impl Item {
    /// What the item counts for in `queue_bytes`.
    pub fn queue_bytes(&self) -> usize {
        let own = match self {
            Item::Entry { entry, .. } => entry.len(),
            Item::Vote { vote: bytes, .. }
            | Item::Purge { log_id: bytes, .. }
            | Item::Committed { committed: bytes, .. } => bytes.len(),
            Item::Truncate { .. } | Item::Mark | Item::Done(_) => 0,
        };
        own + size_of::<Item>()
    }
}

impl<F> State<F> {
    pub fn group(&mut self, group: GroupId) -> &mut Group {
        self.groups.entry(group).or_default()
    }

    pub fn queue_item(&mut self, item: Item) {
        self.queue_bytes += item.queue_bytes();
        self.queue.push_back(item);
    }

    /// Queues the committed marks that were saved since they were last written.
    pub fn queue_committed(&mut self) {
        let mut marks = Vec::new();
        for (id, group) in &mut self.groups {
            if std::mem::take(&mut group.committed_dirty)
                && let Some(committed) = group.committed.clone()
            {
                marks.push(Item::Committed { group: *id, committed });
            }
        }
        marks.into_iter().for_each(|mark| self.queue_item(mark));
    }

    pub fn check(&self) -> Result<(), LogError> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl<D: LogDisk> Shared<D> {
    pub fn state(&self) -> MutexGuard<'_, State<D::File>> {
        lock(&self.state)
    }

    /// Asks the owner to drain.
    pub fn wake(&self) {
        let waker = lock(&self.waker).clone();
        if let Some(waker) = waker {
            waker();
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: LogDisk> Log<D> {
    /// Opens the log in `disk`, or makes a new one when there are no segments. Blocks: reads
    /// everything written once, holding no entry in memory, and syncs twice.
    ///
    /// Refuses damaged logs (`Corrupt`), logs of newer programs (`UnknownRecord`) and failing
    /// devices. Cuts a torn tail.
    pub fn open(disk: D, options: LogOptions) -> Result<(Log<D>, Recovered), LogError> {
        options.check()?;
        let found = recover::recover(&disk, &options)?;
        let state = State {
            groups: found.groups,
            cache: Cache::default(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            next_ticket: 1,
            segments: found.segments,
            spares: found.spares,
            needed_from: 0,
            create_failed: false,
            failed: None,
            closed: false,
            stats: LogStats::default(),
        };
        let shared = Shared {
            disk,
            options,
            salt: found.salt,
            writer: Mutex::new(found.writer),
            files: Mutex::new(Files { next_number: found.next_number }),
            state: Mutex::new(state),
            waker: Mutex::new(None),
        };
        let log = Log { shared: Arc::new(shared) };
        // States the recovered end, and each group in the newest segment.
        log.drain()?;
        Ok((log, found.recovered))
    }

    pub fn group(&self, group: GroupId) -> GroupLog<D> {
        GroupLog::new(self.shared.clone(), group)
    }

    /// Calls `waker` each time work is queued, from the caller's thread: it must be cheap and
    /// must not call back into the log. Replaces the one before.
    pub fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>) {
        *lock(&self.shared.waker) = Some(Arc::from(waker));
    }

    /// Writes all queued records, syncs once (once more for each segment it fills), then runs the
    /// callbacks in order. Blocks. False when nothing could be done: nothing is queued, or the
    /// device is full (`LogStats::disk_full`), in which case the records stay queued.
    ///
    /// An `Err` is final, also for every pending and later callback.
    pub fn drain(&self) -> Result<bool, LogError> {
        self.write(false)
    }

    /// Makes the last records' durability part of the log, and saves committed marks. To be
    /// called after a moment of idleness and before a clean stop. Does nothing, and returns
    /// false, when there is nothing to state.
    pub fn seal(&self) -> Result<bool, LogError> {
        let mut any = false;
        // What is still queued is synced first: only a later record can state that it is.
        while self.write(true)? {
            any = true;
        }
        Ok(any)
    }

    /// Removes segments no group needs and makes the spare ones. Blocks; may run beside `drain`,
    /// best on another thread. Finding the device full is no error.
    pub fn upkeep(&self) -> Result<(), LogError> {
        self.shared.state().check()?;
        self.shared.upkeep().inspect_err(|error| {
            self.shared.state().failed.get_or_insert(error.clone());
            self.shared.wake();
        })
    }

    /// Some segment can be removed or a spare one is missing: `upkeep` has work. Stays true while
    /// the device is full: call `upkeep` then now and again, not in a tight loop.
    pub fn wants_upkeep(&self) -> bool {
        self.shared.wants_upkeep()
    }

    /// At most `room_bytes` wait for the device: callers append freely. Otherwise they wait.
    pub fn has_room(&self) -> bool {
        self.shared.state().queue_bytes <= self.shared.options.room_bytes
    }

    /// Everything before this position is durable.
    pub fn durable(&self) -> Position {
        self.shared.state().stats.durable
    }

    pub fn stats(&self) -> LogStats {
        self.shared.stats()
    }

    fn write(&self, seal: bool) -> Result<bool, LogError> {
        let shared = &*self.shared;
        let mut writer = lock(&shared.writer);
        match writer.take(shared, seal).and_then(|()| writer.write(shared)) {
            Ok(done) => {
                let any = !done.is_empty() || writer.wrote();
                writer.publish(shared);
                done.into_iter().for_each(|done| done(Ok(())));
                Ok(any)
            }
            Err(error) => {
                let pending = writer.fail(shared, &error);
                pending.into_iter().for_each(|done| done(Err(error.clone())));
                Err(error)
            }
        }
    }
}
