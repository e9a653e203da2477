//! What the records up to some point say about a group.
//!
//! Not here: what is queued and not yet written (`group.rs`), entries' bytes.
//! Invariants: runs are in ascending order of index, without gaps; the first entry is
//! `purged + 1` once something was purged. The writer and recovery apply records through the
//! same function, so what is found at open is what was written.

use std::collections::VecDeque;

use crate::record::{Record, Summary};

/// Segment of entries that an older, missing segment should hold. Segments count from 1.
const MISSING: u32 = 0;

/// Entries `first..=last` lie in `segment`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    segment: u32,
    first: u64,
    last: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct View {
    runs: VecDeque<Run>,
    purged: Option<(u64, Vec<u8>)>,
    vote: Option<Vec<u8>>,
    committed: Option<Vec<u8>>,
    /// Some record was applied.
    known: bool,
}

/// What a record did to the group's entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    None,
    /// The record's entry is the group's last now.
    Appended,
    Truncated,
    Purged,
    /// The group was first heard of here; its entries `first..=last` lie in older segments.
    Adopted,
}

impl View {
    /// Applies a record that lies in `segment`. `Err` says why it cannot follow what came before.
    pub fn apply(&mut self, segment: u32, record: &Record<'_>) -> Result<Change, &'static str> {
        let known = std::mem::replace(&mut self.known, true);
        match record {
            Record::Segment { .. } | Record::Mark => Ok(Change::None),
            Record::Summary(summary) if known => {
                let same = self.summary() == *summary;
                if same { Ok(Change::None) } else { Err("a summary contradicts earlier records") }
            }
            Record::Summary(summary) => {
                self.adopt(summary);
                Ok(Change::Adopted)
            }
            Record::Vote(vote) => {
                self.vote = Some(vote.to_vec());
                Ok(Change::None)
            }
            Record::Committed(committed) => {
                self.committed = Some(committed.to_vec());
                Ok(Change::None)
            }
            Record::Entry { index, .. } => self.append(segment, *index),
            Record::Truncate { after } => {
                self.truncate(*after);
                Ok(Change::Truncated)
            }
            Record::Purge { index, log_id } => {
                self.purge(*index, log_id);
                Ok(Change::Purged)
            }
        }
    }

    /// The group in one record.
    pub fn summary(&self) -> Summary {
        Summary {
            range: self.range(),
            purged: self.purged.clone(),
            vote: self.vote.clone(),
            committed: self.committed.clone(),
        }
    }

    /// First and last entry.
    pub fn range(&self) -> Option<(u64, u64)> {
        Some((self.runs.front()?.first, self.runs.back()?.last))
    }

    /// The oldest segment that holds an entry of this group.
    pub fn first_segment(&self) -> Option<u32> {
        self.runs.front().map(|run| run.segment)
    }

    /// Some entry lies in a segment that is not there.
    pub fn misses_entries(&self) -> bool {
        self.first_segment() == Some(MISSING)
    }

    fn adopt(&mut self, summary: &Summary) {
        self.purged.clone_from(&summary.purged);
        self.vote.clone_from(&summary.vote);
        self.committed.clone_from(&summary.committed);
        if let Some((first, last)) = summary.range {
            self.runs.push_back(Run { segment: MISSING, first, last });
        }
    }

    fn append(&mut self, segment: u32, index: u64) -> Result<Change, &'static str> {
        let purged = self.purged.as_ref().map(|(index, _)| *index);
        // A purge may overtake the entries it purges while the device is full.
        if purged.is_some_and(|purged| index <= purged) {
            return Ok(Change::None);
        }
        let last = self.runs.back().map(|run| run.last).or(purged);
        if last.is_some_and(|last| index != last + 1) {
            return Err("an entry does not follow the one before");
        }
        match self.runs.back_mut() {
            Some(run) if run.segment == segment => run.last = index,
            Some(_) | None => self.runs.push_back(Run { segment, first: index, last: index }),
        }
        Ok(Change::Appended)
    }

    fn truncate(&mut self, after: Option<u64>) {
        let keep = |index: u64| after.is_some_and(|after| index <= after);
        while self.runs.back().is_some_and(|run| !keep(run.first)) {
            self.runs.pop_back();
        }
        if let (Some(run), Some(after)) = (self.runs.back_mut(), after) {
            run.last = run.last.min(after);
        }
    }

    fn purge(&mut self, index: u64, log_id: &[u8]) {
        if self.purged.as_ref().is_some_and(|(purged, _)| *purged >= index) {
            return;
        }
        self.purged = Some((index, log_id.to_vec()));
        while self.runs.front().is_some_and(|run| run.last <= index) {
            self.runs.pop_front();
        }
        if let Some(run) = self.runs.front_mut() {
            run.first = run.first.max(index + 1);
        }
    }
}
