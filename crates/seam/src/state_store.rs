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

/// Writes to a state that is about to be the current one, and flushes what it wrote.
pub type Prepare<'a, K> = &'a dyn Fn(&K) -> io::Result<()>;

/// The state directory of one group. Every call blocks.
pub trait StateStore: Send + Sync + 'static {
    type Kv: Kv + Send + Sync;
    /// A state frozen by `freeze` and not yet a checkpoint. Dropped, it leaves nothing behind.
    type Frozen: Send + Sync + 'static;
    type Checkpoint: Checkpoint;
    type Staging: Staging;

    /// Opens the current state; an empty one when there is none.
    fn open(&self) -> io::Result<Self::Kv>;

    /// Freezes `kv` as it is now under `label`: the short half of a checkpoint, for the one who
    /// writes. Flushes on the way: after a crash the current state is never older than a
    /// checkpoint of it.
    fn freeze(&self, kv: &Self::Kv, label: &str) -> io::Result<Self::Frozen>;

    /// Makes a checkpoint of what was frozen: sums, durability. Writes go on meanwhile. The newest
    /// checkpoint is found again after a restart; older ones end when dropped. `None` when another
    /// state was installed, or a newer checkpoint was made, since.
    fn seal(&self, frozen: Self::Frozen) -> io::Result<Option<Self::Checkpoint>>;

    /// Both halves at once.
    fn checkpoint(&self, kv: &Self::Kv, label: &str) -> io::Result<Self::Checkpoint> {
        let sealed = self.seal(self.freeze(kv, label)?)?;
        sealed.ok_or_else(|| io::Error::other("the state was replaced while it was frozen"))
    }

    /// The newest complete checkpoint, with its label.
    fn latest(&self) -> io::Result<Option<(String, Self::Checkpoint)>>;

    /// Begins, or resumes, to receive a snapshot under `label`. Whole files of an earlier snapshot
    /// that have the same name, size and sum count as held.
    fn stage(&self, label: &str, files: &[SnapshotFile]) -> io::Result<Self::Staging>;

    /// Checks a complete staging, if that was not done, opens it, lets `prepare` write to it, and
    /// makes it the current state. The snapshot as it came also becomes the newest checkpoint. An
    /// error of `prepare` leaves the former state.
    fn install(
        &self,
        staging: Self::Staging,
        prepare: Prepare<'_, Self::Kv>,
    ) -> io::Result<Self::Kv>;
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

    /// Checks that all is there and undamaged. `InvalidData` when something is damaged: it is
    /// dropped, to be received again.
    fn verify(&mut self) -> io::Result<()>;
}
