//! One group's log, as its owner appends to it and reads it.
//!
//! Not here: writing (`drain`, which any call that queues work asks for through the waker).
//! No call but `read` and `last_entry` touches the device.

use std::sync::Arc;

use bessemer_model::GroupId;
use bessemer_seam::log_disk::{LogDisk, LogFile};

use crate::error::LogError;
use crate::frame::{self, HEADER_BYTES, Place, TRAILER_BYTES};
use crate::group::{GroupState, Slot};
use crate::log::{Item, Shared, State};
use crate::options::OPAQUE_BYTES_MAX;
use crate::position::Position;
use crate::record::ENTRY_PREFIX_BYTES;
use crate::segment;
use crate::{Done, Entry};

/// A handle; clones share the group. Calls of one group must come from one place at a time for
/// their order to mean something; calls of any number of groups may run at once.
pub struct GroupLog<D: LogDisk> {
    shared: Arc<Shared<D>>,
    group: GroupId,
}

impl<D: LogDisk> Clone for GroupLog<D> {
    fn clone(&self) -> Self {
        GroupLog { shared: self.shared.clone(), group: self.group }
    }
}

/// Where an entry's bytes are.
enum Source<F> {
    Memory(Arc<[u8]>),
    Disk { file: Arc<F>, at: Position, bytes: u32 },
}

type Plan<F> = Vec<(u64, Source<F>)>;

