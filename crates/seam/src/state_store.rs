//! Where a group's state lives between runs, and how it travels as a snapshot.
//!
//! Not here: what the state means, or who receives it.
//! Invariants: `current` names one complete state at any moment; an install switches to the new
//! one or leaves the old, whatever crashes in between.

use std::io;

use crate::kv::Kv;

/// One file of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotFile {
    /// Relative, flat name: no separators.
    pub name: String,
    pub bytes: u64,
    /// crc32c of the content.
    pub crc: u32,
}

/// The state directory of one group. Every call blocks.
pub trait StateStore: Send + Sync + 'static {
    type Kv: Kv + Send + Sync;
    type Checkpoint: Checkpoint;
    type Staging: Staging;

    /// Opens the current state; an empty one when there is none.
    fn open(&self) -> io::Result<Self::Kv>;

    /// Freezes `kv` as it is now under `label`, as files that stay while the checkpoint is held.
    /// Flushes on the way: after a crash the current state is never older than a checkpoint of it.
    /// The newest checkpoint is found again after a restart; older ones end when dropped.
    fn checkpoint(&self, kv: &Self::Kv, label: &str) -> io::Result<Self::Checkpoint>;

    /// The newest complete checkpoint, with its label.
    fn latest(&self) -> io::Result<Option<(String, Self::Checkpoint)>>;

    /// Begins, or resumes, to receive a snapshot under `label`.
    fn stage(&self, label: &str, files: &[SnapshotFile]) -> io::Result<Self::Staging>;

    /// Checks a complete staging, makes it the current state and opens it. The snapshot also
    /// becomes the newest checkpoint.
    fn install(&self, staging: Self::Staging) -> io::Result<Self::Kv>;
}

/// A frozen state, readable file by file.
pub trait Checkpoint: Send + Sync + Clone + 'static {
    fn files(&self) -> &[SnapshotFile];

    /// Fills `into` from `offset` of `file`.
    fn read_at(&self, file: &str, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// A snapshot on its way in.
pub trait Staging: Send + 'static {
    /// How many bytes of `file` are held already: resume there.
    fn held(&self, file: &str) -> u64;

    /// Appends `data` at `offset`, which is `held(file)`.
    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> io::Result<()>;
}
