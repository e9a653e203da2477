//! The map on RocksDB.
//!
//! Not here: which directory is the current state (`store`), the settings (`options`).
//! Invariants: no write goes to RocksDB's write-ahead log; the tables are flushed together, so
//! what a crash leaves is the map after some whole batch, at or after the last returned `flush`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bessemer_seam::kv::{EachPair, Kv, KvRead, Table, Write, WriteBatch};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{ColumnFamily, DB, DBRawIterator, FlushOptions, ReadOptions, Snapshot, WriteOptions};
use self_cell::self_cell;

use super::options::{StorageOptions, Tuning, table_name};
use crate::files::{self, HeldDir};

/// A map on disk; clones share it. It is closed when the last clone and the last view are gone.
/// Closing tries to flush but cannot say whether it did: who must know calls `flush` before.
///
/// `Write::DeleteOnce` becomes RocksDB's `SingleDelete`. A key that is deleted so must never be
/// deleted by `Write::Delete`: compaction reports the mixture as damage.
#[derive(Clone)]
pub struct RocksKv {
    open: Arc<OpenMap>,
}

/// Fields are dropped in order: the database is closed before its directory may go.
pub(super) struct OpenMap {
    db: DB,
    unlogged: WriteOptions,
    dir: Arc<HeldDir>,
}

impl RocksKv {
    /// Opens the map in directory `path`, an empty one when there is none. A directory can be
    /// open once.
    pub fn open(path: &Path, options: StorageOptions) -> io::Result<RocksKv> {
        files::create_dir(path)?;
        let dir = Arc::new(HeldDir::kept(path.to_owned()));
        RocksKv::open_dir(dir, &Tuning::new(options), true)
    }

    pub(super) fn open_dir(
        dir: Arc<HeldDir>,
        tuning: &Tuning,
        create: bool,
    ) -> io::Result<RocksKv> {
        let db = DB::open_cf_descriptors(&tuning.database(create), dir.path(), tuning.tables())
            .map_err(|error| explain(dir.path(), "open", error))?;
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        Ok(RocksKv { open: Arc::new(OpenMap { db, unlogged, dir }) })
    }

    pub(super) fn from_open(open: Arc<OpenMap>) -> RocksKv {
        RocksKv { open }
    }

    pub(super) fn opened(&self) -> &Arc<OpenMap> {
        &self.open
    }

    /// Puts the map as it is now into the new directory `path`, as files: hard links where they
    /// never change, copies where they do. Flushes first.
    pub(super) fn freeze(&self, path: &Path) -> io::Result<()> {
        self.open.refuse_failed()?;
        Checkpoint::new(&self.open.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(path))
            .map_err(|error| self.open.explain("checkpoint", error))
    }
}

impl fmt::Debug for RocksKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksKv").field("dir", &self.open.dir.path()).finish_non_exhaustive()
    }
}

impl OpenMap {
    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn table(&self, table: Table) -> &ColumnFamily {
        self.db.cf_handle(table_name(table)).expect("every table was opened with the map")
    }

    fn get_error(&self, error: rocksdb::Error) -> io::Error {
        self.explain("read", error)
    }

    fn explain(&self, doing: &str, error: rocksdb::Error) -> io::Error {
        explain(self.dir.path(), doing, error)
    }

    /// RocksDB tries on after some failures in the background; this map does not.
    fn refuse_failed(&self) -> io::Result<()> {
        let failures = self
            .db
            .property_int_value(c"rocksdb.background-errors")
            .map_err(|error| self.explain("inspect", error))?;
        match failures {
            Some(0) | None => Ok(()),
            Some(count) => Err(io::Error::other(format!(
                "{count} flushes or compactions of {} failed; see its file LOG, check the device, then start again",
                self.dir.path().display()
            ))),
        }
    }
}

fn explain(path: &Path, doing: &str, error: rocksdb::Error) -> io::Error {
    let kind = match error.kind() {
        rocksdb::ErrorKind::Corruption => io::ErrorKind::InvalidData,
        rocksdb::ErrorKind::IOError if error.as_ref().contains("No space left") => {
            io::ErrorKind::StorageFull
        }
        rocksdb::ErrorKind::IOError if error.as_ref().contains("lock hold by") => {
            io::ErrorKind::ResourceBusy
        }
        rocksdb::ErrorKind::IOError if error.as_ref().contains("While lock file") => {
            io::ErrorKind::ResourceBusy
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, format!("cannot {doing} the state in {}: {error}", path.display()))
}

/// Options of a scan that ends before `to`.
fn until(to: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(to);
    options
}

/// Walks `pairs` from `from` until they end or `each` breaks.
fn walk(
    mut pairs: DBRawIterator<'_>,
    from: &[u8],
    each: EachPair<'_>,
) -> Result<(), rocksdb::Error> {
    pairs.seek(from);
    while let Some((key, value)) = pairs.item() {
        if each(key, value).is_break() {
            return Ok(());
        }
        pairs.next();
    }
    // Ends look alike whether the range or the device gave out.
    pairs.status()
}

impl KvRead for RocksKv {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let open = &self.open;
        open.db.get_cf(open.table(table), key).map_err(|error| open.get_error(error))
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], each: EachPair<'_>) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let open = &self.open;
        let pairs = open.db.raw_iterator_cf_opt(open.table(table), until(to));
        walk(pairs, from, each).map_err(|error| open.get_error(error))
    }
}

impl Kv for RocksKv {
    type View = RocksView;

    fn view(&self) -> RocksView {
        RocksView { frozen: Frozen::new(self.open.clone(), |open| open.db.snapshot()) }
    }

    fn write(&self, batch: WriteBatch) -> io::Result<()> {
        let open = &self.open;
        let mut rocks = rocksdb::WriteBatch::default();
        for write in &batch.writes {
            match write {
                Write::Put { table, key, value } => rocks.put_cf(open.table(*table), key, value),
                Write::Delete { table, key } => rocks.delete_cf(open.table(*table), key),
                Write::DeleteOnce { table, key } => {
                    rocks.single_delete_cf(open.table(*table), key);
                }
            }
        }
        open.db.write_opt(rocks, &open.unlogged).map_err(|error| open.explain("write", error))?;
        open.refuse_failed()
    }

    fn flush(&self) -> io::Result<()> {
        let open = &self.open;
        let tables = Table::ALL.map(|table| open.table(table));
        let mut options = FlushOptions::default();
        options.set_wait(true);
        open.db
            .flush_cfs_opt(&tables.each_ref(), &options)
            .map_err(|error| open.explain("flush", error))?;
        open.refuse_failed()
    }
}

self_cell!(
    /// A snapshot together with the map it is of: dropped first, so never left dangling.
    struct Frozen {
        owner: Arc<OpenMap>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// The map as it was when the view was taken. Keeps the map open, and what was deleted since on
/// disk.
pub struct RocksView {
    frozen: Frozen,
}

impl fmt::Debug for RocksView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.frozen.borrow_owner().dir.path();
        f.debug_struct("RocksView").field("dir", &dir).finish_non_exhaustive()
    }
}

impl KvRead for RocksView {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let open = self.frozen.borrow_owner();
        let snapshot = self.frozen.borrow_dependent();
        snapshot.get_cf(&open.table(table), key).map_err(|error| open.get_error(error))
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], each: EachPair<'_>) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let open = self.frozen.borrow_owner();
        let snapshot = self.frozen.borrow_dependent();
        let pairs = snapshot.raw_iterator_cf_opt(&open.table(table), until(to));
        walk(pairs, from, each).map_err(|error| open.get_error(error))
    }
}
