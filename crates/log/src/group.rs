//! What readers see of a group: its entries and values as of the newest call, written or not.
//!
//! Not here: which records are written (`view.rs`), reading segments.
//! Invariants: slots are the entries `first..first + slots.len()`, without gaps; a slot has a
//! payload, a place on disk, or both.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::position::Position;

/// A group's values and bounds at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupState {
    /// Index and opaque log id up to which (inclusive) entries were purged.
    pub purged: Option<(u64, Vec<u8>)>,
    /// First and last entry held; `None` when there is none: then the log ends at `purged`.
    pub first: Option<u64>,
    pub last: Option<u64>,
    /// The newest saved vote and committed mark, opaque; perhaps not yet durable.
    pub vote: Option<Vec<u8>>,
    pub committed: Option<Vec<u8>>,
    /// Bytes of all entries held.
    pub entry_bytes: u64,
}

/// One entry. `ticket` is unique to this append: an index may be appended again.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub ticket: u64,
    pub bytes: u32,
    /// The start of its record, once written.
    pub at: Option<Position>,
    /// Its bytes, while cached.
    pub payload: Option<Arc<[u8]>>,
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    first: u64,
    slots: VecDeque<Slot>,
    entry_bytes: u64,
    pub purged: Option<(u64, Vec<u8>)>,
    pub vote: Option<Vec<u8>>,
    pub committed: Option<Vec<u8>>,
    /// `committed` was saved since it was last queued to be written.
    pub committed_dirty: bool,
}

impl Group {
    pub fn state(&self) -> GroupState {
        GroupState {
            purged: self.purged.clone(),
            first: self.first(),
            last: self.last(),
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            entry_bytes: self.entry_bytes,
        }
    }

    pub fn first(&self) -> Option<u64> {
        (!self.slots.is_empty()).then_some(self.first)
    }

    pub fn last(&self) -> Option<u64> {
        Some(self.first()? + self.slots.len() as u64 - 1)
    }

    /// The index the next entry must have; `None` in a log that never held anything: any.
    pub fn expected(&self) -> Option<u64> {
        let purged = self.purged.as_ref().map(|(index, _)| *index);
        self.last().or(purged).map(|last| last + 1)
    }

    pub fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(self.place(index)?)
    }

    pub fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        let place = self.place(index)?;
        self.slots.get_mut(place)
    }

    /// Adds the entry `index`, which is `expected()`.
    pub fn push(&mut self, index: u64, slot: Slot) {
        assert!(self.expected().is_none_or(|expected| expected == index), "entries have no gap");
        if self.slots.is_empty() {
            self.first = index;
        }
        self.entry_bytes += u64::from(slot.bytes);
        self.slots.push_back(slot);
    }

    /// Takes out the last entry, when it is above `after`.
    pub fn pop_above(&mut self, after: Option<u64>) -> Option<Slot> {
        let last = self.last()?;
        if after.is_some_and(|after| last <= after) {
            return None;
        }
        let slot = self.slots.pop_back()?;
        self.entry_bytes -= u64::from(slot.bytes);
        Some(slot)
    }

    /// Takes out the first entry, when it is purged.
    pub fn pop_purged(&mut self) -> Option<Slot> {
        let purged = self.purged.as_ref()?.0;
        if self.first()? > purged {
            return None;
        }
        self.first += 1;
        let slot = self.slots.pop_front()?;
        self.entry_bytes -= u64::from(slot.bytes);
        Some(slot)
    }

    fn place(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.first)?).ok()
    }
}
