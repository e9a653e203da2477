//! The list of a snapshot's files, as kept beside them, and which names may be in it.
//!
//! Not here: the files. Names and labels may come from another node: none reaches a path unchecked.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use bessemer_seam::state_store::SnapshotFile;

use crate::files::{self, Context};
use crate::sealed;

/// Beside a snapshot's directory of files.
pub(super) const MANIFEST_FILE: &str = "manifest";
/// The directory of files.
pub(super) const FILES_DIR: &str = "files";
/// Ending of RocksDB's tables: the only files that are shared by hard links.
pub(super) const TABLE_ENDING: &str = ".sst";
/// Files of a snapshot: at 64 MiB each, 4 TiB.
const FILES_MAX: usize = 65_536;
/// Longest name and longest label, in bytes: both fit in a file name with our additions.
const NAME_BYTES_MAX: usize = 128;
const FIRST_LINE: &str = "bessemer-snapshot 1";

/// What a snapshot consists of; its files in ascending order of name when we made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Manifest {
    pub(super) label: String,
    pub(super) files: Vec<SnapshotFile>,
}

impl Manifest {
    /// Refuses, as `InvalidInput`, a label or name that is no plain file name, a name that comes
    /// twice, and more than 65,536 files.
    pub(super) fn checked(label: &str, files: &[SnapshotFile]) -> io::Result<Manifest> {
        if !is_plain(label) {
            return Err(invalid(format!("snapshot label {label:?} is not a plain name")));
        }
        if files.len() > FILES_MAX {
            let count = files.len();
            return Err(invalid(format!("snapshot {label} has {count} files; {FILES_MAX} may be")));
        }
        let mut names = BTreeSet::new();
        for file in files {
            let name = file.name.as_str();
            if !is_plain(name) || !names.insert(name) {
                return Err(invalid(format!(
                    "snapshot {label} lists a file {name:?}: no plain name, or twice"
                )));
            }
        }
        Ok(Manifest { label: label.to_owned(), files: files.to_vec() })
    }

    pub(super) fn file(&self, name: &str) -> Option<&SnapshotFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Writes the manifest into `dir`, durably.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        files::replace_file(&dir.join(MANIFEST_FILE), &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut text = format!("{FIRST_LINE}\nlabel {}\n", self.label);
        for file in &self.files {
            text += &format!("file {} {:08x} {}\n", file.bytes, file.crc, file.name);
        }
        sealed::seal(&text)
    }

    /// Reads the manifest in `dir`; `None` when there is none.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Manifest>> {
        let path = dir.join(MANIFEST_FILE);
        let Some(bytes) = files::read_if_there(&path)? else {
            return Ok(None);
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
        Manifest::decode(&bytes).map(Some).ok_or_else(damaged).context("use", &path)
    }

    fn decode(bytes: &[u8]) -> Option<Manifest> {
        let mut lines = sealed::lines(bytes)?;
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let label = lines.next()?.strip_prefix("label ")?;
        let mut files = Vec::new();
        for line in lines {
            let mut words = line.strip_prefix("file ")?.splitn(3, ' ');
            let bytes = sealed::number(words.next()?)?;
            let crc = crc(words.next()?)?;
            files.push(SnapshotFile { name: words.next()?.to_owned(), bytes, crc });
        }
        Manifest::checked(label, &files).ok()
    }
}

/// What holds for the bytes of any file: they are no manifest, or exactly what one is written as,
/// and nothing in it leaves its directory.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn check_form(bytes: &[u8]) {
    let Some(manifest) = Manifest::decode(bytes) else { return };
    assert_eq!(manifest.encode(), bytes, "{manifest:?} has one form");
    let names = manifest.files.iter().map(|file| file.name.as_str());
    for name in names.chain([manifest.label.as_str()]) {
        assert_eq!(Path::new("dir").join(name).parent(), Some(Path::new("dir")), "{name:?}");
    }
}

/// Eight hex digits, lower case.
fn crc(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digits && text.len() == 8 { u32::from_str_radix(text, 16).ok() } else { None }
}

/// A name that stays inside its directory: letters, digits, `-`, `_`, `.`, none of them a leading
/// dot.
fn is_plain(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

pub(super) fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> SnapshotFile {
        SnapshotFile { name: name.to_owned(), bytes: 7, crc: 0xabcd }
    }

    #[test]
    fn a_manifest_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), None);
        let manifest = Manifest::checked("t1-i2", &[file("000012.sst"), file("CURRENT")]).unwrap();
        manifest.write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), Some(manifest));
    }

    #[test]
    fn a_manifest_that_we_would_write_otherwise_is_refused() {
        let read = |text: &str| Manifest::decode(&sealed::seal(text)).is_some();
        assert!(read("bessemer-snapshot 1\nlabel l\nfile 7 0000abcd a\n"));
        for other in ["file +7 0000abcd a", "file 07 0000abcd a", "file 7 abcd a"] {
            assert!(!read(&format!("bessemer-snapshot 1\nlabel l\n{other}\n")), "{other}");
        }
        assert!(!read("bessemer-snapshot 1\nlabel l\nfile 7 0000ABCD a\n"));
        assert!(!read("bessemer-snapshot 1\nlabel l\r\n"));
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for name in ["", ".", "..", ".x", "a/b", "/etc/x", "a\\b", "a b", "a\n", "a\0", "ä"] {
            assert!(Manifest::checked("l", &[file(name)]).is_err(), "{name:?}");
            assert!(Manifest::checked(name, &[]).is_err(), "{name:?}");
        }
        assert!(Manifest::checked(&"x".repeat(129), &[]).is_err());
        assert!(Manifest::checked("l", &[file("a"), file("a")]).is_err());
    }
}
