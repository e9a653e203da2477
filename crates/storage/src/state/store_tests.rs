//! The store as a whole: checkpoints, stagings, installs, and a crash after each of their steps.

#[path = "../../tests/still/mod.rs"]
mod still;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bessemer_seam::kv::{Kv, KvRead, Table, WriteBatch};
use bessemer_seam::state_store::{Checkpoint, Staging, StateStore};
use tempfile::TempDir;

use super::checkpoint::RocksCheckpoint;
use super::kv::RocksKv;
use super::options::StorageOptions;
use super::staging::RocksStaging;
use super::store::RocksStore;
use still::copy_still;

/// Size of a piece of a file on its way, in bytes: small, so that files take several.
const PIECE_BYTES: usize = 700;

fn open(dir: &Path) -> RocksStore {
    let options = StorageOptions {
        block_cache_bytes: 1 << 20,
        memtable_bytes_total: 4 << 20,
        ..Default::default()
    };
    RocksStore::open(dir, options).unwrap()
}

fn put(kv: &RocksKv, key: &str, value: &str) {
    let mut batch = WriteBatch::default();
    for table in Table::ALL {
        batch.put(table, key, value);
    }
    kv.write(batch).unwrap();
}

fn get(kv: &impl KvRead, key: &str) -> Option<String> {
    let values = Table::ALL.map(|table| kv.get(table, key.as_bytes()).unwrap());
    assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "torn across tables: {values:?}");
    values[0].clone().map(|value| String::from_utf8(value).unwrap())
}

/// A store with the state "one", whose newest checkpoint is "t1" of the same.
fn store_with_one(dir: &Path) -> RocksStore {
    let store = open(dir);
    let kv = store.open().unwrap();
    put(&kv, "k", "one");
    store.checkpoint(&kv, "t1").unwrap();
    store
}

/// A snapshot "t9" of the state "two", with enough in it for several pieces.
fn snapshot_of_two(dir: &Path) -> RocksCheckpoint {
    let store = open(dir);
    let kv = store.open().unwrap();
    put(&kv, "k", "two");
    for number in 0..400 {
        put(&kv, &format!("row{number}"), &format!("{:032x}", number * 0x9e37_79b9_7f4a_7c15_u128));
    }
    store.checkpoint(&kv, "t9").unwrap()
}

/// Moves at most `pieces` pieces from `from`; true when all is there.
fn transfer(from: &RocksCheckpoint, into: &mut RocksStaging, mut pieces: usize) -> bool {
    for file in from.files() {
        while into.held(&file.name) < file.bytes {
            if pieces == 0 {
                return false;
            }
            pieces -= 1;
            let offset = into.held(&file.name);
            let mut piece = vec![0; PIECE_BYTES.min((file.bytes - offset) as usize)];
            from.read_at(&file.name, offset, &mut piece).unwrap();
            into.write(&file.name, offset, &piece).unwrap();
        }
    }
    true
}

fn received(store: &RocksStore, from: &RocksCheckpoint) -> RocksStaging {
    let mut staging = store.stage("t9", from.files()).unwrap();
    assert!(transfer(from, &mut staging, usize::MAX));
    staging
}

/// Directories in use and otherwise, for counting leftovers.
fn directories(dir: &Path) -> (usize, usize, usize) {
    let count = |path: PathBuf, prefix: &str| {
        fs::read_dir(path)
            .unwrap()
            .filter(|entry| {
                entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(prefix)
            })
            .count()
    };
    (
        count(dir.to_owned(), "state-"),
        count(dir.join("checkpoints"), ""),
        count(dir.join("staging"), ""),
    )
}

