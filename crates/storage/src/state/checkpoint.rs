//! A frozen state, as files that do not change while somebody holds them.
//!
//! Not here: when one is made, and which is the newest (`store`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bessemer_seam::state_store::{Checkpoint, SnapshotFile};

use super::manifest::{FILES_DIR, Manifest, TABLE_ENDING};
use crate::files::{self, Context, HeldDir};

/// Clones share the files. Those of a checkpoint that is no longer the newest go with its last
/// clone.
#[derive(Clone, Debug)]
pub struct RocksCheckpoint {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    manifest: Manifest,
    dir: HeldDir,
}

impl RocksCheckpoint {
    /// The checkpoint whose manifest is written in `dir`.
    pub(super) fn new(manifest: Manifest, dir: HeldDir) -> RocksCheckpoint {
        RocksCheckpoint { shared: Arc::new(Shared { manifest, dir }) }
    }

    /// Finds the checkpoint in `dir` again. `InvalidData` when a file is missing or has another
    /// size; contents are checked by whoever installs them.
    pub(super) fn find(dir: PathBuf) -> io::Result<RocksCheckpoint> {
        let manifest = Manifest::read(&dir)?.ok_or_else(|| damaged(&dir, "its manifest"))?;
        for file in &manifest.files {
            let path = dir.join(FILES_DIR).join(&file.name);
            if fs::metadata(&path).ok().is_none_or(|found| found.len() != file.bytes) {
                return Err(damaged(&dir, &file.name));
            }
        }
        Ok(RocksCheckpoint::new(manifest, HeldDir::kept(dir)))
    }

    pub(super) fn label(&self) -> &str {
        &self.shared.manifest.label
    }

    pub(super) fn dir(&self) -> &HeldDir {
        &self.shared.dir
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.shared.dir.path().join(FILES_DIR).join(name)
    }
}

impl Checkpoint for RocksCheckpoint {
    fn files(&self) -> &[SnapshotFile] {
        &self.shared.manifest.files
    }

    fn read_at(&self, file: &str, offset: u64, into: &mut [u8]) -> io::Result<()> {
        if self.shared.manifest.file(file).is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("checkpoint {} has no file {file:?}", self.label()),
            ));
        }
        let path = self.path_of(file);
        File::open(&path).and_then(|open| open.read_exact_at(into, offset)).context("read", &path)
    }
}

/// Lists the files in `dir` with their sums, made durable. Does not read tables that `previous`
/// holds: two links to one file have one content, and a table is never written again.
pub(super) fn describe(
    dir: &Path,
    previous: Option<&RocksCheckpoint>,
) -> io::Result<Vec<SnapshotFile>> {
    let mut described = Vec::new();
    for name in files::names(dir)? {
        let path = dir.join(&name);
        let known = previous.and_then(|previous| {
            let file = previous.shared.manifest.file(&name)?;
            let same =
                name.ends_with(TABLE_ENDING) && is_same_file(&path, &previous.path_of(&name));
            same.then(|| file.clone())
        });
        let file = match known {
            Some(file) => file,
            None => {
                files::sync_file(&path)?;
                let (bytes, crc) = files::sum_file(&path)?;
                SnapshotFile { name, bytes, crc }
            }
        };
        described.push(file);
    }
    files::sync_dir(dir)?;
    Ok(described)
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        // A file that cannot be compared is read.
        _ => false,
    }
}

fn damaged(dir: &Path, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "the newest checkpoint, {}, is damaged: {what} is missing or has a wrong size; replace this node under a new id with an empty directory",
            dir.display()
        ),
    )
}
