//! The contract of `LogDisk` as checks: every implementation passes the same ones.
//!
//! Not here: what a crash leaves, which no caller can see.

use std::io::ErrorKind;

use crate::log_disk::{LogDisk, LogFile};

/// Runs every check, each on an empty disk from `make`. Panics on the first broken clause.
pub fn check<D: LogDisk>(mut make: impl FnMut() -> D) {
    a_new_file_is_zero_and_of_its_size(&make());
    writes_are_seen_by_all_handles(&make());
    nothing_is_read_past_the_end(&make());
    names_are_listed_in_order_and_used_once(&make());
    a_removed_file_serves_open_handles(&make());
    free_bytes_are_known(&make());
}

fn read<F: LogFile>(file: &F, offset: u64, bytes: usize) -> Vec<u8> {
    let mut into = vec![0xee; bytes];
    file.read_at(offset, &mut into).expect("read");
    into
}

fn a_new_file_is_zero_and_of_its_size(disk: &impl LogDisk) {
    for bytes in [0, 4096, 5_000_000] {
        let name = format!("{bytes}.log");
        let file = disk.create(&name, bytes).expect("create");
        assert_eq!(file.bytes().expect("size"), bytes);
        assert!(read(&file, 0, bytes as usize).iter().all(|byte| *byte == 0));
    }
}

fn writes_are_seen_by_all_handles(disk: &impl LogDisk) {
    let file = disk.create("a.log", 10_000).expect("create");
    let other = disk.open("a.log").expect("open");
    file.write_at(9_000, &[1; 1000]).expect("write");
    file.write_at(8_999, &[2; 2]).expect("write");
    assert_eq!(read(&other, 8_998, 4), [0, 2, 2, 1]);
    file.write_at(5, &[]).expect("write nothing");
    file.sync().expect("sync");
    other.sync().expect("sync with nothing to do");
    assert_eq!(read(&other, 9_999, 1), [1]);
    assert_eq!(other.bytes().expect("size"), 10_000);
}

fn nothing_is_read_past_the_end(disk: &impl LogDisk) {
    let file = disk.create("a.log", 100).expect("create");
    assert!(read(&file, 100, 0).is_empty());
    let error = file.read_at(99, &mut [0; 2]).expect_err("past the end");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

fn names_are_listed_in_order_and_used_once(disk: &impl LogDisk) {
    assert!(disk.list().expect("list").is_empty());
    for name in ["b.log", "a.log", "c.log"] {
        disk.create(name, 8).expect("create");
    }
    let twice = disk.create("b.log", 8).err().expect("the name is taken");
    assert_eq!(twice.kind(), ErrorKind::AlreadyExists);
    disk.remove("b.log").expect("remove");
    assert_eq!(disk.list().expect("list"), ["a.log", "c.log"]);
    let gone = disk.open("b.log").err().expect("nothing to open");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let gone = disk.remove("b.log").expect_err("nothing to remove");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    disk.create("b.log", 8).expect("create again");
}

fn a_removed_file_serves_open_handles(disk: &impl LogDisk) {
    let file = disk.create("a.log", 8).expect("create");
    file.write_at(0, b"still us").expect("write");
    disk.remove("a.log").expect("remove");
    assert_eq!(read(&file, 0, 8), b"still us");
}

fn free_bytes_are_known(disk: &impl LogDisk) {
    assert!(disk.free_bytes().expect("free bytes") > 0);
}
