//! A log's disk in memory that fails as disks do: for tests and for the simulation.
//!
//! Not here: time (callers add the delay of a sync), and any file.
//! Model: a write is seen by readers at once and is durable after the file's next `sync`. A
//! crash keeps, of what was not synced, any subset in pieces of a sector, some of them torn at a
//! byte. A failed sync forgets what it should have written, and yet readers still see it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bessemer_seam::log_disk::{LogDisk, LogFile};

const SECTOR_BYTES: u64 = 512;

/// A directory in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Inner>>,
}

/// An open file; of no use after a crash or kill.
pub struct MemoryFile {
    shared: Arc<Mutex<Inner>>,
    name: String,
    content: Arc<Mutex<Content>>,
    boot: u64,
}

struct Inner {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    /// Sum of all files' sizes may not pass this.
    capacity_bytes: u64,
    /// Grows at each crash and kill: older handles fail.
    boot: u64,
    operations: u64,
    syncs: u64,
    /// The operation from which on all fail, the first perhaps after doing a part.
    power_fails_at: Option<u64>,
    sync_fails: bool,
    random: SplitMix,
}

#[derive(Clone, Default)]
struct Content {
    bytes: u64,
    /// Without the zeros at the end.
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Not synced, in order.
    pending: Vec<(u64, Vec<u8>)>,
}

/// A small generator of random numbers (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..below`; `below` is not 0.
    pub fn below(&mut self, below: u64) -> u64 {
        self.next_u64() % below
    }
}

impl Default for MemoryDisk {
    fn default() -> MemoryDisk {
        MemoryDisk::new(0)
    }
}

impl MemoryDisk {
    /// An empty disk without bounds; `seed` decides what its crashes keep.
    pub fn new(seed: u64) -> MemoryDisk {
        let inner = Inner {
            files: BTreeMap::new(),
            capacity_bytes: 1 << 50,
            boot: 0,
            operations: 0,
            syncs: 0,
            power_fails_at: None,
            sync_fails: false,
            random: SplitMix(seed),
        };
        MemoryDisk { shared: Arc::new(Mutex::new(inner)) }
    }

    /// Power fails: what was not synced is lost, whole or in part. Open files are dead; the disk
    /// works again, all faults but the capacity are over.
    pub fn crash(&self) {
        let mut inner = self.lock();
        inner.restart();
        let inner = &mut *inner;
        // Now and then everything, or nothing, survives.
        let mood = inner.random.below(4);
        for file in inner.files.values() {
            let mut content = lock(file);
            for (offset, data) in std::mem::take(&mut content.pending) {
                for (at, piece) in sectors(offset, &data) {
                    let kept = match mood {
                        0 => 0,
                        1 => piece.len(),
                        _ => kept_bytes(&mut inner.random, piece.len()),
                    };
                    put(&mut content.durable, at, &piece[..kept]);
                }
            }
            content.seen = content.durable.clone();
        }
    }

    /// The process dies, the machine goes on: what was written is still seen, but not durable.
    /// Open files are dead.
    pub fn kill(&self) {
        self.lock().restart();
    }

    /// Lets the power fail at the `operations`-th operation from now on (0: the next): it does
    /// its work in part or not at all, and all later ones fail, until `crash`.
    pub fn power_fails_after(&self, operations: u64) {
        let mut inner = self.lock();
        inner.power_fails_at = Some(inner.operations + operations);
    }

    /// Lets every sync fail until `crash` or `kill`.
    pub fn fail_syncs(&self) {
        self.lock().sync_fails = true;
    }

    /// Files may take `bytes` in all.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.lock().capacity_bytes = bytes;
    }

    /// Flips the bits of `mask` in one byte, durably: the damage a log must find.
    pub fn damage(&self, name: &str, offset: u64, mask: u8) {
        let file = self.lock().files.get(name).cloned().expect("the file to damage exists");
        let mut content = lock(&file);
        assert!(offset < content.bytes, "the byte to damage exists");
        let byte = content.seen.get(offset as usize).copied().unwrap_or(0) ^ mask;
        put(&mut content.seen, offset, &[byte]);
        put(&mut content.durable, offset, &[byte]);
    }

    /// Flips one bit of something that was written, durably, where chance wants it; tells where.
    /// Nothing happens to a disk on which nothing was written.
    pub fn flip_somewhere(&self) -> Option<(String, u64)> {
        let (name, offset, mask) = {
            let mut inner = self.lock();
            let written = |file: &Arc<Mutex<Content>>| lock(file).seen.len() as u64;
            let total: u64 = inner.files.values().map(written).sum();
            if total == 0 {
                return None;
            }
            let mut place = inner.random.below(total);
            let mask = 1 << inner.random.below(8);
            let mut files = inner.files.iter();
            let (name, _) = files.find(|(_, file)| {
                let bytes = written(file);
                let here = place < bytes;
                place -= if here { 0 } else { bytes };
                here
            })?;
            (name.clone(), place, mask)
        };
        self.damage(&name, offset, mask);
        Some((name, offset))
    }

    /// Holds what `other` holds from now on; open files are dead.
    pub fn become_copy_of(&self, other: &MemoryDisk) {
        let files = std::mem::take(&mut other.fork().lock().files);
        let mut inner = self.lock();
        inner.restart();
        inner.files = files;
    }

    /// Makes `bytes` bytes from `offset` zero, durably.
    pub fn zero(&self, name: &str, offset: u64, bytes: u64) {
        let file = self.lock().files.get(name).cloned().expect("the file to damage exists");
        let mut content = lock(&file);
        let zeros = vec![0; bytes as usize];
        put(&mut content.seen, offset, &zeros);
        put(&mut content.durable, offset, &zeros);
    }

    /// A copy of the disk as it is, sharing nothing; open files of this one do not reach it.
    pub fn fork(&self) -> MemoryDisk {
        let inner = self.lock();
        let copy = MemoryDisk::new(inner.random.0);
        let files = inner.files.iter();
        copy.lock().files = files
            .map(|(name, file)| (name.clone(), Arc::new(Mutex::new(lock(file).clone()))))
            .collect();
        copy.lock().capacity_bytes = inner.capacity_bytes;
        copy
    }

    /// Operations of any kind so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Syncs so far, failed ones included.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.shared)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How an operation goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    /// Power fails in the middle of it.
    Halfway,
}

