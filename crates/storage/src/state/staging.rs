//! A snapshot on its way in: files that grow until they are whole.
//!
//! Not here: who sends it; making it the state (`store`).
//! Invariants: `held(file)` bytes of a file are written, never more than the manifest says; what
//! a crash leaves is judged by its sum before it becomes anything.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bessemer_seam::state_store::{SnapshotFile, Staging};

use super::manifest::{FILES_DIR, Manifest, TABLE_ENDING, invalid};
use crate::files::{self, Context};

/// One per store: after another snapshot was begun, this one can no longer be installed.
#[derive(Debug)]
pub struct RocksStaging {
    dir: PathBuf,
    manifest: Manifest,
    /// Bytes held of every file of the manifest.
    held: BTreeMap<String, u64>,
    /// The file last written to.
    open: Option<(String, File)>,
    /// All is there, undamaged and durable.
    verified: bool,
}

impl RocksStaging {
    /// Resumes the staging in `dir` if it is of the same files, else begins it anew.
    pub(super) fn resume(dir: PathBuf, manifest: Manifest) -> io::Result<RocksStaging> {
        // A manifest torn or of other files tells nothing about the files beside it.
        let same = Manifest::read(&dir).ok().flatten().is_some_and(|found| found == manifest);
        let files = dir.join(FILES_DIR);
        if !same {
            files::remove_dir(&dir)?;
            files::create_dir(&files)?;
            manifest.write(&dir)?;
        }
        let mut held = BTreeMap::new();
        for file in &manifest.files {
            held.insert(file.name.clone(), held_of(&files.join(&file.name), file)?);
        }
        Ok(RocksStaging { dir, manifest, held, open: None, verified: false })
    }

    /// Takes over, as links, the whole tables of the checkpoint or staging in `dir` that the
    /// manifests say are the same and that are not held yet. Tables never change.
    pub(super) fn adopt(&mut self, dir: &Path) -> io::Result<()> {
        // Without a manifest nothing is known of the files.
        let Some(theirs) = Manifest::read(dir).ok().flatten() else { return Ok(()) };
        for file in &self.manifest.files {
            let is_missing = self.held.get(&file.name) == Some(&0) && file.bytes > 0;
            let is_table = file.name.ends_with(TABLE_ENDING);
            if !is_missing || !is_table || theirs.file(&file.name) != Some(file) {
                continue;
            }
            let (from, to) = (dir.join(FILES_DIR).join(&file.name), self.path_of(&file.name));
            if fs::metadata(&from).is_ok_and(|found| found.len() == file.bytes) {
                fs::remove_file(&to).context("remove", &to)?;
                fs::hard_link(&from, &to).context("link", &to)?;
                self.held.insert(file.name.clone(), file.bytes);
            }
        }
        Ok(())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn check_all(&self) -> io::Result<()> {
        let missing = |file: &&SnapshotFile| self.held(&file.name) != file.bytes;
        if let Some(file) = self.manifest.files.iter().find(missing) {
            return Err(invalid(format!(
                "snapshot {} is incomplete: {} of {} bytes of {} are here",
                self.manifest.label,
                self.held(&file.name),
                file.bytes,
                file.name
            )));
        }
        let mut damaged = None;
        for file in &self.manifest.files {
            let path = self.path_of(&file.name);
            if files::sum_file(&path)? == (file.bytes, file.crc) {
                files::sync_file(&path)?;
            } else {
                fs::remove_file(&path).context("remove", &path)?;
                damaged = Some(&file.name);
            }
        }
        files::sync_dir(&self.dir.join(FILES_DIR))?;
        match damaged {
            None => Ok(()),
            Some(name) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "file {name} of snapshot {} arrived damaged; it was dropped, receive it again",
                    self.manifest.label
                ),
            )),
        }
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.dir.join(FILES_DIR).join(name)
    }

    fn open(&mut self, name: &str) -> io::Result<&File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            let path = self.path_of(name);
            let file = File::options().write(true).open(&path).context("open", &path)?;
            self.open = Some((name.to_owned(), file));
        }
        Ok(&self.open.as_ref().expect("just opened").1)
    }
}

impl Staging for RocksStaging {
    /// 0 for a file that is not part of the snapshot.
    fn held(&self, file: &str) -> u64 {
        self.held.get(file).copied().unwrap_or(0)
    }

    /// A file that becomes whole is made durable at once. `InvalidInput` for another offset than
    /// `held(file)`, bytes past the file's end, or a file that is not part of the snapshot.
    fn write(&mut self, file: &str, offset: u64, data: &[u8]) -> io::Result<()> {
        let label = &self.manifest.label;
        let Some(bytes) = self.manifest.file(file).map(|expected| expected.bytes) else {
            return Err(invalid(format!("snapshot {label} has no file {file:?}")));
        };
        let held = self.held(file);
        let room = bytes - held;
        let length = data.len() as u64;
        if offset != held || length > room {
            return Err(invalid(format!(
                "{length} bytes at {offset} do not continue {file} of snapshot {label}: {held} of {bytes} bytes are here"
            )));
        }
        let path = self.path_of(file);
        let open = self.open(file)?;
        open.write_all_at(data, offset).context("write", &path)?;
        if length == room {
            open.sync_all().context("sync the file", &path)?;
        }
        self.held.insert(file.to_owned(), held + length);
        self.verified = false;
        Ok(())
    }

    /// Also makes everything durable. `InvalidInput` when bytes are missing. Reads everything, once.
    fn verify(&mut self) -> io::Result<()> {
        if !self.verified {
            self.check_all()?;
            self.verified = true;
        }
        Ok(())
    }
}

/// Bytes of `file` found at `path`; made empty there when it is missing or cannot be a part of it.
fn held_of(path: &Path, file: &SnapshotFile) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(found) if found.len() <= file.bytes => return Ok(found.len()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context("look at", path),
    }
    File::create(path).map(|_| 0).context("create", path)
}
