//! The state directory of one machine: an ordered map without a log of its own, its checkpoints,
//! and snapshots on their way in.
//!
//! Not here: what a row means. A death falls back to the last flush, or to what a flush in the
//! background made durable since.
//! Invariants: `current`, `newest` and `staged` change at one moment each; an installed snapshot
//!   had the announced length and checksum.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bessemer_seam::kv::{Kv, KvRead, Table, Write, WriteBatch};
use bessemer_seam::kv_memory::{MemoryKv, MemoryView};
use bessemer_seam::mutants::{self, Mutant};
use bessemer_seam::state_store::{Checkpoint, Prepare, SnapshotFile, Staging, StateStore};

use crate::runtime::{Life, Sim};
use crate::seed::Rng;

/// Chance that a write is followed by a flush nobody asked for, in a million: a full memtable.
const BACKGROUND_FLUSH_PER_MILLION: u32 = 5_000;

struct Directory {
    rng: Rng,
    current: MemoryKv,
    newest: Option<(String, SimCheckpoint)>,
    /// By label: the files announced, and the bytes held of each.
    staged: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    counters: StateCounters,
}

/// What happened to the state, so that a run can show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StateCounters {
    pub checkpoints: u64,
    pub installs: u64,
    /// Snapshots of which a part was held already.
    pub resumed: u64,
    /// Checkpoints of which a bit turned over.
    pub rotten: u64,
}

/// A copy of a machine's state directory.
#[derive(Clone, Default)]
pub struct StateCopy {
    map: MemoryKv,
    newest: Option<(String, SimCheckpoint)>,
}

/// One machine's state directory. It outlives the lives of its node.
#[derive(Clone)]
pub struct StateDirectory {
    sim: Sim,
    directory: Arc<Mutex<Directory>>,
}

impl StateDirectory {
    pub fn new(sim: &Sim) -> StateDirectory {
        let directory = Directory {
            rng: sim.fork_rng(),
            current: MemoryKv::new(),
            newest: None,
            staged: BTreeMap::new(),
            counters: StateCounters::default(),
        };
        StateDirectory { sim: sim.clone(), directory: Arc::new(Mutex::new(directory)) }
    }

    fn lock(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory as the process of `life` sees it.
    pub fn open_for(&self, life: Life) -> SimStateStore {
        SimStateStore { directory: self.clone(), life }
    }

    /// Ends a process: what was not flushed is gone, and the ends of half received snapshots.
    pub fn crash(&self) {
        let mut directory = self.lock();
        directory.current = directory.current.crash();
        let Directory { rng, staged, .. } = &mut *directory;
        for held in staged.values_mut().flat_map(BTreeMap::values_mut) {
            let kept = rng.below(held.len() as u64 + 1) as usize;
            held.truncate(kept);
        }
    }

    /// What a copy of the directory, taken now, would hold.
    pub fn copy(&self) -> StateCopy {
        let directory = self.lock();
        StateCopy { map: directory.current.crash(), newest: directory.newest.clone() }
    }

    /// Puts a copy in the place of what the directory holds. The machine is off.
    pub fn restore(&self, copy: &StateCopy) {
        let mut directory = self.lock();
        directory.current = copy.map.crash();
        directory.newest = copy.newest.clone();
        directory.staged.clear();
    }

    /// Flips one bit of the newest checkpoint. False when there is none.
    pub fn rot_checkpoint(&self) -> bool {
        let mut guard = self.lock();
        let Directory { newest: Some((_, checkpoint)), rng, .. } = &mut *guard else {
            return false;
        };
        let mut contents = (*checkpoint.contents).clone();
        let mut files: Vec<&mut Vec<u8>> =
            contents.values_mut().filter(|bytes| !bytes.is_empty()).collect();
        if files.is_empty() {
            return false;
        }
        let file = rng.below(files.len() as u64) as usize;
        let place = rng.below(files[file].len() as u64) as usize;
        files[file][place] ^= 1 << rng.below(8);
        checkpoint.contents = Arc::new(contents);
        guard.counters.rotten += 1;
        true
    }

    /// The map as it is now, for the checks.
    pub fn map(&self) -> MemoryKv {
        self.lock().current.clone()
    }

    pub fn counters(&self) -> StateCounters {
        self.lock().counters
    }
}

/// A machine's state directory in one life.
#[derive(Clone)]
pub struct SimStateStore {
    directory: StateDirectory,
    life: Life,
}

impl SimStateStore {
    fn call(&self) -> io::Result<MutexGuard<'_, Directory>> {
        if self.directory.sim.is_alive(self.life) {
            Ok(self.directory.lock())
        } else {
            Err(io::Error::other("the machine is off"))
        }
    }

