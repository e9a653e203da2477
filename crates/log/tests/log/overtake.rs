//! Calls that come while the writer waits for the device.

use std::io;
use std::sync::{Arc, Mutex};

use bessemer_log::memory_disk::{MemoryDisk, MemoryFile};
use bessemer_log::{Log, LogOptions};
use bessemer_model::GroupId;
use bessemer_seam::log_disk::{LogDisk, LogFile};

use crate::model::options;

const GROUP: GroupId = GroupId(3);

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A disk whose next sync first does something else.
struct HookDisk {
    disk: MemoryDisk,
    hook: Hook,
}

struct HookFile {
    file: MemoryFile,
    hook: Hook,
}

impl HookDisk {
    fn hooked(&self, file: MemoryFile) -> HookFile {
        HookFile { file, hook: self.hook.clone() }
    }
}

impl LogDisk for HookDisk {
    type File = HookFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<HookFile> {
        self.disk.create(name, bytes).map(|file| self.hooked(file))
    }

    fn open(&self, name: &str) -> io::Result<HookFile> {
        self.disk.open(name).map(|file| self.hooked(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

impl LogFile for HookFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, into)
    }

    fn sync(&self) -> io::Result<()> {
        let hook = self.hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        self.file.sync()
    }
}

/// The log, after `during` ran in the middle of the drain that wrote entries 1 to 3.
fn drained_with(
    during: impl FnOnce(&Log<HookDisk>) + Send + 'static,
) -> (Log<HookDisk>, MemoryDisk) {
    let (disk, hook) = (MemoryDisk::default(), Hook::default());
    let options = LogOptions { cache_bytes: 0, ..options() };
    let hooked = HookDisk { disk: disk.clone(), hook: hook.clone() };
    let (log, _) = Log::open(hooked, options).unwrap();
    let old = (1..=3).map(|index| (index, Arc::from(*b"old"))).collect();
    log.group(GROUP).append(old, Box::new(|result| result.unwrap()));
    let inner = log.clone();
    *hook.lock().unwrap() = Some(Box::new(move || during(&inner)));
    assert!(log.drain().unwrap());
    assert!(hook.lock().unwrap().is_none(), "the hook ran");
    (log, disk)
}

fn entries<D: LogDisk>(log: &Log<D>) -> Vec<(u64, Vec<u8>)> {
    let entries = log.group(GROUP).read(0, u64::MAX, usize::MAX).unwrap();
    entries.into_iter().map(|(index, entry)| (index, entry.to_vec())).collect()
}

#[test]
fn an_entry_replaced_while_it_is_written_is_the_new_one() {
    let (log, disk) = drained_with(|log| {
        let group = log.group(GROUP);
        group.truncate_after(Some(1));
        group.append(vec![(2, Arc::from(*b"new"))], Box::new(|result| result.unwrap()));
    });
    let expected = [(1, b"old".to_vec()), (2, b"new".to_vec())];
    assert_eq!(entries(&log), expected);
    while log.drain().unwrap() {}
    assert_eq!(entries(&log), expected);
    assert_eq!(log.stats().cache_bytes, 0);
    disk.crash();
    let (log, _) = Log::open(disk, options()).unwrap();
    assert_eq!(entries(&log), expected);
}

#[test]
fn entries_purged_while_they_are_written_stay_away() {
    let (log, disk) = drained_with(|log| log.group(GROUP).purge(2, b"id".to_vec()));
    let expected = [(3, b"old".to_vec())];
    assert_eq!(entries(&log), expected);
    while log.drain().unwrap() {}
    disk.crash();
    let (log, _) = Log::open(disk, options()).unwrap();
    assert_eq!(entries(&log), expected);
}