impl<D: LogDisk> GroupLog<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>, group: GroupId) -> GroupLog<D> {
        GroupLog { shared, group }
    }

    pub fn id(&self) -> GroupId {
        self.group
    }

    /// The newest values and bounds, written or not.
    pub fn state(&self) -> GroupState {
        let state = self.shared.state();
        state.groups.get(&self.group).map(|group| group.state()).unwrap_or_default()
    }

    /// Appends `entries`, in ascending order without gaps, the first being `last + 1` (or
    /// `purged + 1`; any index in a group that never held an entry). Readable when this returns;
    /// `done` is told when durable. No entries: `done` follows what was queued before.
    ///
    /// A gap, or an entry above `LogOptions::entry_bytes_max`, stops the log.
    pub fn append(&self, entries: Vec<Entry>, done: Done) {
        let bytes_max = self.shared.options.entry_bytes_max();
        self.queue(Some(done), |group, state| {
            if let Some((_, large)) = entries.iter().find(|(_, entry)| entry.len() > bytes_max) {
                return Err(LogError::TooLarge { bytes: large.len(), bytes_max });
            }
            entries.into_iter().try_for_each(|(index, entry)| push(group, state, index, entry))
        });
    }

    /// Saves `vote`, at most `OPAQUE_BYTES_MAX` long. `state` shows it at once; `done` is told
    /// when it is durable, and with it all that was queued before.
    pub fn save_vote(&self, vote: Vec<u8>, done: Done) {
        self.queue(Some(done), |group, state| {
            check_opaque(&vote)?;
            state.group(group).vote = Some(vote.clone());
            state.queue_item(Item::Vote { group, vote });
            Ok(())
        });
    }

    /// Remembers how far the group is committed. Written with the next records or the next
    /// `seal`, never on its own: after a crash an older mark may be found.
    pub fn save_committed(&self, committed: Vec<u8>) {
        let mut state = self.shared.state();
        if state.failed.is_some() {
            return;
        }
        if let Err(error) = check_opaque(&committed) {
            state.failed = Some(error);
            return;
        }
        let group = state.group(self.group);
        group.committed = Some(committed);
        group.committed_dirty = true;
    }

    /// Takes back all entries above `after`, all entries if `None`. Ordered before every later
    /// append, durable no later than it.
    pub fn truncate_after(&self, after: Option<u64>) {
        self.queue(None, |group, state| {
            let mut any = false;
            while let Some(slot) = state.group(group).pop_above(after) {
                state.cache.removed(&slot);
                any = true;
            }
            if any {
                state.queue_item(Item::Truncate { group, after });
            }
            Ok(())
        });
    }

    /// Drops all entries up to and including `index`, whose log id is `log_id`. An `index` above
    /// the last entry leaves an empty log whose next entry is `index + 1`; one that was purged
    /// before changes nothing. Segments go at the first `upkeep` after it is durable.
    pub fn purge(&self, index: u64, log_id: Vec<u8>) {
        self.queue(None, |group, state| {
            check_opaque(&log_id)?;
            let front = state.group(group);
            if front.purged.as_ref().is_some_and(|(purged, _)| *purged >= index) {
                return Ok(());
            }
            front.purged = Some((index, log_id.clone()));
            while let Some(slot) = state.group(group).pop_purged() {
                state.cache.removed(&slot);
            }
            state.queue_item(Item::Purge { group, index, log_id });
            Ok(())
        });
    }

    /// The entries of `from..to` that exist, in ascending order without gaps, until their bytes
    /// pass `bytes_max`: at least one if there is any. Blocks on the device only for entries
    /// that have left memory.
    pub fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        for (index, source) in self.plan(from, to, bytes_max)? {
            let entry = match source {
                Source::Memory(entry) => entry,
                Source::Disk { file, at, bytes } => self.fetch(&file, at, index, bytes)?,
            };
            entries.push((index, entry));
        }
        Ok(entries)
    }

    /// The last entry, if there is one.
    pub fn last_entry(&self) -> Result<Option<Entry>, LogError> {
        match self.state().last {
            Some(last) => Ok(self.read(last, last + 1, 0)?.pop()),
            None => Ok(None),
        }
    }

    /// Where the bytes of the entries to read are, as of now.
    fn plan(&self, from: u64, to: u64, bytes_max: usize) -> Result<Plan<D::File>, LogError> {
        let mut state = self.shared.state();
        let state = &mut *state;
        let mut plan = Vec::new();
        let Some(group) = state.groups.get(&self.group) else { return Ok(plan) };
        let Some((first, last)) = group.first().zip(group.last()) else { return Ok(plan) };
        let mut bytes = 0;
        for index in from.max(first)..to.min(last.saturating_add(1)) {
            let slot = group.slot(index).expect("slots have no gap");
            bytes += slot.bytes as usize;
            if !plan.is_empty() && bytes > bytes_max {
                break;
            }
            let source = match (&slot.payload, slot.at) {
                (Some(payload), _) => {
                    state.stats.reads_cached += 1;
                    Source::Memory(payload.clone())
                }
                (None, Some(at)) => {
                    let file = state.segments.get(&at.segment).cloned();
                    let file = file.expect("a segment stays while an entry lies in it");
                    state.stats.reads_disk += 1;
                    Source::Disk { file, at, bytes: slot.bytes }
                }
                (None, None) => unreachable!("an entry that is not written is in memory"),
            };
            plan.push((index, source));
        }
        Ok(plan)
    }

    fn fetch(
        &self,
        file: &D::File,
        at: Position,
        index: u64,
        bytes: u32,
    ) -> Result<Arc<[u8]>, LogError> {
        let mut frame = vec![0; ENTRY_PREFIX_BYTES + bytes as usize + TRAILER_BYTES];
        file.read_at(u64::from(at.offset), &mut frame)
            .map_err(|error| LogError::io("read", &segment::name(at.segment), &error))?;
        let place = Place { salt: self.shared.salt, at };
        let whole = frame::header(place, &frame).is_some_and(|h| h.bytes as usize == frame.len())
            && frame::body(place, &frame).is_some()
            && frame[HEADER_BYTES..ENTRY_PREFIX_BYTES] == index.to_le_bytes();
        if !whole {
            let Position { segment, offset } = at;
            let reason = "an entry no longer has its checksum";
            return Err(LogError::Corrupt { segment, offset, reason });
        }
        Ok(Arc::from(&frame[ENTRY_PREFIX_BYTES..frame.len() - TRAILER_BYTES]))
    }

    /// Changes the state under its lock and queues `done` behind; an error stops the log.
    fn queue(
        &self,
        done: Option<Done>,
        change: impl FnOnce(GroupId, &mut State<D::File>) -> Result<(), LogError>,
    ) {
        let mut state = self.shared.state();
        if state.failed.is_none()
            && let Err(error) = change(self.group, &mut state)
        {
            state.failed = Some(error);
        }
        let bytes_max = self.shared.options.queue_bytes_max;
        if state.failed.is_none() && state.queue_bytes > bytes_max {
            state.failed = Some(LogError::QueueOverflow { bytes: state.queue_bytes, bytes_max });
        }
        match (done, state.failed.clone()) {
            (Some(done), Some(error)) if state.closed => {
                drop(state);
                done(Err(error));
            }
            (Some(done), _) => {
                state.queue_item(Item::Done(done));
                drop(state);
                self.shared.wake();
            }
            (None, _) => {
                drop(state);
                self.shared.wake();
            }
        }
    }
}

fn push<F>(
    group: GroupId,
    state: &mut State<F>,
    index: u64,
    entry: Arc<[u8]>,
) -> Result<(), LogError> {
    let expected = state.group(group).expected().unwrap_or(index);
    if expected != index {
        return Err(LogError::OutOfOrder { group, expected, got: index });
    }
    let ticket = state.next_ticket;
    state.next_ticket += 1;
    let bytes = u32::try_from(entry.len()).expect("entries are bounded by a segment");
    let slot = Slot { ticket, bytes, at: None, payload: Some(entry.clone()) };
    state.cache.added(group, index, &slot);
    state.group(group).push(index, slot);
    state.queue_item(Item::Entry { group, index, ticket, entry });
    Ok(())
}

fn check_opaque(value: &[u8]) -> Result<(), LogError> {
    if value.len() > OPAQUE_BYTES_MAX {
        return Err(LogError::TooLarge { bytes: value.len(), bytes_max: OPAQUE_BYTES_MAX });
    }
    Ok(())
}
