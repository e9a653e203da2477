//! State, checkpoints and stagings in memory; they survive a stop, and a power cut as of the last
//! flush.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use bessemer_seam::kv::{Kv, Table};
use bessemer_seam::kv_memory::MemoryKv;
use bessemer_seam::state_store::{Checkpoint, Prepare, SnapshotFile, Staging, StateStore};

type Files = BTreeMap<String, Vec<u8>>;

#[derive(Default)]
struct Inner {
    kv: Option<MemoryKv>,
    latest: Option<(String, MemoryCheckpoint)>,
    staging: Option<(String, Vec<SnapshotFile>, Files)>,
    installs: usize,
    resumed_bytes: u64,
}

/// One node's state directory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryState {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Clone)]
pub struct MemoryCheckpoint {
    list: Vec<SnapshotFile>,
    files: Arc<Files>,
}

pub struct MemoryFrozen {
    /// Installs before it.
    installs: usize,
    label: String,
    checkpoint: MemoryCheckpoint,
}

pub struct MemoryStaging {
    inner: Arc<Mutex<Inner>>,
    label: String,
}

fn sum(content: &[u8]) -> u32 {
    content.iter().map(|byte| u32::from(*byte)).sum()
}

/// Splits the dump into a few files, so that transfers have something to resume.
fn files_of(kv: &MemoryKv) -> Files {
    let mut files = Files::new();
    for (number, (table, key, value)) in kv.dump().into_iter().enumerate() {
        let file = files.entry(format!("part-{}", number % 4)).or_default();
        let table = Table::ALL.iter().position(|other| *other == table).unwrap() as u8;
        file.push(table);
        for bytes in [key, value] {
            file.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            file.extend_from_slice(&bytes);
        }
    }
    files
}

fn kv_of(files: &Files) -> MemoryKv {
    let mut pairs = Vec::new();
    for mut rest in files.values().map(Vec::as_slice) {
        let block = |rest: &mut &[u8]| {
            let bytes = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let block = rest[4..4 + bytes].to_vec();
            *rest = &rest[4 + bytes..];
            block
        };
        while !rest.is_empty() {
            let table = Table::ALL[rest[0] as usize];
            rest = &rest[1..];
            let key = block(&mut rest);
            pairs.push((table, key, block(&mut rest)));
        }
    }
    MemoryKv::load(pairs)
}

impl MemoryState {
    /// What is left after a power cut.
    pub fn crash(&self) -> MemoryState {
        let inner = self.inner.lock().unwrap();
        let inner = Inner {
            kv: inner.kv.as_ref().map(MemoryKv::crash),
            latest: inner.latest.clone(),
            staging: inner.staging.clone(),
            ..Inner::default()
        };
        MemoryState { inner: Arc::new(Mutex::new(inner)) }
    }

    pub fn installs(&self) -> usize {
        self.inner.lock().unwrap().installs
    }

    /// Bytes received of a snapshot that is not installed yet.
    pub fn staged_bytes(&self) -> u64 {
        let inner = self.inner.lock().unwrap();
        let files = inner.staging.iter().flat_map(|(_, _, files)| files.values());
        files.map(|content| content.len() as u64).sum()
    }

    /// Bytes that were held already when a staging was resumed.
    pub fn resumed_bytes(&self) -> u64 {
        self.inner.lock().unwrap().resumed_bytes
    }
}

impl StateStore for MemoryState {
    type Kv = MemoryKv;
    type Frozen = MemoryFrozen;
    type Checkpoint = MemoryCheckpoint;
    type Staging = MemoryStaging;

    fn open(&self) -> io::Result<MemoryKv> {
        Ok(self.inner.lock().unwrap().kv.get_or_insert_with(MemoryKv::new).clone())
    }

    fn freeze(&self, kv: &MemoryKv, label: &str) -> io::Result<MemoryFrozen> {
        kv.flush()?;
        let files = files_of(kv);
        let file = |(name, content): (&String, &Vec<u8>)| SnapshotFile {
            name: name.clone(),
            bytes: content.len() as u64,
            crc: sum(content),
        };
        let list = files.iter().map(file).collect();
        let checkpoint = MemoryCheckpoint { list, files: Arc::new(files) };
        let installs = self.inner.lock().unwrap().installs;
        Ok(MemoryFrozen { installs, label: label.to_owned(), checkpoint })
    }

    fn seal(&self, frozen: MemoryFrozen) -> io::Result<Option<MemoryCheckpoint>> {
        let mut inner = self.inner.lock().unwrap();
        if inner.installs != frozen.installs {
            return Ok(None);
        }
        inner.latest = Some((frozen.label, frozen.checkpoint.clone()));
        Ok(Some(frozen.checkpoint))
    }

    fn latest(&self) -> io::Result<Option<(String, MemoryCheckpoint)>> {
        Ok(self.inner.lock().unwrap().latest.clone())
    }

    fn stage(&self, label: &str, files: &[SnapshotFile]) -> io::Result<MemoryStaging> {
        let mut inner = self.inner.lock().unwrap();
        let resumed = match &inner.staging {
            Some((other, list, held)) if other == label && list == files => {
                held.values().map(|content| content.len() as u64).sum()
            }
            _ => {
                inner.staging = Some((label.to_owned(), files.to_vec(), Files::new()));
                0
            }
        };
        inner.resumed_bytes += resumed;
        Ok(MemoryStaging { inner: self.inner.clone(), label: label.to_owned() })
    }

    fn install(
        &self,
        staging: MemoryStaging,
        prepare: Prepare<'_, MemoryKv>,
    ) -> io::Result<MemoryKv> {
        let mut inner = self.inner.lock().unwrap();
        let (label, list, files) = inner.staging.take().expect("a staging was begun");
        assert_eq!(label, staging.label);
        for file in &list {
            let held = files.get(&file.name).map_or(&[][..], Vec::as_slice);
            if held.len() as u64 != file.bytes {
                return Err(io::Error::other("the staging is not complete"));
            }
        }
        let kv = kv_of(&files);
        prepare(&kv)?;
        let checkpoint = MemoryCheckpoint { list, files: Arc::new(files) };
        inner.kv = Some(kv.clone());
        inner.latest = Some((label, checkpoint));
        inner.installs += 1;
        Ok(kv)
    }
}

impl Checkpoint for MemoryCheckpoint {
    fn files(&self) -> &[SnapshotFile] {
        &self.list
    }

    fn read_at(&self, file: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        into.copy_from_slice(&self.files[file][offset..offset + into.len()]);
        Ok(())
    }
}

impl Staging for MemoryStaging {
    fn held(&self, file: &str) -> u64 {
        let inner = self.inner.lock().unwrap();
        let (_, _, files) = inner.staging.as_ref().expect("a staging was begun");
        files.get(file).map_or(0, |content| content.len() as u64)
    }

    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        let (_, _, files) = inner.staging.as_mut().expect("a staging was begun");
        let content = files.entry(file.to_owned()).or_default();
        assert_eq!(content.len() as u64, offset);
        content.extend_from_slice(data);
        Ok(())
    }

    fn verify(&mut self) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        let (_, list, files) = inner.staging.as_mut().expect("a staging was begun");
        let damaged: Vec<String> = list
            .iter()
            .filter(|file| sum(files.get(&file.name).map_or(&[], Vec::as_slice)) != file.crc)
            .map(|file| file.name.clone())
            .collect();
        damaged.iter().for_each(|name| drop(files.remove(name)));
        if damaged.is_empty() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
