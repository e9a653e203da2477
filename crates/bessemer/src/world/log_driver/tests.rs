//! The driver over a disk in memory.

use std::sync::mpsc;
use std::time::Instant;

use bessemer_log::memory_disk::MemoryDisk;
use bessemer_log::{Done, LogOptions};
use bessemer_model::GroupId;

use super::*;

const WAIT: Duration = Duration::from_secs(20);

fn open(disk: &MemoryDisk) -> Log<MemoryDisk> {
    let options = LogOptions { segment_bytes: 4096, ..LogOptions::default() };
    Log::open(disk.clone(), options).unwrap().0
}

fn done() -> (Done, mpsc::Receiver<Result<(), LogError>>) {
    let (told, result) = mpsc::channel();
    let done: Done = Box::new(move |result| {
        let _gone = told.send(result);
    });
    (done, result)
}

#[test]
fn appends_become_durable_without_anyone_asking() {
    let disk = MemoryDisk::new(1);
    let log = open(&disk);
    let (failed, failures) = mpsc::channel();
    let mut driver = LogDriver::start(&log, move |e| failed.send(e).unwrap()).unwrap();
    let group = log.group(GroupId(0));
    // Enough to fill several segments, with pauses in which the driver goes to sleep.
    for index in 1..=40 {
        let (told, result) = done();
        group.append(vec![(index, Arc::from(vec![index as u8; 400]))], told);
        result.recv_timeout(WAIT).expect("the driver woke up").unwrap();
        if index % 20 == 0 {
            // Idle: the driver seals, which writes a record, and goes to sleep.
            let (records, end) = (log.stats().records, Instant::now() + WAIT);
            while log.stats().records == records {
                assert!(Instant::now() < end, "the idle log was not sealed");
                std::thread::yield_now();
            }
        }
    }
    driver.stop();
    assert!(failures.try_recv().is_err());
    disk.crash();
    assert_eq!(open(&disk).group(GroupId(0)).state().last, Some(40));
}

#[test]
fn what_is_queued_at_stop_is_written() {
    let disk = MemoryDisk::new(2);
    let log = open(&disk);
    let mut driver = LogDriver::start(&log, |_| {}).unwrap();
    let (told, result) = done();
    log.group(GroupId(0)).append(vec![(1, Arc::from(vec![7; 9]))], told);
    driver.stop();
    result.try_recv().expect("told before stop returned").unwrap();
}

#[test]
fn a_failed_sync_is_told_once_and_ends_the_driver() {
    let disk = MemoryDisk::new(3);
    let log = open(&disk);
    let (failed, failures) = mpsc::channel();
    let mut driver = LogDriver::start(&log, move |e| failed.send(e).unwrap()).unwrap();
    disk.fail_syncs();
    let (told, result) = done();
    log.group(GroupId(0)).append(vec![(1, Arc::from(vec![7; 9]))], told);
    assert!(result.recv_timeout(WAIT).expect("the appender is told").is_err());
    failures.recv_timeout(WAIT).expect("the owner is told");
    driver.stop();
    assert!(failures.try_recv().is_err(), "and only once");
}
