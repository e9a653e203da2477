//! openraft's log on our log.
//!
//! Not here: files, syncing (crate `log`), what an entry says.
//! Invariants: votes, entries, truncations and purges enter the log in the order openraft asks
//! for them; `append` never waits for the device; an entry is readable once `append` returned.

use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use bessemer_log::{GroupLog, LogError};
use bessemer_seam::log_disk::LogDisk;
use bessemer_seam::mutants::{self, Mutant};
use futures_channel::oneshot;
use futures_util::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{AsyncRuntime, OptionalSend, RaftLogReader};

use crate::codec::{
    decode, decode_record, encode, encode_record, get_log_id, get_vote, log_index, put_log_id,
    put_vote, record_log_id,
};
use crate::types::{Entry, LogId, Types, Vote};

/// Bytes read ahead of the apply worker at once.
const APPLY_CHUNK_BYTES: usize = 4 << 20;

/// openraft's view of one group's log. Clones share it.
pub struct LogStore<Rt, D: LogDisk> {
    log: GroupLog<D>,
    /// Bytes of entries per message to a follower.
    append_bytes_max: usize,
    runtime: PhantomData<fn() -> Rt>,
}

impl<Rt, D: LogDisk> Clone for LogStore<Rt, D> {
    fn clone(&self) -> Self {
        LogStore {
            log: self.log.clone(),
            append_bytes_max: self.append_bytes_max,
            runtime: PhantomData,
        }
    }
}

fn log_error(error: LogError) -> io::Error {
    io::Error::other(error)
}

/// The log id of the newest entry, or of the newest purged one.
pub(crate) fn last_log_id<D: LogDisk>(log: &GroupLog<D>) -> io::Result<Option<LogId>> {
    match log.last_entry().map_err(log_error)? {
        Some((_, record)) => Ok(Some(record_log_id(&record)?)),
        None => purged_log_id(log),
    }
}

fn purged_log_id<D: LogDisk>(log: &GroupLog<D>) -> io::Result<Option<LogId>> {
    match log.state().purged {
        Some((_, bytes)) => Ok(Some(decode(&bytes, "the purge point", get_log_id)?)),
        None => Ok(None),
    }
}

/// Newest index the log holds or has purged; 0 when it never held anything.
pub(crate) fn last_index<D: LogDisk>(log: &GroupLog<D>) -> u64 {
    let state = log.state();
    state.last.or(state.purged.map(|(index, _)| index)).unwrap_or(0)
}

impl<Rt, D: LogDisk> LogStore<Rt, D> {
    pub fn new(log: GroupLog<D>, append_bytes_max: usize) -> LogStore<Rt, D> {
        LogStore { log, append_bytes_max, runtime: PhantomData }
    }

    /// The entries openraft calls `start..end`, until `bytes_max`; at least one if there is any.
    fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        let (from, to) = (log_index(start).0, log_index(end).0);
        let records = self.log.read(from, to, bytes_max).map_err(log_error)?;
        records.into_iter().map(|(_, record)| Ok(decode_record(record)?)).collect()
    }

    fn bounds(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            // The entry after the last, in openraft's count, is our index of the last.
            Bound::Unbounded => last_index(&self.log),
        };
        (start, end)
    }
}

impl<Rt: AsyncRuntime, D: LogDisk> RaftLogReader<Types<Rt>> for LogStore<Rt, D> {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (mut start, end) = self.bounds(&range);
        let mut entries = Vec::new();
        loop {
            let chunk = self.read(start, end, APPLY_CHUNK_BYTES)?;
            let Some(last) = chunk.last() else { return Ok(entries) };
            start = last.log_id.index + 1;
            entries.extend(chunk);
        }
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        match self.log.state().vote {
            Some(bytes) => Ok(Some(decode(&bytes, "the vote", get_vote)?)),
            None => Ok(None),
        }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, self.append_bytes_max)
    }

    /// Reads in chunks: a catch-up over the whole log never holds it in memory.
    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = self.bounds(&range);
        let chunks =
            Chunks { store: self.clone(), next: start, end, ready: Vec::new().into_iter() };
        futures_util::stream::iter(chunks)
    }
}

/// Entries one by one, read chunk by chunk, up to the end of the log. One missing at the front is
/// an error; none can be missing at the end, since `append` makes entries readable at once.
struct Chunks<Rt, D: LogDisk> {
    store: LogStore<Rt, D>,
    next: u64,
    end: u64,
    ready: std::vec::IntoIter<Entry>,
}

impl<Rt, D: LogDisk> Iterator for Chunks<Rt, D> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        if let Some(entry) = self.ready.next() {
            return Some(Ok(entry));
        }
        if self.next >= self.end {
            return None;
        }
        match self.store.read(self.next, self.end, APPLY_CHUNK_BYTES) {
            Ok(entries) if entries.first().is_some_and(|first| first.log_id.index > self.next) => {
                let missing = log_index(self.next);
                self.next = self.end;
                Some(Err(io::Error::other(format!(
                    "entry {missing} is needed and no longer in the log"
                ))))
            }
            Ok(entries) => {
                self.next = entries.last().map_or(self.end, |last| last.log_id.index + 1);
                self.ready = entries.into_iter();
                self.ready.next().map(Ok)
            }
            Err(error) => {
                self.next = self.end;
                Some(Err(error))
            }
        }
    }
}

impl<Rt: AsyncRuntime, D: LogDisk> RaftLogStorage<Types<Rt>> for LogStore<Rt, D> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types<Rt>>> {
        Ok(LogState {
            last_purged_log_id: purged_log_id(&self.log)?,
            last_log_id: last_log_id(&self.log)?,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let done = move |result| {
            // Whoever asked may be gone with the replica.
            let _ = sender.send(result);
        };
        self.log.save_vote(encode(vote, put_vote), Box::new(done));
        if mutants::on(Mutant::VoteNotSynced) {
            return Ok(());
        }
        match receiver.await {
            Ok(result) => result.map_err(log_error),
            Err(oneshot::Canceled) => Err(io::Error::other("the log was dropped")),
        }
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.log.save_committed(encode(&committed, put_log_id));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let state = self.log.state();
        let Some(bytes) = state.committed else { return Ok(None) };
        let committed = decode(&bytes, "the committed mark", get_log_id)?;
        // After a crash the mark may have survived and the entry not: it is not committed here.
        Ok(std::cmp::min(Some(committed), last_log_id(&self.log)?))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types<Rt>>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries
            .into_iter()
            .map(|entry| (log_index(entry.log_id.index).0, encode_record(&entry)))
            .collect();
        let done = move |result: Result<(), LogError>| {
            callback.io_completed(result.map_err(log_error));
        };
        self.log.append(records, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate_after(last.map(|id| log_index(id.index).0));
        Ok(())
    }

    async fn purge(&mut self, mut id: LogId) -> io::Result<()> {
        if mutants::on(Mutant::PurgePastFlush) {
            id = self.read_committed().await?.map_or(id, |committed| committed.max(id));
        }
        self.log.purge(log_index(id.index).0, encode(&id, put_log_id));
        Ok(())
    }
}
