//! The file `CURRENT`: which directory is the state and which the newest checkpoint.
//!
//! Not here: the directories. One file names both, so that an install changes both in one rename.

use std::io;
use std::path::{Path, PathBuf};

use crate::files;
use crate::sealed;

pub(super) const POINTER_FILE: &str = "CURRENT";
const FIRST_LINE: &str = "bessemer-state 1";
const NO_CHECKPOINT: &str = "-";

/// What `CURRENT` says. Names are those of directories beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pointer {
    pub(super) state: u64,
    pub(super) checkpoint: Option<String>,
}

impl Pointer {
    /// Reads the pointer of the store in `dir`; `None` when there is none yet.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Pointer>> {
        let path = dir.join(POINTER_FILE);
        let Some(bytes) = files::read_if_there(&path)? else {
            return Ok(None);
        };
        match Pointer::decode(&bytes) {
            Some(pointer) => Ok(Some(pointer)),
            None => Err(damaged(path)),
        }
    }

    /// Makes this the pointer of the store in `dir`, durably. After an `Err` either may be found
    /// at the next start: the caller stops.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        files::replace_file(&dir.join(POINTER_FILE), &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let checkpoint = self.checkpoint.as_deref().unwrap_or(NO_CHECKPOINT);
        sealed::seal(&format!("{FIRST_LINE}\nstate {}\ncheckpoint {checkpoint}\n", self.state))
    }

    fn decode(bytes: &[u8]) -> Option<Pointer> {
        let mut lines = sealed::lines(bytes)?;
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let state = sealed::number(lines.next()?.strip_prefix("state ")?)?;
        let checkpoint = lines.next()?.strip_prefix("checkpoint ")?;
        let checkpoint = (checkpoint != NO_CHECKPOINT).then(|| checkpoint.to_owned());
        lines.next().is_none().then_some(Pointer { state, checkpoint })
    }
}

/// What holds for the bytes of any file: they are no pointer, or exactly what one is written as.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn check_form(bytes: &[u8]) {
    if let Some(pointer) = Pointer::decode(bytes) {
        assert_eq!(pointer.encode(), bytes, "{pointer:?} has one form");
    }
}

fn damaged(path: PathBuf) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "{} is damaged; replace this node under a new id with an empty directory",
            path.display()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_reads_back_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Pointer::read(dir.path()).unwrap(), None);
        for checkpoint in [None, Some("4-t1.i2".to_owned())] {
            let pointer = Pointer { state: 3, checkpoint };
            pointer.write(dir.path()).unwrap();
            assert_eq!(Pointer::read(dir.path()).unwrap(), Some(pointer));
        }
        std::fs::write(dir.path().join(POINTER_FILE), b"bessemer-state 1\n").unwrap();
        let error = Pointer::read(dir.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
