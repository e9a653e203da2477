//! What each call promises, without faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bessemer_log::memory_disk::MemoryDisk;
use bessemer_log::{Log, LogError, LogOptions};
use bessemer_model::GroupId;
use bessemer_seam::log_disk::LogDisk;

use crate::model::{Model, ModelState, content, drain_all, empty, options};

const GROUP: GroupId = GroupId(3);

fn open(disk: &MemoryDisk) -> Log<MemoryDisk> {
    Log::open(disk.clone(), options()).unwrap().0
}

fn reopened(disk: &MemoryDisk) -> ModelState {
    disk.crash();
    content(&open(disk))
}

#[test]
fn entries_are_readable_at_once_and_acknowledged_when_durable() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    let group = log.group(GROUP);
    let mut model = Model::new(empty());
    model.append(&group, vec![b"one".to_vec(), b"two".to_vec()]);
    model.vote(&group, b"vote".to_vec());
    assert_eq!(&content(&log), model.now());
    assert_eq!(model.acked_state(), 0);
    let syncs = disk.syncs();
    assert!(log.drain().unwrap());
    assert_eq!(disk.syncs(), syncs + 1, "one sync for all");
    assert_eq!(model.acked_state(), 3);
    assert!(!log.drain().unwrap());
    assert_eq!(&reopened(&disk), model.now());
}

#[test]
fn what_was_not_drained_is_lost_by_a_crash() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    let mut model = Model::new(empty());
    model.append(&log.group(GROUP), vec![b"one".to_vec()]);
    drain_all(&log);
    model.append(&log.group(GROUP), vec![b"two".to_vec()]);
    assert_eq!(&reopened(&disk), &model.states[1]);
}

#[test]
fn truncated_entries_never_return() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    let group = log.group(GROUP);
    let mut model = Model::new(empty());
    model.append(&group, (0..9).map(|n| vec![n; 20]).collect());
    drain_all(&log);
    model.truncate(&group, Some(4));
    model.append(&group, vec![b"other".to_vec()]);
    assert_eq!(&content(&log), model.now());
    drain_all(&log);
    assert_eq!(&content(&log), model.now());
    assert_eq!(&reopened(&disk), model.now());
    let log = open(&disk);
    model.truncate(&log.group(GROUP), None);
    model.append(&log.group(GROUP), vec![b"first".to_vec()]);
    drain_all(&log);
    assert_eq!(&reopened(&disk), model.now());
}

#[test]
fn purging_removes_segments_and_keeps_every_groups_values() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    let group = log.group(GROUP);
    let mut model = Model::new(empty());
    model.vote(&log.group(GroupId(0)), b"kept".to_vec());
    group.save_committed(b"c9".to_vec());
    for n in 0..60 {
        model.append(&group, vec![vec![n; 300]]);
        drain_all(&log);
    }
    let before = log.stats().segments;
    assert!(before > 4);
    model.purge(&group, 55, b"id55".to_vec());
    assert_eq!(&content(&log), model.now());
    log.upkeep().unwrap();
    assert_eq!(log.stats().segments, before, "not before the purge is durable");
    drain_all(&log);
    assert!(log.wants_upkeep());
    log.upkeep().unwrap();
    assert!(!log.wants_upkeep());
    assert!(log.stats().segments < 4);
    assert_eq!(disk.list().unwrap().len(), log.stats().segments + 1, "and one spare");
    assert_eq!(&content(&log), model.now());
    assert_eq!(&reopened(&disk), model.now());
    assert_eq!(open(&disk).group(GROUP).state().committed, Some(b"c9".to_vec()));
}

#[test]
fn a_purge_beyond_the_end_leaves_an_empty_log_that_goes_on_behind_it() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    let group = log.group(GROUP);
    let mut model = Model::new(empty());
    model.append(&group, vec![b"1".to_vec(), b"2".to_vec()]);
    model.purge(&group, 10, b"id".to_vec());
    assert_eq!(group.state().last, None);
    model.purge(&group, 9, b"older".to_vec());
    model.append(&group, vec![b"11".to_vec()]);
    assert_eq!(group.state().first, Some(11));
    drain_all(&log);
    assert_eq!(&reopened(&disk), model.now());
}

#[test]
fn reads_are_bounded_by_bytes_but_never_empty() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    let group = log.group(GROUP);
    let mut model = Model::new(empty());
    model.append(&group, (0..9).map(|n| vec![n; 100]).collect());
    drain_all(&log);
    let indexes = |from, to, bytes| -> Vec<u64> {
        group.read(from, to, bytes).unwrap().into_iter().map(|(index, _)| index).collect()
    };
    assert_eq!(indexes(2, 9, 0), [2]);
    assert_eq!(indexes(2, 9, 299), [2, 3]);
    assert_eq!(indexes(2, 9, 300), [2, 3, 4]);
    assert_eq!(indexes(8, u64::MAX, 10_000), [8, 9]);
    assert_eq!(indexes(10, 20, 10), []);
    assert_eq!(indexes(5, 5, 10), []);
    assert!(log.stats().reads_disk > 0 && log.stats().reads_cached > 0);
}

#[test]
fn a_committed_mark_rides_with_the_next_record_or_seal() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    let group = log.group(GROUP);
    group.save_committed(b"a".to_vec());
    assert!(!log.drain().unwrap(), "never on its own");
    assert_eq!(group.state().committed, Some(b"a".to_vec()));
    group.save_vote(b"v".to_vec(), Box::new(|result| result.unwrap()));
    drain_all(&log);
    disk.crash();
    let log = open(&disk);
    assert_eq!(log.group(GROUP).state().committed, Some(b"a".to_vec()));
    log.group(GROUP).save_committed(b"b".to_vec());
    assert!(log.seal().unwrap());
    assert!(!log.seal().unwrap(), "nothing is left to state");
    disk.crash();
    assert_eq!(open(&disk).group(GROUP).state().committed, Some(b"b".to_vec()));
}

