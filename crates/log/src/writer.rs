//! Turns queued items into records, one sync per drain.
//!
//! Not here: who queues, and when to drain.
//! Invariants: `buffer` holds the bytes from `buffer_start` to `cursor` of the current segment;
//! everything before `durable` is synced; a record states the `durable` of its time; a segment
//! is synced whole before the next one is begun; the current segment holds a summary of every
//! group before anything else of that group.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bessemer_model::GroupId;
use bessemer_seam::log_disk::{LogDisk, LogFile};
use bessemer_seam::mutants::{self, Mutant};

use crate::Done;
use crate::error::LogError;
use crate::log::{Item, Shared};
use crate::options::purge_room_bytes;
use crate::position::Position;
use crate::record::Record;
use crate::segment;
use crate::view::View;

/// Bytes gathered before they are handed to the file.
const WRITE_BYTES: usize = 1 << 20;

/// Where an entry was written.
struct Placed {
    group: GroupId,
    index: u64,
    ticket: u64,
    at: Position,
}

pub(crate) struct Writer<F> {
    salt: u64,
    number: u32,
    file: Arc<F>,
    /// Size of the current segment.
    bytes: u64,
    cursor: u32,
    buffer: Vec<u8>,
    buffer_start: u32,
    durable: Position,
    /// The newest watermark any record states.
    stated: Position,
    /// End of the last record that is worth a watermark: all but marks.
    covered: Position,
    /// Groups as the records written so far left them.
    views: BTreeMap<GroupId, View>,
    /// Items taken from the queue and not yet written.
    backlog: VecDeque<Item>,
    /// The current segment does not yet hold the summaries.
    restate: bool,
    round: Round,
}

/// What one drain did.
#[derive(Default)]
struct Round {
    placed: Vec<Placed>,
    done: Vec<Done>,
    queue_bytes: usize,
    records: u64,
    bytes: u64,
    syncs: u64,
    disk_full: bool,
}

/// Where recovery found the end, for the first record to follow.
pub(crate) struct Start<F> {
    pub salt: u64,
    pub file: Arc<F>,
    pub bytes: u64,
    /// Everything before is durable.
    pub end: Position,
    pub stated: Position,
    pub views: BTreeMap<GroupId, View>,
}

impl<F: LogFile> Writer<F> {
    pub fn new(start: Start<F>) -> Writer<F> {
        let end = start.end;
        Writer {
            salt: start.salt,
            number: end.segment,
            file: start.file,
            bytes: start.bytes,
            cursor: end.offset,
            buffer: Vec::new(),
            buffer_start: end.offset,
            durable: end,
            stated: start.stated,
            covered: end,
            views: start.views,
            backlog: VecDeque::new(),
            restate: true,
            round: Round::default(),
        }
    }

    /// Takes what is queued. With `seal`, also committed marks; when there is nothing, a mark if
    /// that has something to state.
    pub fn take<D: LogDisk<File = F>>(
        &mut self,
        shared: &Shared<D>,
        seal: bool,
    ) -> Result<(), LogError> {
        let mut state = shared.state();
        state.check()?;
        self.round = Round::default();
        if seal || !state.queue.is_empty() {
            state.queue_committed();
        }
        self.backlog.append(&mut state.queue);
        if seal && self.backlog.is_empty() && self.covered > self.stated {
            state.queue_item(Item::Mark);
        }
        self.backlog.append(&mut state.queue);
        Ok(())
    }

    /// Writes the backlog as far as there is room, and syncs. Returns the callbacks whose
    /// records are durable, in order.
    pub fn write<D: LogDisk<File = F>>(
        &mut self,
        shared: &Shared<D>,
    ) -> Result<Vec<Done>, LogError> {
        let mut full = self.restate && !self.write_summaries(shared)?;
        while !full && let Some(item) = self.backlog.pop_front() {
            if !self.has_room(&item) && !self.roll(shared)? {
                self.backlog.push_front(item);
                full = true;
            } else {
                self.write_item(item)?;
            }
        }
        if full && !self.restate {
            self.write_purges()?;
            self.write_votes()?;
        }
        self.round.disk_full = full;
        self.sync()?;
        Ok(std::mem::take(&mut self.round.done))
    }

    /// The last `write` wrote something.
    pub fn wrote(&self) -> bool {
        self.round.records > 0
    }

