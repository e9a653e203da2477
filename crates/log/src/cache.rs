//! Which entries' bytes stay in memory: the newest, up to a number of bytes.
//!
//! Not here: the bytes (each group's slots hold them).
//! Invariants: `bytes` counts exactly the slots that hold a payload; an entry that is not yet
//! written is never given up.

use std::collections::{BTreeMap, VecDeque};

use bessemer_model::GroupId;

use crate::group::{Group, Slot};

/// Names one append of one entry.
#[derive(Clone, Copy, Debug)]
struct Cached {
    group: GroupId,
    index: u64,
    ticket: u64,
}

/// Entries in the order they were appended; some may be gone since.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    order: VecDeque<Cached>,
    held: usize,
    bytes: usize,
}

impl Cache {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The entry `index` of `group` was appended, its payload in its slot.
    pub fn added(&mut self, group: GroupId, index: u64, slot: &Slot) {
        self.order.push_back(Cached { group, index, ticket: slot.ticket });
        self.held += 1;
        self.bytes += slot.bytes as usize;
    }

    /// `slot` was taken out of its group.
    pub fn removed(&mut self, slot: &Slot) {
        if slot.payload.is_some() {
            self.held -= 1;
            self.bytes -= slot.bytes as usize;
        }
    }

    /// Gives up the oldest written payloads until `bytes_max` is kept.
    pub fn shrink(&mut self, groups: &mut BTreeMap<GroupId, Group>, bytes_max: usize) {
        while let Some(oldest) = self.order.front().copied() {
            match live(groups, oldest) {
                // Truncated or purged since.
                None => {}
                Some(_) if self.bytes <= bytes_max => break,
                Some(slot) if slot.at.is_none() => break,
                Some(slot) => {
                    slot.payload = None;
                    self.held -= 1;
                    self.bytes -= slot.bytes as usize;
                }
            }
            self.order.pop_front();
        }
        // Entries that went while an older one stayed leave their names behind the front.
        if self.order.len() > 1024 + 2 * self.held {
            self.order.retain(|cached| live(groups, *cached).is_some());
        }
    }
}

/// The slot of this append, if it still holds its payload.
fn live(groups: &mut BTreeMap<GroupId, Group>, cached: Cached) -> Option<&mut Slot> {
    let slot = groups.get_mut(&cached.group)?.slot_mut(cached.index)?;
    (slot.ticket == cached.ticket && slot.payload.is_some()).then_some(slot)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::position::Position;

    const GROUP: GroupId = GroupId(1);

    fn push(groups: &mut BTreeMap<GroupId, Group>, cache: &mut Cache, index: u64, written: bool) {
        let at = written.then_some(Position::new(1, 8));
        let slot = Slot { ticket: index, bytes: 10, at, payload: Some(Arc::from([0u8; 10])) };
        cache.added(GROUP, index, &slot);
        groups.entry(GROUP).or_default().push(index, slot);
    }

    #[test]
    fn the_oldest_written_entries_go_first() {
        let (mut groups, mut cache) = (BTreeMap::new(), Cache::default());
        for index in 0..5 {
            push(&mut groups, &mut cache, index, index < 3);
        }
        cache.shrink(&mut groups, 40);
        assert_eq!(cache.bytes(), 40);
        assert!(groups[&GROUP].slot(0).unwrap().payload.is_none());
        assert!(groups[&GROUP].slot(1).unwrap().payload.is_some());
        cache.shrink(&mut groups, 0);
        assert_eq!(cache.bytes(), 20, "unwritten entries stay");
    }

    #[test]
    fn names_of_gone_entries_do_not_pile_up() {
        let (mut groups, mut cache) = (BTreeMap::new(), Cache::default());
        push(&mut groups, &mut cache, 0, false);
        for _ in 0..10_000 {
            push(&mut groups, &mut cache, 1, true);
            let slot = groups.get_mut(&GROUP).unwrap().pop_above(Some(0)).unwrap();
            cache.removed(&slot);
            cache.shrink(&mut groups, 1000);
        }
        assert_eq!(cache.bytes(), 10);
        assert!(cache.order.len() <= 1024 + 4);
    }
}
