//! Failing devices.

use bessemer_log::memory_disk::MemoryDisk;
use bessemer_log::{Log, LogError};

use crate::model::{GROUPS, Model, content, drain_all, empty, options};

#[test]
fn a_failed_sync_is_final_and_acknowledges_nothing() {
    let disk = MemoryDisk::default();
    let (log, _) = Log::open(disk.clone(), options()).unwrap();
    let group = log.group(GROUPS[0]);
    let mut model = Model::new(empty());
    model.append(&group, vec![b"safe".to_vec()]);
    drain_all(&log);
    disk.fail_syncs();
    model.append(&group, vec![b"lost".to_vec()]);
    model.vote(&group, b"lost".to_vec());
    let error = log.drain().unwrap_err();
    assert!(matches!(error, LogError::Io { action: "sync", .. }), "{error}");
    let syncs = disk.syncs();
    assert_eq!(log.drain(), Err(error.clone()));
    assert_eq!(log.seal(), Err(error.clone()));
    assert_eq!(log.upkeep(), Err(error.clone()));
    assert_eq!(disk.syncs(), syncs, "a sync is never tried twice");
    model.append(&group, vec![b"late".to_vec()]);
    let acked = model.acked.lock().unwrap();
    assert_eq!((acked.state, acked.oks), (1, 1));
    assert_eq!(acked.errors, vec![error; 3]);
}

/// The kernel may show what a failed sync never wrote. A restart that relied on it would lose it
/// at the next crash, after peers were told of it.
#[test]
fn what_is_shown_after_a_failed_sync_and_a_restart_is_made_durable() {
    let disk = MemoryDisk::default();
    let (log, _) = Log::open(disk.clone(), options()).unwrap();
    let mut model = Model::new(empty());
    for n in 0..5 {
        model.append(&log.group(GROUPS[0]), vec![vec![n; 700]]);
    }
    disk.fail_syncs();
    log.drain().unwrap_err();
    disk.kill();
    let (log, _) = Log::open(disk.clone(), options()).unwrap();
    let shown = content(&log);
    assert!(model.states.contains(&shown));
    assert!(shown != empty(), "the test shows something");
    disk.crash();
    let (log, _) = Log::open(disk, options()).unwrap();
    assert_eq!(content(&log), shown);
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let mut torn = 0;
    for seed in 0..50 {
        let disk = MemoryDisk::new(seed);
        let (log, recovered) = Log::open(disk.clone(), options()).unwrap();
        assert!(recovered.fresh);
        let mut model = Model::new(empty());
        model.append(&log.group(GROUPS[1]), vec![b"safe".to_vec()]);
        drain_all(&log);
        let safe = log.durable();
        disk.power_fails_after(1);
        model.append(&log.group(GROUPS[1]), vec![vec![1; 900], vec![2; 900]]);
        log.drain().unwrap_err();
        disk.crash();
        let (log, recovered) = Log::open(disk, options()).unwrap();
        assert!(model.states[1..].contains(&content(&log)));
        assert_eq!(recovered.groups, [GROUPS[1]]);
        assert!(recovered.end >= safe && recovered.last_durable <= safe && !recovered.fresh);
        torn += u64::from(recovered.torn_bytes > 0);
    }
    assert!(torn > 5, "the test tears: {torn}");
}

#[test]
fn the_disk_in_memory_keeps_the_contract_of_disks() {
    bessemer_seam::log_disk_suite::check(MemoryDisk::default);
}
