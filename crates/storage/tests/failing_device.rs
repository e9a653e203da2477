//! A device that takes no more bytes: the map says so at once and stays whole.
//!
//! The device is a limit on the size of files, set for a process of its own: this test binary,
//! run again with `ROLE` set.

use std::path::Path;
use std::process::Command;

use bessemer_seam::kv::{Kv, KvRead, Table, WriteBatch};
use bessemer_storage::{RocksKv, StorageOptions};

const ROLE: &str = "BESSEMER_TEST_FAILING_DEVICE";
/// Largest file of the limited process, in blocks of 512 bytes: enough to open, not to flush.
const LIMIT_BLOCKS: u32 = 400;
const MEMTABLE_BYTES: usize = 1 << 20;
const BODY_BYTES: usize = 10_000;
/// Writes after which a flush must have been tried many times over.
const WRITES_MAX: u64 = 2_000;

fn open(dir: &Path) -> RocksKv {
    let options = StorageOptions { memtable_bytes_total: MEMTABLE_BYTES, ..Default::default() };
    RocksKv::open(dir, options).unwrap()
}

fn batch(number: u64) -> WriteBatch {
    // Not compressible: the files are as large as the writes.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let body: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(BODY_BYTES)
    .collect();
    let mut batch = WriteBatch::default();
    batch.put(Table::Meta, "applied", number.to_be_bytes());
    batch.put(Table::Row, "applied", number.to_be_bytes());
    batch.put(Table::Body, number.to_be_bytes(), body);
    batch
}

/// Not a check of its own: the process whose files may not grow.
#[test]
fn writer_on_a_failing_device() {
    let Some(dir) = std::env::var_os(ROLE) else {
        return;
    };
    let kv = open(Path::new(&dir));
    let failed = (1..WRITES_MAX).find_map(|number| kv.write(batch(number)).err());
    let error = failed.expect("no write noticed that nothing reaches the device");
    assert!(error.to_string().contains(dir.to_str().unwrap()), "which state? {error}");
    kv.write(batch(WRITES_MAX)).expect_err("a write after the failure was taken");
    kv.flush().expect_err("a flush claimed to be durable");
}

#[test]
fn a_failed_flush_stops_all_writes_and_leaves_the_last_durable_state() {
    let dir = tempfile::tempdir().unwrap();
    let kv = open(dir.path());
    kv.write(batch(0)).unwrap();
    kv.flush().unwrap();
    drop(kv);
    let limited = format!("trap '' XFSZ; ulimit -f {LIMIT_BLOCKS}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "writer_on_a_failing_device", "--nocapture"])
        .env(ROLE, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("1 passed"), "the writer did not run: {said}{complained}");

    let kv = open(dir.path());
    let applied = kv.get(Table::Meta, b"applied").unwrap().unwrap();
    assert_eq!(kv.get(Table::Row, b"applied").unwrap().unwrap(), applied, "torn");
    assert!(kv.get(Table::Body, &applied).unwrap().is_some(), "torn");
}