#[test]
fn the_waker_is_called_for_queued_work() {
    let log = open(&MemoryDisk::default());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    log.set_waker(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    let mut model = Model::new(empty());
    model.append(&log.group(GROUP), vec![b"1".to_vec()]);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    log.group(GROUP).save_committed(b"c".to_vec());
    assert_eq!(calls.load(Ordering::Relaxed), 1, "a committed mark waits for other work");
}

/// Opens a log, makes `call` break a rule, and returns what the callbacks and `drain` got.
fn refused(options: LogOptions, call: impl FnOnce(&Log<MemoryDisk>, &mut Model)) -> LogError {
    let (log, _) = Log::open(MemoryDisk::default(), options).unwrap();
    let mut model = Model::new(empty());
    call(&log, &mut model);
    let error = log.drain().unwrap_err();
    assert_eq!(log.drain().unwrap_err(), error, "errors are final");
    model.vote(&log.group(GROUP), b"late".to_vec());
    let acked = model.acked.lock().unwrap();
    assert!(acked.errors.iter().all(|each| *each == error));
    assert!(acked.errors.len() >= 2 && acked.oks == 0);
    assert!(log.stats().failed);
    error
}

#[test]
fn broken_rules_stop_the_log() {
    let gap = refused(options(), |log, model| {
        model.append(&log.group(GROUP), vec![b"1".to_vec()]);
        log.group(GROUP).append(vec![(3, Arc::from(*b"3"))], model.done());
    });
    assert_eq!(gap, LogError::OutOfOrder { group: GROUP, expected: 2, got: 3 });
    let large = refused(options(), |log, model| {
        model.append(&log.group(GROUP), vec![vec![0; 2049]]);
    });
    assert_eq!(large, LogError::TooLarge { bytes: 2049, bytes_max: 2048 });
    let vote = refused(options(), |log, model| model.vote(&log.group(GROUP), vec![0; 1025]));
    assert_eq!(vote, LogError::TooLarge { bytes: 1025, bytes_max: 1024 });
    let small_queue = LogOptions { room_bytes: 2000, queue_bytes_max: 4000, ..options() };
    let overflow = refused(small_queue, |log, model| {
        assert!(log.has_room());
        model.append(&log.group(GROUP), vec![vec![0; 2000]]);
        assert!(!log.has_room());
        model.append(&log.group(GROUP), vec![vec![0; 2000]]);
    });
    assert!(matches!(overflow, LogError::QueueOverflow { bytes_max: 4000, .. }));
    let sizes = [0, 4095, 4100, 1 << 31];
    for segment_bytes in sizes {
        let odd = LogOptions { segment_bytes, ..options() };
        assert!(matches!(
            Log::open(MemoryDisk::default(), odd),
            Err(LogError::SegmentBytes { .. })
        ));
    }
}

#[test]
fn the_largest_entries_and_values_fit_the_smallest_segment() {
    let disk = MemoryDisk::default();
    let log = open(&disk);
    let group = log.group(GROUP);
    let mut model = Model::new(empty());
    for n in 0..4 {
        model.vote(&group, vec![n; 400]);
        model.append(&group, vec![vec![n; 2048], vec![n; 2047], vec![]]);
        drain_all(&log);
    }
    assert_eq!(&content(&log), model.now());
    assert_eq!(&reopened(&disk), model.now());
}

#[test]
fn the_segment_size_may_change_between_runs() {
    let disk = MemoryDisk::default();
    let mut model = Model::new(empty());
    for segment_bytes in [4096, 16384, 8192, 4096] {
        let options = LogOptions { segment_bytes, ..options() };
        let (log, _) = Log::open(disk.clone(), options).unwrap();
        assert_eq!(&content(&log), model.now());
        for n in 0..10 {
            model.append(&log.group(GROUP), vec![vec![n; segment_bytes as usize / 3]]);
            drain_all(&log);
            log.upkeep().unwrap();
        }
        disk.crash();
    }
    assert_eq!(&content(&open(&disk)), model.now());
}

#[test]
fn threads_share_syncs() {
    let disk = MemoryDisk::default();
    let (log, _) = Log::open(disk.clone(), LogOptions { spare_segments: 2, ..options() }).unwrap();
    let acked = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for id in 1..=4 {
            let (group, acked) = (log.group(GroupId(id)), acked.clone());
            scope.spawn(move || {
                for index in 0..500u64 {
                    let acked = acked.clone();
                    let done = Box::new(move |result: Result<(), LogError>| {
                        result.unwrap();
                        acked.fetch_add(1, Ordering::Relaxed);
                    });
                    group.append(vec![(index, Arc::from(index.to_le_bytes()))], done);
                    assert_eq!(group.read(index, index + 1, 0).unwrap().len(), 1);
                }
            });
        }
        scope.spawn(|| {
            while acked.load(Ordering::Relaxed) < 2000 {
                log.drain().unwrap();
                log.upkeep().unwrap();
            }
        });
    });
    assert_eq!(log.stats().entries, 2000);
    disk.crash();
    let log = open(&disk);
    for id in 1..=4 {
        let entries = log.group(GroupId(id)).read(0, u64::MAX, usize::MAX).unwrap();
        assert_eq!(entries.len(), 500);
        assert!(entries.iter().all(|(index, entry)| **entry == index.to_le_bytes()));
    }
}