#[test]
fn a_checkpoint_holds_what_was_never_flushed_and_nothing_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let kv = store.open().unwrap();
    put(&kv, "unflushed", "yes");
    let checkpoint = store.checkpoint(&kv, "t2").unwrap();
    put(&kv, "later", "yes");

    let other = tempfile::tempdir().unwrap();
    let target = open(other.path());
    let mut staging = target.stage("t2", checkpoint.files()).unwrap();
    assert!(transfer(&checkpoint, &mut staging, usize::MAX));
    let installed = target.install(staging, &|_| Ok(())).unwrap();
    assert_eq!(get(&installed, "k").as_deref(), Some("one"));
    assert_eq!(get(&installed, "unflushed").as_deref(), Some("yes"));
    assert_eq!(get(&installed, "later"), None);
    let (label, again) = target.latest().unwrap().unwrap();
    assert_eq!((label.as_str(), again.files()), ("t2", checkpoint.files()));
}

#[test]
fn the_newest_checkpoint_is_found_again_and_older_ones_go_with_their_last_holder() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let kv = store.open().unwrap();
    let held = store.latest().unwrap().unwrap().1;
    let clone = held.clone();
    put(&kv, "k", "new");
    store.checkpoint(&kv, "t2").unwrap();
    assert_eq!(directories(dir.path()), (1, 2, 0));
    drop(held);
    clone.read_at("CURRENT", 0, &mut [0]).unwrap();
    drop(clone);
    assert_eq!(directories(dir.path()), (1, 1, 0));

    drop((kv, store));
    let store = open(dir.path());
    let (label, checkpoint) = store.latest().unwrap().unwrap();
    assert_eq!(label, "t2");
    for file in checkpoint.files() {
        let mut content = vec![0; file.bytes as usize];
        checkpoint.read_at(&file.name, 0, &mut content).unwrap();
        assert_eq!(crc32c::crc32c(&content), file.crc, "{}", file.name);
    }
    assert_eq!(get(&store.open().unwrap(), "k").as_deref(), Some("new"));
}

#[test]
fn reading_past_a_file_or_beside_the_checkpoint_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = store_with_one(dir.path()).latest().unwrap().unwrap().1;
    let file = checkpoint.files().iter().find(|file| file.name == "CURRENT").unwrap();
    let mut two = [0; 2];
    let past = checkpoint.read_at(&file.name, file.bytes - 1, &mut two).unwrap_err();
    assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
    for name in ["../manifest", "nothing"] {
        let error = checkpoint.read_at(name, 0, &mut two).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[test]
fn tables_shared_with_the_last_checkpoint_are_links_and_sums_stay_right() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let kv = store.open().unwrap();
    let first = store.latest().unwrap().unwrap().1;
    put(&kv, "more", "rows");
    let second = store.checkpoint(&kv, "t2").unwrap();
    let inode = |checkpoint: &RocksCheckpoint, name: &str| {
        fs::metadata(checkpoint.dir().path().join("files").join(name)).unwrap().ino()
    };
    let shared: Vec<_> = first.files().iter().filter(|file| file.name.ends_with(".sst")).collect();
    assert!(!shared.is_empty());
    for file in shared {
        assert!(second.files().contains(file));
        assert_eq!(inode(&first, &file.name), inode(&second, &file.name));
    }
}

#[test]
fn a_staging_resumes_after_a_restart_where_it_stopped() {
    let source = tempfile::tempdir().unwrap();
    let snapshot = snapshot_of_two(source.path());
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let mut rounds = 0;
    let mut sent = 0;
    drop(store);
    loop {
        let store = open(dir.path());
        let mut staging = store.stage("t9", snapshot.files()).unwrap();
        let held: u64 = snapshot.files().iter().map(|file| staging.held(&file.name)).sum();
        assert_eq!(held, sent, "nothing is received twice");
        let done = transfer(&snapshot, &mut staging, 3);
        sent = snapshot.files().iter().map(|file| staging.held(&file.name)).sum();
        rounds += 1;
        if done {
            assert_eq!(
                get(&store.install(staging, &|_| Ok(())).unwrap(), "k").as_deref(),
                Some("two")
            );
            break;
        }
    }
    assert!(rounds > 3, "the snapshot was too small to be interrupted: {rounds}");
    let store = open(dir.path());
    assert_eq!(get(&store.open().unwrap(), "k").as_deref(), Some("two"));
    assert_eq!(store.latest().unwrap().unwrap().0, "t9");
    assert_eq!(directories(dir.path()), (1, 1, 0));
}

