//! The map on RocksDB against its contract and against the map in memory.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::ops::ControlFlow;

use bessemer_seam::kv::{Kv, KvRead, Table, WriteBatch};
use bessemer_seam::kv_memory::MemoryKv;
use bessemer_seam::kv_suite;
use bessemer_storage::{RocksKv, StorageOptions};
use tempfile::TempDir;

/// Memtables so small that flushes and compactions happen under the test.
fn small() -> StorageOptions {
    StorageOptions {
        block_cache_bytes: 256 << 10,
        memtable_bytes_total: 256 << 10,
        file_bytes: 64 << 10,
        background_jobs: 2,
        open_files_max: 64,
    }
}

/// Xorshift64*: the same numbers for the same seed everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        ((self.next() >> 32) as usize) % bound
    }
}

type Pairs = Vec<(Table, Vec<u8>, Vec<u8>)>;

fn dump(kv: &dyn KvRead) -> Pairs {
    let mut pairs = Vec::new();
    for table in Table::ALL {
        let rows = kv_suite::collect(kv, table, b"", &[0xff; 32]);
        pairs.extend(rows.into_iter().map(|(key, value)| (table, key, value)));
    }
    pairs
}

#[test]
fn keeps_the_contract() {
    let dirs = RefCell::new(Vec::<TempDir>::new());
    kv_suite::check(|| {
        let dir = tempfile::tempdir().unwrap();
        let kv = RocksKv::open(dir.path(), StorageOptions::default()).unwrap();
        dirs.borrow_mut().push(dir);
        kv
    });
}

/// Bodies are put once and deleted once, as the contract asks; other rows as it comes.
fn random_batch(chance: &mut Chance, bodies: &mut BTreeSet<Vec<u8>>) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for _ in 0..1 + chance.below(24) {
        let key = vec![b'a' + chance.below(3) as u8; 1 + chance.below(3)]
            .into_iter()
            .chain((chance.below(60) as u8..).take(1))
            .collect::<Vec<u8>>();
        let length = [0, 1, 40, 900][chance.below(4)];
        let value: Vec<u8> = (0..length).map(|_| chance.next() as u8).collect();
        let table = Table::ALL[chance.below(4)];
        if table == Table::Body {
            if bodies.remove(&key) {
                batch.delete_once(table, key);
            } else {
                bodies.insert(key.clone());
                batch.put(table, key, value);
            }
        } else if chance.below(3) == 0 {
            batch.delete(table, key);
        } else {
            batch.put(table, key, value);
        }
    }
    batch
}

fn random_history(seed: u64) {
    let again = format!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut rocks = RocksKv::open(dir.path(), small()).unwrap();
    let memory = MemoryKv::new();
    let mut chance = Chance(seed);
    let mut bodies = BTreeSet::new();
    let mut views = Vec::new();
    for step in 0..1_500 {
        let batch = random_batch(&mut chance, &mut bodies);
        memory.write(batch.clone()).unwrap();
        rocks.write(batch).unwrap();
        match chance.below(40) {
            0 => rocks.flush().unwrap(),
            1 => views.push((rocks.view(), memory.view())),
            2 if !views.is_empty() => {
                let (ours, theirs) = views.swap_remove(chance.below(views.len()));
                assert!(dump(&ours) == dump(&theirs), "a view changed: {again}, step {step}");
            }
            3 => {
                let (from, to) = (chance.next().to_be_bytes(), chance.next().to_be_bytes());
                let (from, to) = (&from[..1 + step % 3], &to[..1 + step % 2]);
                for table in Table::ALL {
                    let ours = kv_suite::collect(&rocks, table, from, to);
                    assert_eq!(ours, kv_suite::collect(&memory, table, from, to), "{again}");
                }
            }
            4 if step % 5 == 0 => {
                views.clear();
                drop(rocks);
                rocks = RocksKv::open(dir.path(), small()).unwrap();
            }
            _ => {
                let key = [b'b', chance.below(60) as u8];
                for table in Table::ALL {
                    assert_eq!(
                        rocks.get(table, &key).unwrap(),
                        memory.get(table, &key).unwrap(),
                        "{again}, step {step}"
                    );
                }
            }
        }
    }
    assert!(dump(&rocks) == memory.dump(), "the maps differ: {again}");
    for (ours, theirs) in &views {
        assert!(dump(ours) == dump(theirs), "a view changed: {again}");
    }
}

#[test]
fn random_histories_end_like_the_map_in_memory() {
    for seed in 1..=6 {
        random_history(seed);
    }
}

#[test]
fn a_scan_may_read_and_write_the_map_it_walks() {
    let dir = tempfile::tempdir().unwrap();
    let kv = RocksKv::open(dir.path(), small()).unwrap();
    let mut batch = WriteBatch::default();
    for key in ["a", "b", "c"] {
        batch.put(Table::Row, key, "1");
    }
    kv.write(batch).unwrap();
    let mut seen = 0;
    kv.scan(Table::Row, b"a", b"z", &mut |key, _| {
        assert!(kv.get(Table::Row, key).unwrap().is_some());
        let mut batch = WriteBatch::default();
        batch.put(Table::Row, [key, b"x"].concat(), "2");
        kv.write(batch).unwrap();
        seen += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen, 3, "a scan sees the map as it was when it began");
}

#[test]
fn a_view_outlives_the_map_and_moves_between_threads() {
    let dir = tempfile::tempdir().unwrap();
    let kv = RocksKv::open(dir.path(), small()).unwrap();
    let mut batch = WriteBatch::default();
    batch.put(Table::Row, "a", "1");
    kv.write(batch).unwrap();
    let view = kv.view();
    drop(kv);
    let read = std::thread::spawn(move || view.get(Table::Row, b"a").unwrap());
    assert_eq!(read.join().unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = RocksKv::open(dir.path(), small()).unwrap();
    let error = RocksKv::open(dir.path(), small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
}

#[test]
fn damaged_tables_are_an_error_not_a_wrong_answer() {
    let dir = tempfile::tempdir().unwrap();
    let kv = RocksKv::open(dir.path(), small()).unwrap();
    let mut batch = WriteBatch::default();
    for number in 0..2_000u32 {
        batch.put(Table::Row, number.to_be_bytes(), vec![7; 20]);
    }
    kv.write(batch).unwrap();
    kv.flush().unwrap();
    drop(kv);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "sst") {
            let mut content = std::fs::read(&path).unwrap();
            for byte in &mut content[100..140] {
                *byte ^= 0x55;
            }
            std::fs::write(&path, content).unwrap();
        }
    }
    let kv = RocksKv::open(dir.path(), small()).unwrap();
    let error =
        kv.scan(Table::Row, b"", &[0xff; 5], &mut |_, _| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
}
