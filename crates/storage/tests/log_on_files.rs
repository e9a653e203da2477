//! The log on real files: written by one process after another, read back whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bessemer_log::{Log, LogError, LogOptions};
use bessemer_model::GroupId;
use bessemer_storage::disk::FileDisk;

const GROUP: GroupId = GroupId(0);

fn options() -> LogOptions {
    LogOptions { segment_bytes: 1 << 20, cache_bytes: 1 << 16, salt: 5, ..LogOptions::default() }
}

fn entry(index: u64) -> Vec<u8> {
    (0..index % 3000).map(|n| (n ^ index) as u8).collect()
}

#[test]
fn a_log_on_files_survives_restarts_and_shrinks() {
    let root = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(&root.path().join("log")).unwrap();
    let durable = Arc::new(AtomicU64::new(0));
    for restart in 0..4u64 {
        let (log, recovered) = Log::open(disk.clone(), options()).unwrap();
        assert_eq!(recovered.fresh, restart == 0);
        assert_eq!(recovered.torn_bytes, 0);
        let group = log.group(GROUP);
        let next = group.state().last.map_or(0, |last| last + 1);
        assert_eq!(next, durable.load(Ordering::Relaxed), "all that was acknowledged is there");
        for index in next..next + 1500 {
            let durable = durable.clone();
            let done = move |result: Result<(), LogError>| {
                result.unwrap();
                durable.store(index + 1, Ordering::Relaxed);
            };
            group.append(vec![(index, Arc::from(entry(index)))], Box::new(done));
            if index % 50 == 0 {
                while log.drain().unwrap() {}
            }
            if index % 500 == 0 {
                group.purge(index.saturating_sub(600), b"id".to_vec());
                log.upkeep().unwrap();
            }
        }
        while log.drain().unwrap() {}
        if restart == 2 {
            log.seal().unwrap();
        }
    }
    let (log, _) = Log::open(disk, options()).unwrap();
    log.upkeep().unwrap();
    assert!(log.stats().segments < 5, "{:?}", log.stats());
    assert!(log.stats().free_bytes > 0);
    let state = log.group(GROUP).state();
    let (first, last) = (state.first.unwrap(), state.last.unwrap());
    assert_eq!((first, last), (4901, 5999));
    let entries = log.group(GROUP).read(first, last + 1, usize::MAX).unwrap();
    assert_eq!(entries.len() as u64, last - first + 1);
    assert!(entries.iter().all(|(index, bytes)| **bytes == *entry(*index)));
}