#[test]
fn a_staging_of_other_files_begins_anew_and_ends_the_former() {
    let source = tempfile::tempdir().unwrap();
    let snapshot = snapshot_of_two(source.path());
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let former = received(&store, &snapshot);
    let mut files = snapshot.files().to_vec();
    files[0].crc ^= 1;
    let staging = store.stage("t9", &files).unwrap();
    assert!(files.iter().all(|file| staging.held(&file.name) == 0));
    store.stage("t10", &files).unwrap();
    assert_eq!(directories(dir.path()).2, 1);
    assert!(store.install(former, &|_| Ok(())).is_err());
    assert_eq!(get(&store.open().unwrap(), "k").as_deref(), Some("one"));
}

#[test]
fn whole_tables_of_the_former_staging_are_kept_and_judged_by_their_sums() {
    let source = tempfile::tempdir().unwrap();
    let snapshot = snapshot_of_two(source.path());
    let is_table = |name: &str| name.ends_with(".sst");
    let table = snapshot.files().iter().find(|file| is_table(&file.name)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    received(&store, &snapshot);
    let mut staging = store.stage("t10", snapshot.files()).unwrap();
    for file in snapshot.files() {
        let held = if is_table(&file.name) { file.bytes } else { 0 };
        assert_eq!(staging.held(&file.name), held, "{}", file.name);
    }
    let path = dir.path().join("staging/t10/files").join(&table.name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(transfer(&snapshot, &mut staging, usize::MAX));
    assert_eq!(staging.verify().unwrap_err().kind(), ErrorKind::InvalidData);
    let mut staging = store.stage("t10", snapshot.files()).unwrap();
    assert_eq!(staging.held(&table.name), 0);
    assert!(transfer(&snapshot, &mut staging, usize::MAX));
    staging.verify().unwrap();
    assert_eq!(get(&store.install(staging, &|_| Ok(())).unwrap(), "k").as_deref(), Some("two"));
    // The installed snapshot is the newest checkpoint: its tables need not come again.
    let again = store.stage("t11", snapshot.files()).unwrap();
    assert_eq!(again.held(&table.name), table.bytes);
}

#[test]
fn what_was_frozen_before_an_install_or_a_newer_checkpoint_never_becomes_one() {
    let source = tempfile::tempdir().unwrap();
    let snapshot = snapshot_of_two(source.path());
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let kv = store.open().unwrap();
    let old = store.freeze(&kv, "t2").unwrap();
    store.checkpoint(&kv, "t3").unwrap();
    assert!(store.seal(old).unwrap().is_none());
    assert_eq!(store.latest().unwrap().unwrap().0, "t3");
    let frozen = store.freeze(&kv, "t4").unwrap();
    put(&kv, "later", "yes");
    drop(store.install(received(&store, &snapshot), &|_| Ok(())).unwrap());
    assert!(store.seal(frozen).unwrap().is_none());
    assert_eq!(store.latest().unwrap().unwrap().0, "t9");
    drop(kv);
    assert_eq!(directories(dir.path()), (1, 1, 0));
}

#[test]
fn writes_that_do_not_continue_a_file_are_refused() {
    let source = tempfile::tempdir().unwrap();
    let snapshot = snapshot_of_two(source.path());
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut staging = store.stage("t9", snapshot.files()).unwrap();
    let file = &snapshot.files()[0];
    let too_long = vec![0; file.bytes as usize + 1];
    for (name, offset, data) in [
        (file.name.as_str(), 1, &b"x"[..]),
        (file.name.as_str(), 0, &too_long[..]),
        ("../../CURRENT", 0, b"x"),
    ] {
        let error = staging.write(name, offset, data).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(store.install(staging, &|_| Ok(())).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_damaged_file_is_refused_dropped_and_received_again() {
    let source = tempfile::tempdir().unwrap();
    let snapshot = snapshot_of_two(source.path());
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    for file in snapshot.files().iter().filter(|file| file.bytes > 0) {
        let staging = received(&store, &snapshot);
        let path = staging.dir().join("files").join(&file.name);
        let mut content = fs::read(&path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 0x10;
        fs::write(&path, content).unwrap();
        let error = store.install(staging, &|_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains(&file.name), "{error}");
        let staging = store.stage("t9", snapshot.files()).unwrap();
        for other in snapshot.files() {
            let held = if other == file { 0 } else { other.bytes };
            assert_eq!(staging.held(&other.name), held, "{}", other.name);
        }
    }
    assert_eq!(get(&store.open().unwrap(), "k").as_deref(), Some("one"));
    assert_eq!(store.latest().unwrap().unwrap().0, "t1");
    let staging = received(&store, &snapshot);
    assert_eq!(get(&store.install(staging, &|_| Ok(())).unwrap(), "k").as_deref(), Some("two"));
}

#[test]
fn files_that_are_no_state_leave_the_old_state_and_no_litter() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let garbage = b"not a database";
    let files = [bessemer_seam::state_store::SnapshotFile {
        name: "CURRENT".to_owned(),
        bytes: garbage.len() as u64,
        crc: crc32c::crc32c(garbage),
    }];
    let mut staging = store.stage("t9", &files).unwrap();
    staging.write("CURRENT", 0, garbage).unwrap();
    store.install(staging, &|_| Ok(())).unwrap_err();
    assert_eq!(get(&store.open().unwrap(), "k").as_deref(), Some("one"));
    assert_eq!(directories(dir.path()), (1, 1, 1));
}

#[test]
fn an_install_leaves_the_old_map_readable_until_its_last_view_is_gone() {
    let source = tempfile::tempdir().unwrap();
    let snapshot = snapshot_of_two(source.path());
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let old = store.open().unwrap();
    let view = old.view();
    let staging = received(&store, &snapshot);
    let new = store.install(staging, &|_| Ok(())).unwrap();
    assert_eq!(get(&store.open().unwrap(), "k").as_deref(), Some("two"));
    let error = store.checkpoint(&old, "t3").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    drop(old);
    assert_eq!(get(&view, "k").as_deref(), Some("one"));
    assert_eq!(directories(dir.path()), (2, 1, 0));
    drop(view);
    assert_eq!(directories(dir.path()), (1, 1, 0));
    put(&new, "k", "three");
    store.checkpoint(&new, "t3").unwrap();
    assert_eq!(get(&new, "k").as_deref(), Some("three"));
}

/// Copies of a store's directory, one per step of what `work` does.
fn crashes(store: &RocksStore, dir: &Path, work: impl FnOnce()) -> (TempDir, Vec<&'static str>) {
    let copies = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (seen, from, to) = (steps.clone(), dir.to_owned(), copies.path().to_owned());
    *store.probe.lock().unwrap() = Box::new(move |step| {
        let mut seen = seen.lock().unwrap();
        copy_still(&from, &to.join(seen.len().to_string()));
        seen.push(step);
    });
    work();
    *store.probe.lock().unwrap() = Box::new(|_| {});
    let steps = steps.lock().unwrap().clone();
    (copies, steps)
}

#[test]
fn a_crash_after_any_step_of_an_install_leaves_one_whole_state() {
    let source = tempfile::tempdir().unwrap();
    let snapshot = snapshot_of_two(source.path());
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let staging = received(&store, &snapshot);
    let (copies, steps) =
        crashes(&store, dir.path(), || drop(store.install(staging, &|_| Ok(())).unwrap()));
    let wanted = [
        "verified",
        "state made",
        "state opened",
        "checkpoint filled",
        "checkpoint sealed",
        "switched",
        "staging removed",
    ];
    assert_eq!(steps, wanted);
    for (number, step) in steps.iter().enumerate() {
        let copy = copies.path().join(number.to_string());
        let store = open(&copy);
        let switched = number >= 5;
        let (value, label) = if switched { ("two", "t9") } else { ("one", "t1") };
        assert_eq!(get(&store.open().unwrap(), "k").as_deref(), Some(value), "after {step}");
        assert_eq!(store.latest().unwrap().unwrap().0, label, "after {step}");
        let (states, checkpoints, _) = directories(&copy);
        assert_eq!((states, checkpoints), (1, 1), "litter after {step}");
        if !switched {
            let staging = store.stage("t9", snapshot.files()).unwrap();
            let held = snapshot.files().iter().all(|file| staging.held(&file.name) == file.bytes);
            assert!(held, "the transfer is lost after {step}");
            assert_eq!(
                get(&store.install(staging, &|_| Ok(())).unwrap(), "k").as_deref(),
                Some("two")
            );
        }
    }
}

#[test]
fn a_crash_after_any_step_of_a_checkpoint_leaves_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let kv = store.open().unwrap();
    put(&kv, "k", "more");
    let (copies, steps) =
        crashes(&store, dir.path(), || drop(store.checkpoint(&kv, "t2").unwrap()));
    assert_eq!(steps, ["checkpoint filled", "checkpoint sealed", "switched"]);
    for (number, step) in steps.iter().enumerate() {
        let copy = copies.path().join(number.to_string());
        let store = open(&copy);
        let label = if number == 2 { "t2" } else { "t1" };
        assert_eq!(store.latest().unwrap().unwrap().0, label, "after {step}");
        assert_eq!(get(&store.open().unwrap(), "k").as_deref(), Some("more"), "after {step}");
        assert_eq!(directories(&copy), (1, 1, 0), "litter after {step}");
    }
}

#[test]
fn a_crash_while_the_store_is_made_leaves_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let whole = tempfile::tempdir().unwrap();
    copy_still(dir.path(), whole.path());
    fs::remove_file(whole.path().join("CURRENT")).unwrap();
    let kv = open(whole.path()).open().unwrap();
    assert_eq!(get(&kv, "k"), None);

    let half = tempfile::tempdir().unwrap();
    fs::create_dir(half.path().join("state-1.new")).unwrap();
    fs::write(half.path().join("state-1.new/CURRENT"), b"").unwrap();
    let kv = open(half.path()).open().unwrap();
    assert_eq!(get(&kv, "k"), None);
}

#[test]
fn a_store_whose_pointer_or_state_is_lost_is_refused_and_untouched() {
    let options = StorageOptions::default();
    let dir = tempfile::tempdir().unwrap();
    drop(store_with_one(dir.path()));
    fs::rename(dir.path().join("CURRENT"), dir.path().join("kept")).unwrap();
    let error = RocksStore::open(dir.path(), options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    fs::rename(dir.path().join("kept"), dir.path().join("CURRENT")).unwrap();
    let store = open(dir.path());
    assert_eq!(get(&store.open().unwrap(), "k").as_deref(), Some("one"));
    drop(store);
    fs::rename(dir.path().join("state-1"), dir.path().join("elsewhere")).unwrap();
    let store = open(dir.path());
    store.open().unwrap_err();
    assert!(!dir.path().join("state-1/CURRENT").exists(), "an empty state was made up");
}

#[test]
fn a_damaged_newest_checkpoint_is_an_error_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with_one(dir.path());
    let checkpoint = store.latest().unwrap().unwrap().1;
    let path = checkpoint.dir().path().join("files").join(&checkpoint.files()[0].name);
    drop((store, checkpoint));
    fs::remove_file(path).unwrap();
    let error = RocksStore::open(dir.path(), StorageOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let error = RocksStore::open(dir.path(), StorageOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
    drop(first);
    open(dir.path());
}

#[test]
fn labels_that_are_no_plain_names_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let kv = store.open().unwrap();
    for label in ["", "..", "a/b", ".hidden", "a b"] {
        let error = store.checkpoint(&kv, label).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(store.stage(label, &[]).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
