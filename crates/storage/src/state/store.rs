//! The directory of a group's state.
//!
//! ```text
//! CURRENT                  names the state and the newest checkpoint; the one switch
//! lock                     held by the process that opened the store
//! state-<n>/               a map
//! checkpoints/<n>-<label>/ manifest, files/
//! staging/<label>/         manifest, files/: a snapshot on its way in
//! ```
//!
//! Not here: what the state means; when to checkpoint; who sends snapshots.
//! Invariants: `CURRENT` names a complete state and a complete checkpoint, always; both change in
//! one rename; numbers of directories in use are never given twice; whatever `CURRENT` does not
//! name is garbage, except stagings, and swept when the store is opened.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bessemer_seam::state_store::{Prepare, SnapshotFile, Staging, StateStore};

use super::checkpoint::{RocksCheckpoint, describe};
use super::kv::{OpenMap, RocksKv};
use super::manifest::{FILES_DIR, Manifest, TABLE_ENDING, invalid};
use super::options::{StorageOptions, Tuning};
use super::pointer::{POINTER_FILE, Pointer};
use super::staging::RocksStaging;
use crate::files::{self, Context, DirLock, HeldDir};

const CHECKPOINTS_DIR: &str = "checkpoints";
const STAGING_DIR: &str = "staging";
const STATE_PREFIX: &str = "state-";
/// Ending of the first state while it is made.
const NEW: &str = ".new";
const FIRST_STATE: u64 = 1;