    fn kv(&self, map: MemoryKv) -> SimKv {
        SimKv { map, store: self.clone() }
    }
}

/// The map in one life.
#[derive(Clone)]
pub struct SimKv {
    map: MemoryKv,
    store: SimStateStore,
}

impl KvRead for SimKv {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.map.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        // A view frees `each` to look at the map.
        self.map.view().scan(table, from, to, each)
    }
}

impl Kv for SimKv {
    type View = MemoryView;

    fn view(&self) -> MemoryView {
        self.map.view()
    }

    fn write(&self, mut batch: WriteBatch) -> io::Result<()> {
        let flush = {
            let mut directory = self.store.call()?;
            if mutants::on(Mutant::WrongByteInState) && directory.rng.chance(20_000) {
                change_a_body(&mut batch);
            }
            directory.rng.chance(BACKGROUND_FLUSH_PER_MILLION)
        };
        self.map.write(batch)?;
        if flush { self.map.flush() } else { Ok(()) }
    }

    fn flush(&self) -> io::Result<()> {
        drop(self.store.call()?);
        self.map.flush()
    }
}

/// The mutant `WrongByteInState`: one bit of the last body in the batch.
fn change_a_body(batch: &mut WriteBatch) {
    for write in batch.writes.iter_mut().rev() {
        if let Write::Put { table: Table::Body, value, .. } = write
            && let Some(last) = value.last_mut()
        {
            *last ^= 1;
            return;
        }
    }
}

impl StateStore for SimStateStore {
    type Kv = SimKv;
    type Frozen = SimFrozen;
    type Checkpoint = SimCheckpoint;
    type Staging = SimStaging;

    fn open(&self) -> io::Result<SimKv> {
        let map = self.call()?.current.clone();
        Ok(self.kv(map))
    }

    fn freeze(&self, kv: &SimKv, label: &str) -> io::Result<SimFrozen> {
        let directory = self.call()?;
        kv.map.flush()?;
        let checkpoint = SimCheckpoint::of(&kv.map);
        Ok(SimFrozen { installs: directory.counters.installs, label: label.into(), checkpoint })
    }

    fn seal(&self, frozen: SimFrozen) -> io::Result<Option<SimCheckpoint>> {
        let mut directory = self.call()?;
        if directory.counters.installs != frozen.installs {
            return Ok(None);
        }
        directory.newest = Some((frozen.label, frozen.checkpoint.clone()));
        directory.counters.checkpoints += 1;
        Ok(Some(frozen.checkpoint))
    }

    fn latest(&self) -> io::Result<Option<(String, SimCheckpoint)>> {
        Ok(self.call()?.newest.clone())
    }

    fn stage(&self, label: &str, files: &[SnapshotFile]) -> io::Result<SimStaging> {
        let mut directory = self.call()?;
        // One snapshot is on its way at a time; what is left of another is of no use.
        directory.staged.retain(|staged, _| staged == label);
        let held = directory.staged.entry(label.to_string()).or_default();
        let resumed = held.values().any(|bytes| !bytes.is_empty());
        for file in files {
            held.entry(file.name.clone()).or_default();
        }
        directory.counters.resumed += u64::from(resumed);
        Ok(SimStaging { store: self.clone(), label: label.to_string(), files: files.to_vec() })
    }

