//! Files and directories, made durable step by step.
//!
//! Not here: what is in them.
//! Invariants: when a function that says "durable" returns `Ok`, a power loss cannot undo it; a
//! file replaced by `replace_file` is the old or the new one, never a mixture.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes read at a time when a whole file is summed.
const READ_BYTES: usize = 256 << 10;
/// Ending of a file that is not yet in place.
const NEW: &str = ".new";
const LOCK_FILE: &str = "lock";

/// Says in an error what was tried and on which path.
pub(crate) trait Context<T> {
    fn context(self, doing: &str, path: &Path) -> io::Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, doing: &str, path: &Path) -> io::Result<T> {
        self.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot {doing} {}: {error}", path.display()))
        })
    }
}

/// Makes the names in directory `path` durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).context("sync the directory", path)
}

/// Makes the content of the file at `path` durable.
pub(crate) fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|file| file.sync_all()).context("sync the file", path)
}

/// Puts `bytes` at `path`, durably, in place of what was there.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().expect("a file has a name").to_os_string();
    name.push(NEW);
    let new = path.with_file_name(name);
    let mut file = File::create(&new).context("create", &new)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).context("write", &new)?;
    fs::rename(&new, path).context("put in place", path)?;
    sync_dir(path.parent().expect("a file is in a directory"))
}

/// Makes the directory `path` and its parents, each name durable.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        // The root is there.
        None => return Ok(()),
    };
    if path.is_dir() {
        // Whoever made it may have been killed before its name was durable. A parent that is not
        // ours to read was not ours to write either.
        return match sync_dir(parent) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        };
    }
    if !parent.is_dir() {
        create_dir(parent)?;
    }
    fs::create_dir(path).context("create the directory", path)?;
    sync_dir(parent)
}

/// Removes the directory `path` with all it holds; nothing when there is none.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.context("remove the directory", path),
    }
}

/// Names in the directory `path`, in ascending order. Names that are not UTF-8 are none of ours
/// and left out.
pub(crate) fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).context("list", path)? {
        names.extend(entry.context("list", path)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The whole file, or `None` when there is none.
pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("read", path),
    }
}

/// Length in bytes and crc32c of the file at `path`. Reads all of it.
pub(crate) fn sum_file(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path).context("open", path)?;
    let mut buffer = vec![0; READ_BYTES];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let read = file.read(&mut buffer).context("read", path)?;
        if read == 0 {
            return Ok((bytes, crc));
        }
        bytes += read as u64;
        crc = crc32c::crc32c_append(crc, &buffer[..read]);
    }
}

/// This process's claim on a directory, held until dropped or the process ends.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Claims `dir`. `ResourceBusy` when another opener, here or elsewhere, holds it.
    pub(crate) fn claim(dir: &Path) -> io::Result<DirLock> {
        let path = dir.join(LOCK_FILE);
        let file = File::options().create(true).append(true).open(&path).context("open", &path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DirLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "{} is in use by another process; stop it or choose another directory",
                    dir.display()
                ),
            )),
            Err(error) => Err(io::Error::from(error)).context("lock", &path),
        }
    }
}

/// A directory that is removed when the last holder lets go, if it is condemned by then.
///
/// Begins condemned, so that a failure half-way leaves nothing. Removal is a courtesy: what it
/// misses is swept at the next start.
#[derive(Debug)]
pub(crate) struct HeldDir {
    path: PathBuf,
    /// Set and cleared by the store under its lock; read by the last holder's drop.
    condemned: AtomicBool,
}

impl HeldDir {
    pub(crate) fn condemned(path: PathBuf) -> HeldDir {
        HeldDir { path, condemned: AtomicBool::new(true) }
    }

    pub(crate) fn kept(path: PathBuf) -> HeldDir {
        HeldDir { path, condemned: AtomicBool::new(false) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn keep(&self) {
        self.condemned.store(false, Ordering::Release);
    }

    pub(crate) fn condemn(&self) {
        self.condemned.store(true, Ordering::Release);
    }
}

impl Drop for HeldDir {
    fn drop(&mut self) {
        if self.condemned.load(Ordering::Acquire) {
            // Nobody is left to tell; the next start sweeps what could not be removed.
            remove_dir(&self.path).ok();
        }
    }
}