/// The store of one group. Opened once: a second opener gets `ResourceBusy`.
pub struct RocksStore {
    dir: PathBuf,
    tuning: Tuning,
    inner: Mutex<Inner>,
    _lock: DirLock,
    /// Told the name of each step of a change that a crash may follow.
    #[cfg(test)]
    pub(super) probe: Mutex<Box<dyn FnMut(&'static str) + Send>>,
}

/// Follows `CURRENT`: changed only after it was written.
struct Inner {
    state: u64,
    state_dir: Arc<HeldDir>,
    /// The current state, while somebody has it open.
    open: Weak<OpenMap>,
    latest: Option<RocksCheckpoint>,
    /// Number of the newest checkpoint; 0 when there is none.
    newest: u64,
    /// Numbers no directory bears: larger than all before.
    next_state: u64,
    next_checkpoint: u64,
}

/// A state frozen under a number and a label. Its files go when it is dropped.
#[derive(Debug)]
pub struct RocksFrozen {
    /// Number of the state it was taken from.
    state: u64,
    number: u64,
    label: String,
    dir: HeldDir,
}

impl RocksStore {
    /// Opens the store in `dir`, made when it is missing, and sweeps what earlier crashes left.
    ///
    /// `InvalidData` when what is found cannot be a store: `CURRENT` damaged, or missing beside
    /// data, or the checkpoint it names incomplete.
    pub fn open(dir: &Path, options: StorageOptions) -> io::Result<RocksStore> {
        files::create_dir(dir)?;
        let lock = DirLock::claim(dir)?;
        files::create_dir(&dir.join(CHECKPOINTS_DIR))?;
        files::create_dir(&dir.join(STAGING_DIR))?;
        let tuning = Tuning::new(options);
        let pointer = match Pointer::read(dir)? {
            Some(pointer) => pointer,
            None => begin(dir, &tuning)?,
        };
        let state_dir = dir.join(state_name(pointer.state));
        let checkpoint = pointer.checkpoint.as_ref();
        let checkpoint = checkpoint.map(|name| dir.join(CHECKPOINTS_DIR).join(name));
        let latest = checkpoint.map(RocksCheckpoint::find).transpose()?;
        sweep(dir, &pointer)?;
        let newest = pointer.checkpoint.as_deref().and_then(number_of).unwrap_or(0);
        let inner = Inner {
            state: pointer.state,
            state_dir: Arc::new(HeldDir::kept(state_dir)),
            open: Weak::new(),
            latest,
            next_state: pointer.state + 1,
            newest,
            next_checkpoint: newest + 1,
        };
        Ok(RocksStore {
            dir: dir.to_owned(),
            tuning,
            inner: Mutex::new(inner),
            _lock: lock,
            #[cfg(test)]
            probe: Mutex::new(Box::new(|_| {})),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, _name: &'static str) {
        #[cfg(test)]
        (self.probe.lock().unwrap_or_else(PoisonError::into_inner))(_name);
    }

    /// The directory of a checkpoint to be, under the next number. It is condemned until `switch`
    /// names it.
    fn next_checkpoint(&self, inner: &mut Inner, label: &str) -> io::Result<(u64, HeldDir)> {
        let number = inner.next_checkpoint;
        let parent = self.dir.join(CHECKPOINTS_DIR);
        let dir = HeldDir::condemned(parent.join(format!("{number}-{label}")));
        inner.next_checkpoint += 1;
        files::create_dir(dir.path())?;
        Ok((number, dir))
    }

    /// Writes the manifest of the checkpoint in `dir`, whose `files` are there.
    fn write_manifest(
        &self,
        dir: HeldDir,
        label: &str,
        files: &[SnapshotFile],
    ) -> io::Result<RocksCheckpoint> {
        self.step("checkpoint filled");
        let manifest = Manifest::checked(label, files)?;
        manifest.write(dir.path())?;
        self.step("checkpoint sealed");
        Ok(RocksCheckpoint::new(manifest, dir))
    }

    /// Lets `CURRENT` name state number `state` and `checkpoint`; the former newest checkpoint
    /// ends with its last holder.
    fn switch(
        &self,
        inner: &mut Inner,
        state: u64,
        number: u64,
        checkpoint: RocksCheckpoint,
    ) -> io::Result<()> {
        // Kept before the rename: if that fails, either may be the one on disk.
        checkpoint.dir().keep();
        let name = checkpoint.dir().path().file_name().expect("it was made under a name");
        let name = name.to_str().expect("labels are ASCII").to_owned();
        Pointer { state, checkpoint: Some(name) }.write(&self.dir)?;
        inner.state = state;
        inner.newest = number;
        if let Some(former) = inner.latest.replace(checkpoint) {
            former.dir().condemn();
        }
        self.step("switched");
        Ok(())
    }

    /// Makes the directory of the next state from the files of `staging`.
    fn make_state(&self, inner: &mut Inner, staging: &RocksStaging) -> io::Result<Arc<HeldDir>> {
        let number = inner.next_state;
        inner.next_state += 1;
        let dir = Arc::new(HeldDir::condemned(self.dir.join(state_name(number))));
        files::create_dir(dir.path())?;
        for file in &staging.manifest().files {
            let from = staging.dir().join(FILES_DIR).join(&file.name);
            let to = dir.path().join(&file.name);
            // Tables never change. Everything else may be written to by the opened map.
            if file.name.ends_with(TABLE_ENDING) {
                fs::hard_link(&from, &to).context("link", &to)?;
            } else {
                fs::copy(&from, &to).context("copy to", &to)?;
                files::sync_file(&to)?;
            }
        }
        files::sync_dir(dir.path())?;
        Ok(dir)
    }
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl StateStore for RocksStore {
    type Kv = RocksKv;
    type Frozen = RocksFrozen;
    type Checkpoint = RocksCheckpoint;
    type Staging = RocksStaging;

    /// While the state is open already, another handle to the same map.
    fn open(&self) -> io::Result<RocksKv> {
        let mut inner = self.lock();
        if let Some(open) = inner.open.upgrade() {
            return Ok(RocksKv::from_open(open));
        }
        let kv = RocksKv::open_dir(inner.state_dir.clone(), &self.tuning, false)?;
        inner.open = Arc::downgrade(kv.opened());
        Ok(kv)
    }

    /// `label` is 1..=128 letters, digits, `-`, `_`, `.`, not beginning with a dot. Costs a flush
    /// and a hard link per file.
    fn freeze(&self, kv: &RocksKv, label: &str) -> io::Result<RocksFrozen> {
        Manifest::checked(label, &[])?;
        let mut inner = self.lock();
        let current = inner.open.upgrade();
        if !current.is_some_and(|current| Arc::ptr_eq(&current, kv.opened())) {
            return Err(invalid(format!(
                "checkpoint {label}: the map in {} is not the current state",
                kv.opened().path().display()
            )));
        }
        let state = inner.state;
        let (number, dir) = self.next_checkpoint(&mut inner, label)?;
        drop(inner);
        kv.freeze(&dir.path().join(FILES_DIR))?;
        Ok(RocksFrozen { state, number, label: label.to_owned(), dir })
    }

    /// Costs reading the files that are new since the checkpoint before.
    fn seal(&self, frozen: RocksFrozen) -> io::Result<Option<RocksCheckpoint>> {
        let RocksFrozen { state, number, label, dir } = frozen;
        let latest = self.lock().latest.clone();
        let files = describe(&dir.path().join(FILES_DIR), latest.as_ref())?;
        let checkpoint = self.write_manifest(dir, &label, &files)?;
        let mut inner = self.lock();
        if inner.state != state || inner.newest > number {
            return Ok(None);
        }
        self.switch(&mut inner, state, number, checkpoint.clone())?;
        Ok(Some(checkpoint))
    }

    fn latest(&self) -> io::Result<Option<(String, RocksCheckpoint)>> {
        let latest = self.lock().latest.clone();
        Ok(latest.map(|checkpoint| (checkpoint.label().to_owned(), checkpoint)))
    }

    /// Ends a staging of another label: there is one at a time. Resumes, also after a restart,
    /// when `files` are the same as before; takes over whole tables of the ended staging and of
    /// the newest checkpoint.
    /// `InvalidInput` when `label` or a file's name is not a plain name.
    fn stage(&self, label: &str, files: &[SnapshotFile]) -> io::Result<RocksStaging> {
        let manifest = Manifest::checked(label, files)?;
        let inner = self.lock();
        let parent = self.dir.join(STAGING_DIR);
        let mut staging = RocksStaging::resume(parent.join(label), manifest)?;
        if let Some(latest) = &inner.latest {
            staging.adopt(latest.dir().path())?;
        }
        for name in files::names(&parent)? {
            if name != label {
                staging.adopt(&parent.join(&name))?;
                files::remove_dir(&parent.join(name))?;
            }
        }
        Ok(staging)
    }

    /// `InvalidInput` when bytes are missing; `InvalidData` when a file's sum is wrong or the
    /// files are no state. After either, the former state is current still, and `stage` of the
    /// same label resumes with the files that were good. The former map stays readable to those
    /// who have it open; its files go with the last of them.
    fn install(
        &self,
        mut staging: RocksStaging,
        prepare: Prepare<'_, RocksKv>,
    ) -> io::Result<RocksKv> {
        staging.verify()?;
        self.step("verified");
        let mut inner = self.lock();
        let state = inner.next_state;
        let state_dir = self.make_state(&mut inner, &staging)?;
        self.step("state made");
        let kv = RocksKv::open_dir(state_dir.clone(), &self.tuning, false)?;
        prepare(&kv)?;
        self.step("state opened");
        let manifest = staging.manifest();
        let (number, dir) = self.next_checkpoint(&mut inner, &manifest.label)?;
        link_all(&staging.dir().join(FILES_DIR), &dir.path().join(FILES_DIR))?;
        let checkpoint = self.write_manifest(dir, &manifest.label, &manifest.files)?;
        state_dir.keep();
        self.switch(&mut inner, state, number, checkpoint)?;
        let former = std::mem::replace(&mut inner.state_dir, state_dir);
        former.condemn();
        inner.open = Arc::downgrade(kv.opened());
        // The state is installed; what cannot be removed now goes with the next staging.
        files::remove_dir(staging.dir()).ok();
        self.step("staging removed");
        Ok(kv)
    }
}

/// Makes the first, empty state and the first pointer.
///
/// A complete first state without a pointer is what a crash just before the pointer leaves: it is
/// taken. Anything more is a store whose pointer was lost, and nothing is touched.
fn begin(dir: &Path, tuning: &Tuning) -> io::Result<Pointer> {
    let first = state_name(FIRST_STATE);
    let foreign = |name: &String| is_state(name) && *name != first;
    let used = files::names(dir)?.iter().any(foreign)
        || !files::names(&dir.join(CHECKPOINTS_DIR))?.is_empty();
    if used {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{} holds states but no file {POINTER_FILE}; bring the file back, or replace this node under a new id with an empty directory",
                dir.display()
            ),
        ));
    }
    let path = dir.join(&first);
    if !path.exists() {
        let new = dir.join(first + NEW);
        files::remove_dir(&new)?;
        files::create_dir(&new)?;
        drop(RocksKv::open_dir(Arc::new(HeldDir::kept(new.clone())), tuning, true)?);
        files::sync_dir(&new)?;
        fs::rename(&new, &path).context("put in place", &path)?;
        files::sync_dir(dir)?;
    }
    let pointer = Pointer { state: FIRST_STATE, checkpoint: None };
    pointer.write(dir)?;
    Ok(pointer)
}

/// Removes states and checkpoints that `pointer` does not name.
fn sweep(dir: &Path, pointer: &Pointer) -> io::Result<()> {
    let state = state_name(pointer.state);
    for name in files::names(dir)? {
        if name.starts_with(STATE_PREFIX) && name != state {
            files::remove_dir(&dir.join(name))?;
        }
    }
    let checkpoints = dir.join(CHECKPOINTS_DIR);
    for name in files::names(&checkpoints)? {
        if pointer.checkpoint.as_ref() != Some(&name) {
            files::remove_dir(&checkpoints.join(name))?;
        }
    }
    Ok(())
}

/// Makes the directory `to` with a hard link to every file in `from`.
fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    files::create_dir(to)?;
    for name in files::names(from)? {
        let link = to.join(&name);
        fs::hard_link(from.join(&name), &link).context("link", &link)?;
    }
    files::sync_dir(to)
}

fn state_name(number: u64) -> String {
    format!("{STATE_PREFIX}{number}")
}

/// Whether `name` is that of a complete state.
fn is_state(name: &str) -> bool {
    name.strip_prefix(STATE_PREFIX).is_some_and(|number| number.parse::<u64>().is_ok())
}

/// The number in a checkpoint's directory name.
fn number_of(name: &str) -> Option<u64> {
    name.split('-').next()?.parse().ok()
}
