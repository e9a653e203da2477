//! A process that checkpoints and installs without end is killed anywhere in it; what it leaves
//! must be one whole state and one whole checkpoint that is not newer.
//!
//! The killed process is this test binary, run again with `ROLE` set.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bessemer_seam::kv::{Kv, KvRead, Table, WriteBatch};
use bessemer_seam::state_store::{Checkpoint, Staging, StateStore};
use bessemer_storage::{RocksCheckpoint, RocksKv, RocksStaging, RocksStore, StorageOptions};

const ROLE: &str = "BESSEMER_TEST_KILLED_STORE";
const ROWS: u32 = 200;

fn open(dir: &Path) -> RocksStore {
    let options = StorageOptions { memtable_bytes_total: 1 << 20, ..Default::default() };
    RocksStore::open(dir, options).unwrap()
}

fn write(kv: &RocksKv, round: u64) {
    let mut batch = WriteBatch::default();
    for table in Table::ALL {
        for row in 0..ROWS {
            batch.put(table, row.to_be_bytes(), round.to_be_bytes());
        }
    }
    kv.write(batch).unwrap();
}

/// The round whose batch is the last in the map; 0 for an empty map. Fails when it is not whole.
fn round_of(kv: &RocksKv) -> u64 {
    let read = |table, row: u32| {
        let value = kv.get(table, &row.to_be_bytes()).unwrap();
        value.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
    };
    let round = read(Table::Meta, 0);
    for table in Table::ALL {
        for row in 0..ROWS {
            assert_eq!(read(table, row), round, "torn at row {row} of {table:?}");
        }
    }
    round
}

fn transfer(from: &RocksCheckpoint, into: &mut RocksStaging) {
    for file in from.files() {
        let held = into.held(&file.name);
        let mut rest = vec![0; (file.bytes - held) as usize];
        from.read_at(&file.name, held, &mut rest).unwrap();
        into.write(&file.name, held, &rest).unwrap();
    }
}

/// Not a check of its own: the process that is killed.
#[test]
fn store_to_be_killed() {
    let Some(dir) = std::env::var_os(ROLE) else {
        return;
    };
    let store = open(Path::new(&dir));
    let mut kv = store.open().unwrap();
    for round in round_of(&kv) + 1.. {
        write(&kv, round);
        println!("\nstep");
        let checkpoint = store.checkpoint(&kv, &round.to_string()).unwrap();
        println!("\nstep");
        let mut staging = store.stage(&round.to_string(), checkpoint.files()).unwrap();
        transfer(&checkpoint, &mut staging);
        println!("\nstep");
        kv = store.install(staging, &|_| Ok(())).unwrap();
        println!("\nstep");
    }
}

fn work_and_kill(dir: &Path, steps: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store_to_be_killed", "--nocapture", "--test-threads=1"])
        .env(ROLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut taken = lines.filter(|line| line == "step");
    for _ in 0..steps {
        taken.next().expect("the worker ended before it was killed");
    }
    // The reader lags behind the worker by a little: the kill lands anywhere in a step.
    child.kill().unwrap();
    child.wait().unwrap();
}

fn entries(dir: &Path, prefix: &str) -> usize {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with(prefix)).count()
}

#[test]
fn a_killed_store_holds_one_whole_state_and_a_checkpoint_not_newer() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for kill in 0..16 {
        work_and_kill(dir.path(), 1 + kill % 9);
        let store = open(dir.path());
        let kv = store.open().unwrap();
        let round = round_of(&kv);
        let newest = store.latest().unwrap();
        let label = newest.as_ref().map_or(0, |(label, _)| label.parse().unwrap());
        assert!(label >= before, "kill {kill}: checkpoint {label} after {before}");
        assert!(round >= label, "kill {kill}: state {round} is older than checkpoint {label}");
        before = label;
        assert_eq!(entries(dir.path(), "state-"), 1, "litter after kill {kill}");
        assert_eq!(entries(&dir.path().join("checkpoints"), ""), usize::from(label > 0));
        if let Some((label, checkpoint)) = newest {
            let other = tempfile::tempdir().unwrap();
            let target = open(other.path());
            let mut staging = target.stage(&label, checkpoint.files()).unwrap();
            transfer(&checkpoint, &mut staging);
            let installed = round_of(&target.install(staging, &|_| Ok(())).unwrap());
            assert_eq!(installed.to_string(), label, "kill {kill}");
        }
    }
    assert!(before > 5, "the worker came only to round {before}");
}