impl Inner {
    fn restart(&mut self) {
        self.boot += 1;
        self.power_fails_at = None;
        self.sync_fails = false;
    }

    fn begin(&mut self) -> io::Result<Fate> {
        let operation = self.operations;
        self.operations += 1;
        match self.power_fails_at {
            Some(at) if operation == at => Ok(Fate::Halfway),
            Some(at) if operation > at => Err(power_failed()),
            Some(_) | None => Ok(Fate::Works),
        }
    }

    fn used_bytes(&self) -> u64 {
        self.files.values().map(|file| lock(file).bytes).sum()
    }
}

impl LogDisk for MemoryDisk {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut inner = self.lock();
        finish(inner.begin()?, inner.files.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<MemoryFile> {
        let mut inner = self.lock();
        let fate = inner.begin()?;
        if inner.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if inner.used_bytes() + bytes > inner.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = Arc::new(Mutex::new(Content { bytes, ..Content::default() }));
        if fate == Fate::Halfway {
            // The file may be there, and of any size.
            if inner.random.below(2) == 0 {
                lock(&content).bytes = inner.random.below(bytes + 1);
                inner.files.insert(name.to_owned(), content);
            }
            return Err(power_failed());
        }
        inner.files.insert(name.to_owned(), content.clone());
        let (name, boot) = (name.to_owned(), inner.boot);
        Ok(MemoryFile { shared: self.shared.clone(), name, content, boot })
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let mut inner = self.lock();
        let fate = inner.begin()?;
        let content = inner.files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        let (name, boot) = (name.to_owned(), inner.boot);
        finish(fate, MemoryFile { shared: self.shared.clone(), name, content, boot })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let fate = inner.begin()?;
        if fate == Fate::Works || inner.random.below(2) == 0 {
            inner.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        }
        finish(fate, ())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut inner = self.lock();
        let fate = inner.begin()?;
        finish(fate, inner.capacity_bytes.saturating_sub(inner.used_bytes()))
    }
}

impl MemoryFile {
    /// Begins an operation; dead files, and files on a disk without power, fail.
    fn begin(&self) -> io::Result<(MutexGuard<'_, Inner>, Fate)> {
        let mut inner = lock(&self.shared);
        if inner.boot != self.boot {
            let text = format!("{} was opened before the crash", self.name);
            return Err(io::Error::other(text));
        }
        let fate = inner.begin()?;
        Ok((inner, fate))
    }
}

impl LogFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        let (_inner, fate) = self.begin()?;
        finish(fate, lock(&self.content).bytes)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (mut inner, fate) = self.begin()?;
        let mut content = lock(&self.content);
        if offset + data.len() as u64 > content.bytes {
            return Err(io::Error::other("a write past the end of the file"));
        }
        let written = match fate {
            Fate::Works => data,
            Fate::Halfway => &data[..inner.random.below(data.len() as u64 + 1) as usize],
        };
        put(&mut content.seen, offset, written);
        content.pending.push((offset, written.to_vec()));
        finish(fate, ())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let (_inner, fate) = self.begin()?;
        let content = lock(&self.content);
        if offset + into.len() as u64 > content.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        into.fill(0);
        let held = content.seen.get(offset as usize..).unwrap_or(&[]);
        let held = &held[..held.len().min(into.len())];
        into[..held.len()].copy_from_slice(held);
        finish(fate, ())
    }

    fn sync(&self) -> io::Result<()> {
        let (mut inner, fate) = self.begin()?;
        inner.syncs += 1;
        let mut content = lock(&self.content);
        if inner.sync_fails {
            content.pending.clear();
            return Err(io::Error::other("the device lost what it was to write"));
        }
        // Without power, what was pending meets its fate in `crash`.
        if fate == Fate::Works {
            for (offset, data) in std::mem::take(&mut content.pending) {
                put(&mut content.durable, offset, &data);
            }
        }
        finish(fate, ())
    }
}

fn finish<T>(fate: Fate, value: T) -> io::Result<T> {
    match fate {
        Fate::Works => Ok(value),
        Fate::Halfway => Err(power_failed()),
    }
}

fn power_failed() -> io::Error {
    io::Error::other("the power failed")
}

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if bytes.len() < end && !data.is_empty() {
        bytes.resize(end, 0);
    }
    if !data.is_empty() {
        bytes[offset as usize..end].copy_from_slice(data);
    }
}

/// `data` cut where sectors meet, with the offset of each piece.
fn sectors(offset: u64, data: &[u8]) -> Vec<(u64, &[u8])> {
    let mut pieces = Vec::new();
    let (mut at, mut rest) = (offset, data);
    while !rest.is_empty() {
        let left = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
        let (piece, after) = rest.split_at(left.min(rest.len()));
        pieces.push((at, piece));
        at += piece.len() as u64;
        rest = after;
    }
    pieces
}

/// How much of a piece of `bytes` a crash keeps: nothing, all, or up to some byte.
fn kept_bytes(random: &mut SplitMix, bytes: usize) -> usize {
    match random.below(5) {
        0 | 1 => 0,
        2 | 3 => bytes,
        _ => random.below(bytes as u64 + 1) as usize,
    }
}
