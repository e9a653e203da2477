//! Writes not yet in the map below, laid over it: what `apply` changes until `commit`.
//!
//! Not here: what a row means.
//! Invariants: a read sees the newest write; a batch holds each key once; a key that is absent
//! below and in the overlay has no entry (so what lives and dies between two commits is never
//! written); undo gives back exactly the overlay at the mark.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::ops::{Bound, ControlFlow};

use bessemer_seam::kv::{KvRead, Table, Write, WriteBatch};
use bessemer_seam::mutants::{self, Mutant};

/// What is known of a key in the map below.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Below {
    Absent,
    /// There, or not known to be absent.
    Maybe,
}

/// A pending write: `value: None` deletes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pending {
    value: Option<Vec<u8>>,
    below: Below,
    /// Delete with `DeleteOnce`.
    once: bool,
}

type Key = (Table, Vec<u8>);
type Rows = BTreeMap<Vec<u8>, Pending>;
/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);
/// What a scan calls for each pair.
type Each<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Pending writes over a map.
pub(crate) struct Overlay {
    below: Box<dyn KvRead>,
    /// One per table, in the order of `Table::ALL`.
    rows: [Rows; 4],
    /// While a mark is set: what each write replaced, oldest first.
    undo: Option<Vec<(Key, Option<Pending>)>>,
    /// Writes and reads of rows since the overlay was made; scans count each row they give.
    rows_touched: u64,
}

const fn slot(table: Table) -> usize {
    match table {
        Table::Meta => 0,
        Table::Row => 1,
        Table::Index => 2,
        Table::Body => 3,
    }
}

impl Overlay {
    pub fn new(below: Box<dyn KvRead>) -> Overlay {
        Overlay { below, rows: Default::default(), undo: None, rows_touched: 0 }
    }

    /// Puts a row that may be there already.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.set(table, key, Some(value), Below::Maybe, false);
    }

    /// Puts a row that is not there now.
    pub fn insert(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.set(table, key, Some(value), Below::Absent, false);
    }

    /// Deletes a row; a missing one is nothing.
    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.set(table, key, None, Below::Maybe, false);
    }

    /// Deletes a row that was put exactly once.
    pub fn delete_once(&mut self, table: Table, key: Vec<u8>) {
        self.set(table, key, None, Below::Maybe, true);
    }

    /// `below` is what the caller knows of the key as a whole; it speaks for the map below only
    /// when nothing is pending.
    fn set(
        &mut self,
        table: Table,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
        below: Below,
        once: bool,
    ) {
        self.rows_touched += 1;
        let logged = self.undo.is_some().then(|| (table, key.clone()));
        let before = match self.rows[slot(table)].entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Pending { value, below, once });
                None
            }
            Entry::Occupied(mut entry) => {
                let forgets = mutants::on(Mutant::OverlayForgetsBelow);
                let below = if forgets { Below::Absent } else { entry.get().below };
                if value.is_none() && below == Below::Absent {
                    Some(entry.remove())
                } else {
                    Some(entry.insert(Pending { value, below, once }))
                }
            }
        };
        if let (Some(undo), Some(key)) = (&mut self.undo, logged) {
            undo.push((key, before));
        }
    }

    /// Sets a mark to which `rollback` goes back. At most one mark at a time.
    pub fn mark(&mut self) {
        assert!(self.undo.is_none(), "transactions never nest");
        self.undo = Some(Vec::new());
    }

    /// Keeps everything since the mark, and forgets the mark.
    pub fn keep(&mut self) {
        assert!(self.undo.take().is_some(), "a mark is set");
    }

    /// Undoes everything since the mark, and forgets the mark.
    pub fn rollback(&mut self) {
        let undo = self.undo.take().expect("a mark is set");
        for ((table, key), before) in undo.into_iter().rev() {
            let rows = &mut self.rows[slot(table)];
            match before {
                None => rows.remove(&key),
                Some(pending) => rows.insert(key, pending),
            };
        }
    }

    /// Takes all pending writes, in order of table and key.
    pub fn take(&mut self) -> WriteBatch {
        assert!(self.undo.is_none(), "no transaction is open between entries");
        let mut batch = WriteBatch::default();
        for table in Table::ALL {
            for (key, pending) in std::mem::take(&mut self.rows[slot(table)]) {
                batch.writes.push(match pending {
                    Pending { value: Some(value), .. } => Write::Put { table, key, value },
                    Pending { once: true, .. } => Write::DeleteOnce { table, key },
                    Pending { .. } => Write::Delete { table, key },
                });
            }
        }
        batch
    }

    pub fn rows_touched(&self) -> u64 {
        self.rows_touched
    }

    /// Up to `limit` pairs of `from..to`, in ascending order.
    pub fn list(
        &mut self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> io::Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        if limit == 0 {
            return Ok(pairs);
        }
        self.scan(table, from, to, &mut |key, value| {
            pairs.push((key.to_vec(), value.to_vec()));
            if pairs.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.rows_touched += pairs.len() as u64;
        Ok(pairs)
    }
}

impl KvRead for Overlay {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match self.rows[slot(table)].get(key) {
            Some(pending) => Ok(pending.value.clone()),
            None => self.below.get(table, key),
        }
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let mut pending = self.rows[slot(table)].range::<[u8], _>(range).peekable();
        let mut flow = ControlFlow::Continue(());
        let mut skips = false;
        self.below.scan(table, from, to, &mut |key, value| {
            // First what is pending before this key, then this key unless it is overlaid.
            while let Some((ours, row)) = pending.next_if(|(ours, _)| ours.as_slice() < key) {
                flow = give(ours, row, each);
                if flow.is_break() {
                    return flow;
                }
            }
            flow = match pending.next_if(|(ours, _)| ours.as_slice() == key) {
                Some((ours, row)) => {
                    skips = row.value.is_none() && mutants::on(Mutant::TigerbeetleScanSkips);
                    give(ours, row, each)
                }
                None if std::mem::take(&mut skips) => flow,
                None => each(key, value),
            };
            flow
        })?;
        while flow.is_continue()
            && let Some((ours, row)) = pending.next()
        {
            flow = give(ours, row, each);
        }
        Ok(())
    }
}