    /// Shows what was written to readers and to `upkeep`.
    pub fn publish<D: LogDisk<File = F>>(&mut self, shared: &Shared<D>) {
        let free_bytes = shared.free_bytes();
        let mut guard = shared.state();
        let state = &mut *guard;
        state.stats.entries += self.round.placed.len() as u64;
        for placed in self.round.placed.drain(..) {
            // The entry may have been truncated or purged while it was written.
            if let Some(slot) = state.group(placed.group).slot_mut(placed.index)
                && slot.ticket == placed.ticket
            {
                slot.at = Some(placed.at);
            }
        }
        state.cache.shrink(&mut state.groups, shared.options.cache_bytes);
        state.queue_bytes -= std::mem::take(&mut self.round.queue_bytes);
        if !self.restate {
            let oldest = self.views.values().filter_map(View::first_segment).min();
            state.needed_from = oldest.unwrap_or(self.number);
        }
        match free_bytes {
            Ok(free_bytes) => state.stats.free_bytes = free_bytes,
            Err(error) => state.failed = state.failed.take().or(Some(error)),
        }
        state.stats.drains += u64::from(self.round.records > 0);
        state.stats.records += self.round.records;
        state.stats.bytes += self.round.bytes;
        state.stats.syncs += self.round.syncs;
        state.stats.disk_full = self.round.disk_full;
        state.stats.durable = self.durable;
    }

    /// Stops the log: returns all callbacks that are still owed, in order.
    pub fn fail<D: LogDisk<File = F>>(
        &mut self,
        shared: &Shared<D>,
        error: &LogError,
    ) -> Vec<Done> {
        let mut pending = std::mem::take(&mut self.round.done);
        let mut state = shared.state();
        state.failed.get_or_insert(error.clone());
        state.closed = true;
        self.backlog.append(&mut state.queue);
        pending.extend(self.backlog.drain(..).filter_map(|item| match item {
            Item::Done(done) => Some(done),
            Item::Entry { .. }
            | Item::Vote { .. }
            | Item::Truncate { .. }
            | Item::Purge { .. }
            | Item::Committed { .. }
            | Item::Mark => None,
        }));
        pending
    }

    fn position(&self) -> Position {
        Position { segment: self.number, offset: self.cursor }
    }

    fn has_room(&self, item: &Item) -> bool {
        let room = purge_room_bytes(self.bytes);
        with_record(item, |_, record| self.fits(record.stride() as u64 + room)).unwrap_or(true)
    }

    fn fits(&self, bytes: u64) -> bool {
        u64::from(self.cursor) + bytes <= self.bytes
    }

    fn write_item(&mut self, item: Item) -> Result<(), LogError> {
        let at = self.position();
        let queue_bytes = item.queue_bytes();
        let written = with_record(&item, |group, record| self.write_record(group, record));
        written.unwrap_or(Ok(()))?;
        self.round.queue_bytes += queue_bytes;
        match item {
            Item::Entry { group, index, ticket, .. } => {
                self.round.placed.push(Placed { group, index, ticket, at });
            }
            Item::Done(done) => self.round.done.push(done),
            Item::Vote { .. }
            | Item::Truncate { .. }
            | Item::Purge { .. }
            | Item::Committed { .. }
            | Item::Mark => {}
        }
        Ok(())
    }

