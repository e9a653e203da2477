//! The map in memory: the simulation's state, and the reference RocksDB is compared with.
//!
//! Not here: a stand-in for production. `crash` gives back what the last `flush` made durable.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kv::{EachPair, Kv, KvRead, Table, Write, WriteBatch};

type Map = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Written by `write`, read by all; `durable` follows `now` at each `flush`.
#[derive(Default)]
struct Shared {
    now: Arc<Map>,
    durable: Arc<Map>,
}

/// An ordered map behind a shared handle.
#[derive(Clone, Default)]
pub struct MemoryKv {
    shared: Arc<Mutex<Shared>>,
}

/// The map as it was when the view was taken.
#[derive(Clone)]
pub struct MemoryView {
    map: Arc<Map>,
}

impl MemoryKv {
    pub fn new() -> MemoryKv {
        MemoryKv::default()
    }

    /// What a machine finds after losing power: the map of the last flush, as a new map.
    pub fn crash(&self) -> MemoryKv {
        let durable = self.lock().durable.clone();
        MemoryKv { shared: Arc::new(Mutex::new(Shared { now: durable.clone(), durable })) }
    }

    /// Every pair, in order: for comparing two maps and for snapshots.
    pub fn dump(&self) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
        let map = self.lock().now.clone();
        map.iter().map(|((table, key), value)| (*table, key.clone(), value.clone())).collect()
    }

    /// A map that holds exactly `pairs`, durably.
    pub fn load(pairs: impl IntoIterator<Item = (Table, Vec<u8>, Vec<u8>)>) -> MemoryKv {
        let map: Map = pairs.into_iter().map(|(table, key, value)| ((table, key), value)).collect();
        let map = Arc::new(map);
        MemoryKv { shared: Arc::new(Mutex::new(Shared { now: map.clone(), durable: map })) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn scan_map(map: &Map, table: Table, from: &[u8], to: &[u8], each: EachPair<'_>) {
    if from >= to {
        return;
    }
    let range = (Bound::Included((table, from.to_vec())), Bound::Excluded((table, to.to_vec())));
    for ((_, key), value) in map.range(range) {
        if each(key, value).is_break() {
            return;
        }
    }
}

impl KvRead for MemoryKv {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.lock().now.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], each: EachPair<'_>) -> io::Result<()> {
        // The lock is held while `each` runs: `each` must not touch this map.
        let guard = self.lock();
        scan_map(&guard.now, table, from, to, each);
        Ok(())
    }
}

impl KvRead for MemoryView {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.map.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], each: EachPair<'_>) -> io::Result<()> {
        scan_map(&self.map, table, from, to, each);
        Ok(())
    }
}

impl Kv for MemoryKv {
    type View = MemoryView;

    fn view(&self) -> MemoryView {
        MemoryView { map: self.lock().now.clone() }
    }

    fn write(&self, batch: WriteBatch) -> io::Result<()> {
        let mut guard = self.lock();
        // While a view or the durable copy shares the map, this copies it once.
        let map = Arc::make_mut(&mut guard.now);
        for write in batch.writes {
            match write {
                Write::Put { table, key, value } => {
                    map.insert((table, key), value);
                }
                Write::Delete { table, key } | Write::DeleteOnce { table, key } => {
                    map.remove(&(table, key));
                }
            }
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut guard = self.lock();
        guard.durable = guard.now.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_contract() {
        crate::kv_suite::check(MemoryKv::new);
    }

    #[test]
    fn a_crash_keeps_what_was_flushed_and_nothing_else() {
        let kv = MemoryKv::new();
        let mut batch = WriteBatch::default();
        batch.put(Table::Row, "a", "1");
        kv.write(batch).unwrap();
        kv.flush().unwrap();
        let mut batch = WriteBatch::default();
        batch.put(Table::Row, "b", "2");
        kv.write(batch).unwrap();
        assert_eq!(kv.crash().dump(), [(Table::Row, b"a".to_vec(), b"1".to_vec())]);
    }
}
