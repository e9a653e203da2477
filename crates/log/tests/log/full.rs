//! A full device: work waits, purges go on, room brings it back.

use bessemer_log::Log;
use bessemer_log::memory_disk::MemoryDisk;
use bessemer_seam::log_disk::LogDisk;

use crate::model::{GROUPS, Model, content, drain_all, empty, options};

/// A log whose disk has no room for what is queued.
fn full_log(disk: &MemoryDisk) -> (Log<MemoryDisk>, Model) {
    disk.set_capacity_bytes(4 * options().segment_bytes);
    let (log, _) = Log::open(disk.clone(), options()).unwrap();
    log.upkeep().unwrap();
    assert!(!log.stats().low);
    let mut model = Model::new(empty());
    model.vote(&log.group(GROUPS[1]), b"vote".to_vec());
    while !log.stats().disk_full {
        model.append(&log.group(GROUPS[0]), vec![vec![model.states.len() as u8; 700]]);
        log.drain().unwrap();
        log.upkeep().unwrap();
    }
    (log, model)
}

#[test]
fn low_comes_before_full() {
    let disk = MemoryDisk::default();
    disk.set_capacity_bytes(4 * options().segment_bytes);
    let (log, _) = Log::open(disk.clone(), options()).unwrap();
    let mut model = Model::new(empty());
    let mut written_while_low = 0;
    while !log.stats().disk_full {
        model.append(&log.group(GROUPS[0]), vec![vec![1; 100]]);
        log.drain().unwrap();
        log.upkeep().unwrap();
        written_while_low += u64::from(log.stats().low && !log.stats().disk_full);
    }
    assert!(written_while_low > 20, "the reserve takes small records: {written_while_low}");
    assert!(log.wants_upkeep(), "only asking again finds new room");
    disk.set_capacity_bytes(8 * options().segment_bytes);
    log.upkeep().unwrap();
    assert!(!log.stats().low && !log.wants_upkeep());
    drain_all(&log);
    assert!(!log.stats().disk_full);
}

#[test]
fn a_full_disk_keeps_records_waiting_until_there_is_room() {
    let disk = MemoryDisk::default();
    let (log, mut model) = full_log(&disk);
    assert!(log.stats().low && !log.stats().failed);
    let waiting = model.states.len() - 1;
    assert!(model.acked_state() < waiting);
    assert!(!log.drain().unwrap());
    model.append(&log.group(GROUPS[0]), vec![b"more".to_vec()]);
    assert_eq!(&content(&log), model.now(), "readers see what waits");
    assert!(!log.drain().unwrap());
    disk.set_capacity_bytes(8 * options().segment_bytes);
    drain_all(&log);
    log.upkeep().unwrap();
    assert_eq!(model.acked_state(), waiting + 1);
    assert!(!log.stats().disk_full && !log.stats().low);
    disk.crash();
    let (log, _) = Log::open(disk, options()).unwrap();
    assert_eq!(&content(&log), model.now());
}

#[test]
fn a_purge_gets_through_a_full_disk_and_makes_room() {
    let disk = MemoryDisk::default();
    let (log, mut model) = full_log(&disk);
    let last = model.group(GROUPS[0]).next_index() - 1;
    // Twice: only the newer one is written. The last entry still waits to be written at all.
    model.purge(&log.group(GROUPS[0]), last - 2, b"older".to_vec());
    model.purge(&log.group(GROUPS[0]), last, b"newer".to_vec());
    model.append(&log.group(GROUPS[0]), vec![b"behind".to_vec()]);
    let files = disk.list().unwrap().len();
    assert!(log.drain().unwrap());
    assert!(log.stats().disk_full);
    log.upkeep().unwrap();
    assert!(disk.list().unwrap().len() < files);
    drain_all(&log);
    assert!(!log.stats().disk_full);
    assert_eq!(model.acked_state(), model.states.len() - 1);
    assert_eq!(log.stats().queue_bytes, 0);
    assert_eq!(&content(&log), model.now());
    disk.crash();
    let (log, _) = Log::open(disk, options()).unwrap();
    assert_eq!(&content(&log), model.now());
}

#[test]
fn votes_that_nothing_waits_before_use_half_of_the_room_kept_for_purges() {
    let disk = MemoryDisk::default();
    disk.set_capacity_bytes(4 * options().segment_bytes);
    let (log, _) = Log::open(disk.clone(), options()).unwrap();
    let mut model = Model::new(empty());
    model.append(&log.group(GROUPS[0]), vec![vec![1; 100]]);
    while !log.stats().disk_full {
        model.vote(&log.group(GROUPS[0]), vec![model.states.len() as u8; 20]);
        log.drain().unwrap();
        log.upkeep().unwrap();
    }
    let end = u64::from(log.durable().offset);
    let kept = options().segment_bytes / 8;
    assert!(end > options().segment_bytes - kept, "votes stop at {end}");
    model.purge(&log.group(GROUPS[0]), 1, b"purge".to_vec());
    assert!(log.drain().unwrap(), "there is room for a purge after {end}");
}

#[test]
fn a_log_on_a_full_disk_opens_again_and_again_and_can_still_purge() {
    let disk = MemoryDisk::default();
    let (_, mut model) = full_log(&disk);
    let mut durable = model.states[model.acked_state()].clone();
    for round in 0..2u8 {
        disk.crash();
        let (log, _) = Log::open(disk.clone(), options()).unwrap();
        assert_eq!(content(&log), durable);
        model = Model::new(durable.clone());
        let first = *model.group(GROUPS[0]).entries.keys().next().unwrap();
        model.purge(&log.group(GROUPS[0]), first, vec![round]);
        drain_all(&log);
        durable = model.now().clone();
    }
    disk.crash();
    let (log, _) = Log::open(disk, options()).unwrap();
    assert_eq!(content(&log), durable);
}
