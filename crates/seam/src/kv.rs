//! An ordered map of byte strings in four tables, with atomic batches and frozen views.
//!
//! Not here: what a key means (the engine's tables).
//! Invariants: a batch is applied whole or not at all; a view never changes; keys are ordered as
//! unsigned bytes; after a crash the map is the one after *some* earlier batch, never in between
//! and never older than the last `flush` that returned.

use std::io;
use std::ops::ControlFlow;

/// Column families. Few, and flushed together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Table {
    /// A handful of rows about the whole map: applied index, hash chain, membership.
    Meta,
    /// Mutable rows: projects, queues, message states.
    Row,
    /// Ordered indexes without values of weight: ready messages, timers.
    Index,
    /// Message bodies: each key written once and deleted once.
    Body,
}

impl Table {
    pub const ALL: [Table; 4] = [Table::Meta, Table::Row, Table::Index, Table::Body];
}

/// What a scan does with each key and value; `Break` ends it.
pub type EachPair<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Reading. Keys and values are any bytes, empty ones included.
///
/// An `Err` means the device failed or the data is damaged; the caller stops.
pub trait KvRead: Send + Sync {
    /// The value of `key`, or `None`.
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Calls `each` for the pairs with `from <= key < to`, in ascending order, until it breaks.
    /// `from >= to` is an empty range.
    fn scan(&self, table: Table, from: &[u8], to: &[u8], each: EachPair<'_>) -> io::Result<()>;
}

/// The map itself: a cheap handle; clones share one map.
pub trait Kv: KvRead + Clone + 'static {
    type View: KvRead + 'static;

    /// The map as it is now, unaffected by later writes. Cheap; held for seconds, not hours.
    fn view(&self) -> Self::View;

    /// Applies all of `batch`. Visible to reads and new views when this returns; durable only
    /// after a later `flush`.
    fn write(&self, batch: WriteBatch) -> io::Result<()>;

    /// Makes everything written before the call durable. Blocks.
    fn flush(&self) -> io::Result<()>;
}

/// Writes in order; a later one to the same key wins.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteBatch {
    pub writes: Vec<Write>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    Put {
        table: Table,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    /// Deleting a missing key is nothing.
    Delete {
        table: Table,
        key: Vec<u8>,
    },
    /// Deletes a key that was put exactly once since it was last absent (RocksDB `SingleDelete`).
    DeleteOnce {
        table: Table,
        key: Vec<u8>,
    },
}

impl WriteBatch {
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push(Write::Put { table, key: key.into(), value: value.into() });
    }

    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.writes.push(Write::Delete { table, key: key.into() });
    }

    pub fn delete_once(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.writes.push(Write::DeleteOnce { table, key: key.into() });
    }
}