    fn install(&self, staging: SimStaging, prepare: Prepare<'_, SimKv>) -> io::Result<SimKv> {
        let held = self.call()?.staged.get(&staging.label).cloned().unwrap_or_default();
        let mut pairs = Vec::new();
        for file in &staging.files {
            let bytes = held.get(&file.name).map_or(&[][..], Vec::as_slice);
            if !is_whole(bytes, file) {
                return Err(damaged(file));
            }
            decode(bytes, &mut pairs)?;
        }
        let kv = self.kv(MemoryKv::load(pairs));
        let checkpoint = SimCheckpoint::of(&kv.map);
        prepare(&kv)?;
        let mut directory = self.call()?;
        directory.staged.remove(&staging.label);
        directory.current = kv.map.clone();
        directory.newest = Some((staging.label, checkpoint));
        directory.counters.installs += 1;
        Ok(kv)
    }
}

/// A frozen map, one file per table.
#[derive(Clone)]
pub struct SimCheckpoint {
    files: Arc<Vec<SnapshotFile>>,
    contents: Arc<BTreeMap<String, Vec<u8>>>,
}

impl SimCheckpoint {
    fn of(map: &MemoryKv) -> SimCheckpoint {
        let mut contents: BTreeMap<String, Vec<u8>> =
            Table::ALL.iter().map(|table| (file_name(*table), Vec::new())).collect();
        for (table, key, value) in map.dump() {
            let into = contents.entry(file_name(table)).or_default();
            into.push(table as u8);
            for part in [&key, &value] {
                into.extend((part.len() as u32).to_be_bytes());
                into.extend(part);
            }
        }
        let files = contents
            .iter()
            .map(|(name, bytes)| SnapshotFile {
                name: name.clone(),
                bytes: bytes.len() as u64,
                crc: crc32c::crc32c(bytes),
            })
            .collect();
        SimCheckpoint { files: Arc::new(files), contents: Arc::new(contents) }
    }
}

fn file_name(table: Table) -> String {
    format!("{}.pairs", format!("{table:?}").to_lowercase())
}

/// Reads the pairs of one file.
fn decode(mut bytes: &[u8], into: &mut Vec<(Table, Vec<u8>, Vec<u8>)>) -> io::Result<()> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a pair of the snapshot is cut");
    let take = |bytes: &mut &[u8]| -> Option<Vec<u8>> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        *bytes = rest;
        Some(part.to_vec())
    };
    while let Some((number, rest)) = bytes.split_first() {
        bytes = rest;
        let table = Table::ALL.into_iter().find(|table| *table as u8 == *number);
        let pair = (table, take(&mut bytes), take(&mut bytes));
        let (Some(table), Some(key), Some(value)) = pair else { return Err(damaged()) };
        into.push((table, key, value));
    }
    Ok(())
}

impl Checkpoint for SimCheckpoint {
    fn files(&self) -> &[SnapshotFile] {
        &self.files
    }

    fn read_at(&self, file: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let contents = self.contents.get(file).ok_or(io::ErrorKind::NotFound)?;
        let offset = offset as usize;
        let found = contents.get(offset..offset + into.len());
        into.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A frozen map that is no checkpoint yet: a death forgets it.
pub struct SimFrozen {
    /// Installs before it.
    installs: u64,
    label: String,
    checkpoint: SimCheckpoint,
}

pub struct SimStaging {
    store: SimStateStore,
    label: String,
    files: Vec<SnapshotFile>,
}

impl Staging for SimStaging {
    fn held(&self, file: &str) -> u64 {
        let directory = self.store.directory.lock();
        let held = directory.staged.get(&self.label).and_then(|files| files.get(file));
        held.map_or(0, |bytes| bytes.len() as u64)
    }

    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut directory = self.store.call()?;
        let held = directory
            .staged
            .get_mut(&self.label)
            .and_then(|files| files.get_mut(file))
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, "the snapshot has no such file")
            })?;
        if offset != held.len() as u64 {
            let text = format!("{} bytes are held, not {offset}", held.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        held.extend_from_slice(data);
        Ok(())
    }

    fn verify(&mut self) -> io::Result<()> {
        let mut directory = self.store.call()?;
        let held = directory.staged.entry(self.label.clone()).or_default();
        for file in &self.files {
            let bytes = held.entry(file.name.clone()).or_default();
            if !is_whole(bytes, file) {
                bytes.clear();
                return Err(damaged(file));
            }
        }
        Ok(())
    }
}