fn give(key: &[u8], row: &Pending, each: &mut Each<'_>) -> ControlFlow<()> {
    match &row.value {
        Some(value) => each(key, value),
        None => ControlFlow::Continue(()),
    }
}

#[cfg(test)]
mod tests {
    use bessemer_seam::kv::Kv;
    use bessemer_seam::kv_memory::MemoryKv;
    use bessemer_seam::kv_suite::collect;

    use super::*;

    fn below(keys: &[&str]) -> MemoryKv {
        let kv = MemoryKv::new();
        let mut batch = WriteBatch::default();
        for key in keys {
            batch.put(Table::Row, *key, "below");
        }
        kv.write(batch).unwrap();
        kv
    }

    fn keys(overlay: &Overlay) -> String {
        let pairs = collect(overlay, Table::Row, b"", b"~");
        pairs.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
    }

    #[test]
    fn a_scan_merges_both_and_hides_the_deleted() {
        let mut overlay = Overlay::new(Box::new(below(&["b", "d", "f"])));
        for key in ["a", "c", "d", "g"] {
            overlay.put(Table::Row, key.into(), "over".into());
        }
        overlay.delete(Table::Row, "b".into());
        overlay.delete(Table::Row, "h".into());
        assert_eq!(keys(&overlay), "acdfg");
        assert_eq!(overlay.get(Table::Row, b"d").unwrap().as_deref(), Some(&b"over"[..]));
        assert_eq!(overlay.list(Table::Row, b"b", b"g", 2).unwrap().len(), 2);
        assert_eq!(overlay.list(Table::Row, b"b", b"g", 9).unwrap().len(), 3);
    }

    #[test]
    fn what_lives_and_dies_between_commits_is_never_written() {
        let mut overlay = Overlay::new(Box::new(below(&["b"])));
        overlay.insert(Table::Row, "a".into(), "1".into());
        overlay.put(Table::Row, "a".into(), "2".into());
        overlay.delete(Table::Row, "a".into());
        overlay.insert(Table::Body, "a".into(), "1".into());
        overlay.delete_once(Table::Body, "a".into());
        overlay.delete(Table::Row, "b".into());
        overlay.insert(Table::Row, "b".into(), "again".into());
        overlay.delete(Table::Row, "b".into());
        let batch = overlay.take();
        assert_eq!(batch.writes, [Write::Delete { table: Table::Row, key: b"b".to_vec() }]);
    }

    #[test]
    fn a_rollback_gives_back_the_overlay_at_the_mark() {
        let mut overlay = Overlay::new(Box::new(below(&["b", "c"])));
        overlay.insert(Table::Row, "a".into(), "1".into());
        overlay.delete(Table::Row, "b".into());
        let before = overlay.rows.clone();
        overlay.mark();
        overlay.delete(Table::Row, "a".into());
        overlay.put(Table::Row, "b".into(), "2".into());
        overlay.insert(Table::Row, "d".into(), "2".into());
        overlay.delete(Table::Row, "d".into());
        overlay.delete(Table::Row, "c".into());
        assert_eq!(keys(&overlay), "b");
        overlay.rollback();
        assert_eq!(overlay.rows, before);
        assert_eq!(keys(&overlay), "ac");
    }
}
