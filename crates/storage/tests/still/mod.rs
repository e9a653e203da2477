//! What a machine that stops now would leave, while a map is open.
//!
//! An open map flushes, compacts and removes files in the background. A copy made meanwhile mixes
//! moments and is no crash; so it is made again until nothing moved under it. Nobody may write to
//! the map during the copy: then the background comes to rest.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Copies the directory `from` to `to`, as it was at one moment.
pub fn copy_still(from: &Path, to: &Path) {
    loop {
        let before = look(from);
        for path in before.keys() {
            let target = to.join(path.strip_prefix(from).unwrap());
            if path.is_dir() {
                fs::create_dir_all(&target).unwrap();
            } else if let Err(error) = fs::copy(path, &target) {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            }
        }
        if look(from) == before {
            return;
        }
        fs::remove_dir_all(to).unwrap();
    }
}

/// All files and directories under `dir`, itself included, parents first. RocksDB never uses a
/// file's number twice, so equal looks mean that nothing came or went between them.
fn look(dir: &Path) -> BTreeMap<PathBuf, Option<(u64, SystemTime)>> {
    let mut found = BTreeMap::from([(dir.to_owned(), None)]);
    let mut unread = vec![dir.to_owned()];
    while let Some(next) = unread.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            // What is gone already is missed by the next look as well.
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                unread.push(entry.path());
                found.insert(entry.path(), None);
            } else {
                found.insert(entry.path(), Some((data.len(), data.modified().unwrap())));
            }
        }
    }
    found
}