fn is_whole(bytes: &[u8], file: &SnapshotFile) -> bool {
    bytes.len() as u64 == file.bytes && crc32c::crc32c(bytes) == file.crc
}

fn damaged(file: &SnapshotFile) -> io::Error {
    let text = format!("file {} of the snapshot is damaged", file.name);
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use bessemer_model::NodeId;

    use super::*;
    use crate::runtime::{Clock, SimRuntime};
    use crate::trace::TraceTo;

    fn store() -> (Sim, StateDirectory, SimStateStore) {
        let sim = SimRuntime::with_seed(1, TraceTo::Hash).sim();
        let directory = StateDirectory::new(&sim);
        let life = sim.begin_life(NodeId(1), Clock::exact());
        let store = directory.open_for(life);
        (sim, directory, store)
    }

    fn put(kv: &SimKv, key: &str, value: &str) {
        let mut batch = WriteBatch::default();
        batch.put(Table::Row, key, value);
        batch.put(Table::Body, key, "body");
        kv.write(batch).unwrap();
    }

    #[test]
    fn the_map_keeps_the_contract() {
        bessemer_seam::kv_suite::check(|| store().2.open().unwrap());
    }

    #[test]
    fn a_crash_falls_back_to_the_flush_or_to_the_newer_checkpoint() {
        let (_sim, directory, store) = store();
        let kv = store.open().unwrap();
        put(&kv, "a", "1");
        kv.flush().unwrap();
        put(&kv, "b", "2");
        directory.crash();
        let kv = store.open().unwrap();
        assert_eq!(kv.get(Table::Row, b"a").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(kv.get(Table::Row, b"b").unwrap(), None);
        put(&kv, "b", "2");
        store.checkpoint(&kv, "two").unwrap();
        directory.crash();
        assert_eq!(store.open().unwrap().map.dump().len(), 4);
        assert_eq!(store.latest().unwrap().unwrap().0, "two");
    }

    #[test]
    fn a_snapshot_travels_resumes_and_is_installed() {
        let (_sim, _directory, store) = store();
        let kv = store.open().unwrap();
        put(&kv, "a", "1");
        let checkpoint = store.checkpoint(&kv, "one").unwrap();
        put(&kv, "b", "2");
        let (_sim, directory, target) = self::store();
        for crash in [true, false] {
            let mut staging = target.stage("one", checkpoint.files()).unwrap();
            for file in checkpoint.files() {
                let held = staging.held(&file.name);
                let mut rest = vec![0; (file.bytes - held) as usize];
                checkpoint.read_at(&file.name, held, &mut rest).unwrap();
                staging.write(&file.name, held, &rest).unwrap();
            }
            if crash {
                directory.crash();
            } else {
                let installed = target.install(staging, &|_| Ok(())).unwrap();
                assert_eq!(installed.map.dump().len(), 2);
            }
        }
        assert_eq!(target.latest().unwrap().unwrap().0, "one");
        assert_eq!(target.open().unwrap().map.dump().len(), 2);
    }

    #[test]
    fn a_damaged_snapshot_is_refused_and_the_state_stays() {
        let (_sim, _directory, store) = store();
        let kv = store.open().unwrap();
        put(&kv, "a", "1");
        let checkpoint = store.checkpoint(&kv, "one").unwrap();
        let mut staging = store.stage("one", checkpoint.files()).unwrap();
        for file in checkpoint.files() {
            staging.write(&file.name, 0, &vec![7; file.bytes as usize]).unwrap();
        }
        let error = store.install(staging, &|_| Ok(())).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(store.open().unwrap().map.dump().len(), 2);
    }
}