    fn write_record(&mut self, group: GroupId, record: &Record<'_>) -> Result<(), LogError> {
        let at = self.position();
        let before = self.buffer.len();
        record.encode(&mut self.buffer, self.salt, at, group, self.durable);
        let stride = self.buffer.len() - before;
        assert!(self.fits(stride as u64), "a record is written where it fits");
        self.cursor += stride as u32;
        self.stated = self.durable;
        match record {
            Record::Mark => {}
            Record::Segment { .. } => self.covered = self.position(),
            Record::Summary(_)
            | Record::Vote(_)
            | Record::Entry { .. }
            | Record::Truncate { .. }
            | Record::Purge { .. }
            | Record::Committed(_) => {
                self.covered = self.position();
                let view = self.views.entry(group).or_default();
                view.apply(self.number, record).expect("records follow what was queued before");
            }
        }
        self.round.records += 1;
        self.round.bytes += stride as u64;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands the buffer to the file.
    fn flush(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file
            .write_at(u64::from(self.buffer_start), &self.buffer)
            .map_err(|error| LogError::io("write", &segment::name(self.number), &error))?;
        self.buffer.clear();
        self.buffer_start = self.cursor;
        Ok(())
    }

    /// Makes everything before the cursor durable.
    fn sync(&mut self) -> Result<(), LogError> {
        self.flush()?;
        if self.durable == self.position() {
            return Ok(());
        }
        if !mutants::on_but_every(Mutant::NatsLazyFsync, 200) {
            match self.file.sync() {
                Err(_) if mutants::on(Mutant::PostgresFsyncgate) => {}
                synced => synced
                    .map_err(|error| LogError::io("sync", &segment::name(self.number), &error))?,
            }
            self.round.syncs += 1;
        }
        self.durable = self.position();
        Ok(())
    }

    /// Ends the current segment and begins the next; false while the device is full.
    fn roll<D: LogDisk<File = F>>(&mut self, shared: &Shared<D>) -> Result<bool, LogError> {
        let Some((number, file)) = shared.take_spare()? else {
            return Ok(false);
        };
        self.sync()?;
        let previous_end = self.position();
        self.bytes = segment_bytes(&*file, number)?;
        self.number = number;
        self.file = file.clone();
        self.cursor = 0;
        self.buffer_start = 0;
        shared.state().segments.insert(number, file);
        let salt = self.salt;
        self.write_record(GroupId(0), &Record::Segment { salt, previous_end })?;
        self.restate = true;
        self.write_summaries(shared)
    }

    /// Writes every group's summary, in a new segment when the current one has no room: `roll`
    /// comes back here. False while the device is full.
    fn write_summaries<D: LogDisk<File = F>>(
        &mut self,
        shared: &Shared<D>,
    ) -> Result<bool, LogError> {
        let summaries: Vec<_> =
            self.views.iter().map(|(id, view)| (*id, Record::Summary(view.summary()))).collect();
        let bytes: usize = summaries.iter().map(|(_, record)| record.stride()).sum();
        let bytes_max = (self.bytes / 4) as usize;
        if bytes > bytes_max {
            return Err(LogError::TooManyGroups { bytes, bytes_max });
        }
        if !self.fits((bytes + Record::Mark.stride()) as u64) {
            return self.roll(shared);
        }
        for (group, record) in &summaries {
            self.write_record(*group, record)?;
        }
        self.write_record(GroupId(0), &Record::Mark)?;
        self.restate = false;
        Ok(true)
    }

    /// Lets the newest purge of each group overtake everything else, into the room kept for it:
    /// it frees the segments that the rest waits for.
    fn write_purges(&mut self) -> Result<(), LogError> {
        let mut newest = BTreeMap::new();
        let mut rest = VecDeque::with_capacity(self.backlog.len());
        for item in self.backlog.drain(..) {
            if let Item::Purge { group, .. } = item {
                let older = newest.insert(group, item);
                self.round.queue_bytes += older.map_or(0, |older| older.queue_bytes());
            } else {
                rest.push_back(item);
            }
        }
        self.backlog = rest;
        for item in newest.into_values() {
            let fits = with_record(&item, |_, record| self.fits(record.stride() as u64));
            if fits.unwrap_or(false) {
                self.write_item(item)?;
            } else {
                self.backlog.push_front(item);
            }
        }
        Ok(())
    }

    /// Lets votes that nothing waits before use half of the room kept for purges: without an
    /// election there is no one to decide what to purge.
    fn write_votes(&mut self) -> Result<(), LogError> {
        let kept = purge_room_bytes(self.bytes) / 2;
        while let Some(item) = self.backlog.pop_front() {
            let bytes = with_record(&item, |_, record| record.stride() as u64).unwrap_or(0);
            let goes = matches!(item, Item::Vote { .. } | Item::Done(_));
            if !goes || !self.fits(bytes + kept) {
                self.backlog.push_front(item);
                break;
            }
            self.write_item(item)?;
        }
        Ok(())
    }
}

fn segment_bytes<F: LogFile>(file: &F, number: u32) -> Result<u64, LogError> {
    file.bytes()
        .map_err(|error| LogError::io("ask for the size of", &segment::name(number), &error))
}

/// Calls `then` with the record that `item` is; `None` when it is none.
fn with_record<T>(item: &Item, then: impl FnOnce(GroupId, &Record<'_>) -> T) -> Option<T> {
    let (group, record) = match item {
        Item::Entry { group, index, entry, .. } => {
            (*group, Record::Entry { index: *index, payload: entry })
        }
        Item::Vote { group, vote } => (*group, Record::Vote(vote)),
        Item::Truncate { group, after } => (*group, Record::Truncate { after: *after }),
        Item::Purge { group, index, log_id } => (*group, Record::Purge { index: *index, log_id }),
        Item::Committed { group, committed } => (*group, Record::Committed(committed)),
        Item::Mark => (GroupId(0), Record::Mark),
        Item::Done(_) => return None,
    };
    Some(then(group, &record))
}
