//! How much memory, how many files and threads the state may use, and what that makes of
//! RocksDB's many settings.
//!
//! Not here: reading a configuration.
//! Relations: unflushed state <= `memtable_bytes_total` * `MEMTABLES_MAX` at any moment, and with
//! it the part of the log that is replayed after a crash.

use bessemer_seam::kv::Table;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, LogLevel};
use rocksdb::{DataBlockIndexType, Options};

/// Memtables of one table that may exist at a time: one filling, the rest on their way to disk.
/// Writes wait when all are full.
const MEMTABLES_MAX: i32 = 3;
/// Written pages handed to the device at a time, in bytes: no burst that delays the log's fsync.
const SYNC_STEP_BYTES: u64 = 1 << 20;
/// Size of a block, in bytes: what one point read costs.
const BLOCK_BYTES: usize = 8 << 10;
/// Bits per key of a Bloom filter: about one false answer in a hundred.
const FILTER_BITS_PER_KEY: f64 = 10.0;
/// A file is compacted early when this many of `DELETION_WINDOW` neighbors are deletions.
const DELETION_TRIGGER: usize = 512;
const DELETION_WINDOW: usize = 1024;
/// ... or this part of all its entries.
const DELETION_RATIO: f64 = 0.5;
/// Every file is rewritten at least this often, so that quiet queues give their space back.
const PERIODIC_COMPACTION_SECONDS: u64 = 24 * 3600;
/// RocksDB's own diary: four files of 4 MiB at most.
const DIARY_FILES: usize = 4;
const DIARY_BYTES: usize = 4 << 20;

/// Bounds of one group's state on a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StorageOptions {
    /// Blocks, indexes and filters read from files, in bytes. Shared by all open states.
    pub block_cache_bytes: usize,
    /// Writes gathered in memory, over all tables, before they are flushed to files, in bytes.
    /// Messages that come and go within it never reach a file. Also bounds replay after a crash.
    pub memtable_bytes_total: usize,
    /// Size a file of the state is cut at, in bytes; a snapshot travels in these pieces.
    pub file_bytes: u64,
    /// Threads for flushing and compaction.
    pub background_jobs: u32,
    /// Files kept open at a time.
    pub open_files_max: u32,
}

impl Default for StorageOptions {
    /// For a machine of 2 cores and 2 to 8 GiB.
    fn default() -> StorageOptions {
        StorageOptions {
            block_cache_bytes: 256 << 20,
            memtable_bytes_total: 128 << 20,
            file_bytes: 64 << 20,
            background_jobs: 2,
            open_files_max: 512,
        }
    }
}

/// Options with the cache that all states opened with them share.
#[derive(Clone)]
pub(super) struct Tuning {
    options: StorageOptions,
    cache: Cache,
}

impl Tuning {
    pub(super) fn new(options: StorageOptions) -> Tuning {
        Tuning { options, cache: Cache::new_lru_cache(options.block_cache_bytes) }
    }

    /// Settings of a database; with `create`, an empty one is made where there is none.
    pub(super) fn database(&self, create: bool) -> Options {
        let mut options = Options::default();
        options.create_if_missing(create);
        options.create_missing_column_families(create);
        // Without a write-ahead log, this alone keeps the tables at one point in time.
        options.set_atomic_flush(true);
        options.set_db_write_buffer_size(self.options.memtable_bytes_total);
        options.set_max_background_jobs(to_i32(self.options.background_jobs));
        options.set_max_open_files(to_i32(self.options.open_files_max));
        options.set_bytes_per_sync(SYNC_STEP_BYTES);
        // Closing a view must not delete files on the caller's thread.
        options.set_avoid_unnecessary_blocking_io(true);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(DIARY_FILES);
        options.set_max_log_file_size(DIARY_BYTES);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options
    }

    /// One descriptor per table.
    pub(super) fn tables(&self) -> Vec<ColumnFamilyDescriptor> {
        Table::ALL
            .into_iter()
            .map(|table| ColumnFamilyDescriptor::new(table_name(table), self.table(table)))
            .collect()
    }

    fn table(&self, table: Table) -> Options {
        let mut options = Options::default();
        // The total decides when to flush; no table alone fills sooner.
        options.set_write_buffer_size(self.options.memtable_bytes_total);
        options.set_max_write_buffer_number(MEMTABLES_MAX);
        options.set_target_file_size_base(self.options.file_bytes);
        options.set_max_bytes_for_level_base(4 * self.options.file_bytes);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_periodic_compaction_seconds(PERIODIC_COMPACTION_SECONDS);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_block_size(BLOCK_BYTES);
        // Index and filter blocks count against the cache, so that memory stays bounded.
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        match table {
            // A handful of rows: nothing to tune.
            Table::Meta => {}
            Table::Row => {
                point_reads(&mut blocks);
                compact_on_deletion(&mut options);
            }
            // Only scanned: a filter would be dead weight.
            Table::Index => compact_on_deletion(&mut options),
            Table::Body => {
                point_reads(&mut blocks);
                // A body that is asked for exists: no filters where nearly all of it lies.
                options.set_optimize_filters_for_hits(true);
            }
        }
        options.set_block_based_table_factory(&blocks);
        options
    }
}

fn point_reads(blocks: &mut BlockBasedOptions) {
    blocks.set_bloom_filter(FILTER_BITS_PER_KEY, false);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
}

fn compact_on_deletion(options: &mut Options) {
    options.add_compact_on_deletion_collector_factory(
        DELETION_WINDOW,
        DELETION_TRIGGER,
        DELETION_RATIO,
    );
}

fn to_i32(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Name of a table's column family. On disk: never changed.
pub(super) fn table_name(table: Table) -> &'static str {
    match table {
        Table::Meta => "meta",
        Table::Row => "row",
        Table::Index => "index",
        Table::Body => "body",
    }
}
