//! A process that writes is killed; what it leaves must be the map after some whole batch, at or
//! after the last flush it reported.
//!
//! The killed process is this test binary, run again with `ROLE` set.

mod still;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use bessemer_seam::kv::{Kv, KvRead, Table, WriteBatch};
use bessemer_seam::kv_suite;
use bessemer_storage::{RocksKv, StorageOptions};

const ROLE: &str = "BESSEMER_TEST_KILLED_WRITER";
/// Bodies that live at a time: batch `n` puts body `n` and deletes body `n - LIVE`.
const LIVE: u64 = 50;

fn options() -> StorageOptions {
    // Small memtables: the kill also meets flushes nobody asked for.
    StorageOptions {
        block_cache_bytes: 256 << 10,
        memtable_bytes_total: 512 << 10,
        file_bytes: 128 << 10,
        background_jobs: 2,
        open_files_max: 64,
    }
}

fn batch(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::default();
    batch.put(Table::Meta, "applied", number.to_be_bytes());
    batch.put(Table::Row, "applied", number.to_be_bytes());
    batch.put(Table::Index, number.to_be_bytes(), "");
    batch.put(Table::Body, number.to_be_bytes(), vec![number as u8; 2_000]);
    if let Some(old) = number.checked_sub(LIVE).filter(|old| *old > 0) {
        batch.delete(Table::Index, old.to_be_bytes());
        batch.delete_once(Table::Body, old.to_be_bytes());
    }
    batch
}

/// The newest batch in the map, after checking that it is all of it and nothing else.
fn applied(kv: &RocksKv) -> u64 {
    let read = |table| -> u64 {
        kv.get(table, b"applied")
            .unwrap()
            .map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
    };
    let applied = read(Table::Meta);
    assert_eq!(read(Table::Row), applied, "torn between meta and row");
    let live: BTreeSet<u64> = ((applied + 1).saturating_sub(LIVE).max(1)..=applied).collect();
    for table in [Table::Index, Table::Body] {
        let pairs = kv_suite::collect(kv, table, b"", &[0xff; 9]);
        let keys: BTreeSet<u64> =
            pairs.iter().map(|(key, _)| u64::from_be_bytes(key[..].try_into().unwrap())).collect();
        assert_eq!(keys, live, "torn in {table:?} at {applied}");
        for (key, value) in pairs.iter().filter(|_| table == Table::Body) {
            assert_eq!(value, &vec![key[7]; 2_000], "a body of {key:?}");
        }
    }
    applied
}

/// Not a check of its own: the process that is killed. Writes until then.
#[test]
fn writer_to_be_killed() {
    let Some(dir) = std::env::var_os(ROLE) else {
        return;
    };
    let kv = RocksKv::open(Path::new(&dir), options()).unwrap();
    let first = applied(&kv) + 1;
    let mut out = std::io::stdout();
    for number in first..first + 1_000_000 {
        kv.write(batch(number)).unwrap();
        // Rare, so that most flushes are those that full memtables cause.
        let did = if number % 1_501 == 0 {
            kv.flush().unwrap();
            "flushed"
        } else {
            "wrote"
        };
        writeln!(out, "\n{did} {number}").unwrap();
    }
}

/// Runs the writer on `dir` and kills it after `writes` more writes. The last flush it reported,
/// or 0.
fn write_and_kill(dir: &Path, writes: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer_to_be_killed", "--nocapture", "--test-threads=1"])
        .env(ROLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut flushed = 0;
    let mut seen = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("flushed ").and_then(|rest| rest.parse().ok()) {
            flushed = number;
        }
        seen += usize::from(line.starts_with("wrote "));
        if seen == writes {
            // Reports still in the pipe are read to its end: they were true as well.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= writes, "the writer ended before it was killed");
    flushed
}

#[test]
fn a_killed_writer_leaves_a_whole_batch_at_or_after_its_last_flush() {
    let dir = tempfile::tempdir().unwrap();
    let (mut flushed, mut found, mut unasked) = (0, 0, 0);
    for round in 0..12 {
        flushed = write_and_kill(dir.path(), 211 + round * 397).max(flushed);
        let kv = RocksKv::open(dir.path(), options()).unwrap();
        let before = found;
        found = applied(&kv);
        assert!(found >= flushed, "round {round}: flushed {flushed}, found only {found}");
        assert!(found >= before, "round {round}: went back from {before} to {found}");
        unasked += u32::from(found > flushed && found > before);
    }
    assert!(unasked > 3, "only {unasked} kills met a flush of full memtables");
}

#[test]
fn what_was_not_flushed_is_not_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let kv = RocksKv::open(dir.path(), StorageOptions::default()).unwrap();
    for number in 1..=200 {
        kv.write(batch(number)).unwrap();
    }
    kv.flush().unwrap();
    for number in 201..=300 {
        kv.write(batch(number)).unwrap();
    }
    let copy = tempfile::tempdir().unwrap();
    still::copy_still(dir.path(), copy.path());
    let crashed = RocksKv::open(copy.path(), StorageOptions::default()).unwrap();
    assert_eq!(applied(&crashed), 200);
    assert_eq!(applied(&kv), 300);
}
