//! Who a data directory belongs to, and how often it was opened.
//!
//! Not here: the log and the state beside it, and what peers remember of a node's boots.
//! Invariants: one process at a time holds a directory; the boot count of an opening is durable
//! before anything else is done with it, so no two openings ever share one; a directory never
//! changes its node or its cluster.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bessemer_model::{BootCount, DataId, NodeId};

use crate::files::{self, DirLock};
use crate::sealed;

/// Where, in a data directory, the log's files are.
pub const LOG_DIR: &str = "log";
/// Where, in a data directory, the state store is.
pub const STATE_DIR: &str = "state";

const NODE_FILE: &str = "node";
const FIRST_LINE: &str = "bessemer-node 1";
/// Longest cluster id, in bytes.
const CLUSTER_BYTES_MAX: usize = 64;

/// One opening of a data directory. The directory is free again when this is dropped.
#[derive(Debug)]
pub struct Boot {
    /// Grows by one with each opening, from 1.
    pub count: BootCount,
    /// The directory's own name, from its first opening on.
    pub data: DataId,
    _lock: DirLock,
}

/// Claims `dir` for this process and durably counts the opening. Makes `dir` when it is missing.
///
/// `cluster` is 1..=64 bytes without control characters; it and `node` are written down at the
/// first opening and must be the same at each later one. `new_data` is a random name for the
/// directory, used when this is its first opening. Costs three fsyncs.
/// A directory that holds a log or a state but no identity is refused: its votes and promises
/// cannot be told from those of a wiped node.
pub fn open_boot(
    dir: &Path,
    node: NodeId,
    cluster: &str,
    new_data: DataId,
) -> Result<Boot, BootError> {
    if cluster.is_empty()
        || cluster.len() > CLUSTER_BYTES_MAX
        || cluster.chars().any(char::is_control)
    {
        return Err(BootError::BadCluster { cluster: cluster.to_owned() });
    }
    if node.0 == 0 {
        return Err(BootError::NoNode);
    }
    let io = |source| BootError::Io { dir: dir.to_owned(), source };
    files::create_dir(dir).map_err(io)?;
    let lock = DirLock::claim(dir).map_err(|source| match source.kind() {
        io::ErrorKind::ResourceBusy => BootError::InUse { dir: dir.to_owned() },
        _ => io(source),
    })?;
    let path = dir.join(NODE_FILE);
    let (data, boots) = match files::read_if_there(&path).map_err(io)? {
        Some(bytes) => checked_boots(dir, &bytes, node, cluster)?,
        None => {
            refuse_used(dir)?;
            (new_data, 0)
        }
    };
    let count = boots.checked_add(1).ok_or(BootError::Damaged { path: path.clone() })?;
    files::replace_file(&path, &write(node, cluster, data, count)).map_err(io)?;
    Ok(Boot { count: BootCount(count), data, _lock: lock })
}

/// Name and boot count in the node file `bytes`, if the directory is `node`'s in `cluster`.
fn checked_boots(
    dir: &Path,
    bytes: &[u8],
    node: NodeId,
    cluster: &str,
) -> Result<(DataId, u64), BootError> {
    let damaged = || BootError::Damaged { path: dir.join(NODE_FILE) };
    let (found, found_cluster, data, boots) = parse(bytes).ok_or_else(damaged)?;
    if found_cluster != cluster {
        return Err(BootError::WrongCluster {
            dir: dir.to_owned(),
            found: found_cluster.to_owned(),
            wanted: cluster.to_owned(),
        });
    }
    if found != node {
        return Err(BootError::WrongNode { dir: dir.to_owned(), found, wanted: node });
    }
    Ok((data, boots))
}

fn write(node: NodeId, cluster: &str, data: DataId, boots: u64) -> Vec<u8> {
    let text =
        format!("{FIRST_LINE}\nnode {node}\ncluster {cluster}\ndata {data}\nboots {boots}\n");
    sealed::seal(&text)
}

fn parse(bytes: &[u8]) -> Option<(NodeId, &str, DataId, u64)> {
    let mut lines = sealed::lines(bytes)?;
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let node = sealed::number(lines.next()?.strip_prefix("node ")?)?;
    let cluster = lines.next()?.strip_prefix("cluster ")?;
    let data = sealed::number(lines.next()?.strip_prefix("data ")?)?;
    let boots = sealed::number(lines.next()?.strip_prefix("boots ")?)?;
    lines.next().is_none().then_some((NodeId(node), cluster, DataId(data), boots))
}

/// What holds for the bytes of any file: they are no identity, or exactly what one is written as.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn check_form(bytes: &[u8]) {
    if let Some((node, cluster, data, boots)) = parse(bytes) {
        assert_eq!(write(node, cluster, data, boots), bytes, "an identity has one form");
    }
}

fn refuse_used(dir: &Path) -> Result<(), BootError> {
    for name in [LOG_DIR, STATE_DIR] {
        let path = dir.join(name);
        if path.exists() {
            return Err(BootError::IdentityMissing { dir: dir.to_owned(), found: path });
        }
    }
    Ok(())
}

/// Why a data directory was not opened. Nothing in it was changed.
#[derive(Debug)]
pub enum BootError {
    /// Another process holds the directory.
    InUse {
        dir: PathBuf,
    },
    WrongNode {
        dir: PathBuf,
        found: NodeId,
        wanted: NodeId,
    },
    WrongCluster {
        dir: PathBuf,
        found: String,
        wanted: String,
    },
    /// There is data, but the file that says whose is gone.
    IdentityMissing {
        dir: PathBuf,
        found: PathBuf,
    },
    Damaged {
        path: PathBuf,
    },
    /// 0 names no node.
    NoNode,
    BadCluster {
        cluster: String,
    },
    Io {
        dir: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::InUse { dir } => write!(
                f,
                "data directory {} is in use by another process; stop it first, or give each node its own directory",
                dir.display()
            ),
            BootError::WrongNode { dir, found, wanted } => write!(
                f,
                "data directory {} belongs to node {found}, not to node {wanted}; correct the node id or the directory",
                dir.display()
            ),
            BootError::WrongCluster { dir, found, wanted } => write!(
                f,
                "data directory {} belongs to cluster '{found}', not to '{wanted}'; correct the cluster id or the directory",
                dir.display()
            ),
            BootError::IdentityMissing { dir, found } => write!(
                f,
                "data directory {} holds {} but its file '{NODE_FILE}' is missing; bring the file back, or replace this node under a new id with an empty directory",
                dir.display(),
                found.display()
            ),
            BootError::Damaged { path } => write!(
                f,
                "{} is damaged; replace this node under a new id with an empty directory",
                path.display()
            ),
            BootError::NoNode => write!(f, "node id 0 names no node; node ids begin at 1"),
            BootError::BadCluster { cluster } => write!(
                f,
                "cluster id {cluster:?} is not 1 to {CLUSTER_BYTES_MAX} bytes without control characters"
            ),
            BootError::Io { dir, .. } => {
                write!(f, "data directory {} could not be opened", dir.display())
            }
        }
    }
}

impl Error for BootError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            BootError::Io { source, .. } => Some(source),
            BootError::InUse { .. }
            | BootError::WrongNode { .. }
            | BootError::WrongCluster { .. }
            | BootError::IdentityMissing { .. }
            | BootError::Damaged { .. }
            | BootError::NoNode
            | BootError::BadCluster { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn open(dir: &Path, node: u64, cluster: &str) -> Result<u64, BootError> {
        open_boot(dir, NodeId(node), cluster, DataId(9)).map(|boot| boot.count.0)
    }

    #[test]
    fn a_directory_keeps_the_name_of_its_first_opening() {
        let dir = tempfile::tempdir().unwrap();
        for new in 5..8 {
            let boot = open_boot(dir.path(), NodeId(1), "prod", DataId(new)).unwrap();
            assert_eq!(boot.data, DataId(5));
        }
    }

    #[test]
    fn each_opening_counts_one() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        for count in 1..=3 {
            assert_eq!(open(&data, 7, "prod").unwrap(), count);
        }
    }

    #[test]
    fn a_second_opener_is_refused_and_counts_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let first = open_boot(dir.path(), NodeId(1), "prod", DataId(9)).unwrap();
        assert!(matches!(open(dir.path(), 1, "prod"), Err(BootError::InUse { .. })));
        drop(first);
        assert_eq!(open(dir.path(), 1, "prod").unwrap(), 2);
    }

    #[test]
    fn a_directory_of_another_node_or_cluster_is_refused_and_counts_nothing() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 1, "prod").unwrap();
        let node = open(dir.path(), 2, "prod").unwrap_err();
        assert!(matches!(node, BootError::WrongNode { found: NodeId(1), .. }), "{node}");
        let cluster = open(dir.path(), 1, "test").unwrap_err();
        assert!(matches!(cluster, BootError::WrongCluster { .. }), "{cluster}");
        assert_eq!(open(dir.path(), 1, "prod").unwrap(), 2);
    }

    #[test]
    fn a_damaged_identity_is_never_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 1, "prod").unwrap();
        let path = dir.path().join(NODE_FILE);
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(open(dir.path(), 1, "prod"), Err(BootError::Damaged { .. })));
        fs::write(&path, b"").unwrap();
        assert!(matches!(open(dir.path(), 1, "prod"), Err(BootError::Damaged { .. })));
    }

    #[test]
    fn data_without_an_identity_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(LOG_DIR)).unwrap();
        assert!(matches!(open(dir.path(), 1, "prod"), Err(BootError::IdentityMissing { .. })));
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_count() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 1, "prod").unwrap();
        fs::write(dir.path().join("node.new"), b"half a fi").unwrap();
        assert_eq!(open(dir.path(), 1, "prod").unwrap(), 2);
    }

    #[test]
    fn names_of_nobody_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(open(dir.path(), 0, "prod"), Err(BootError::NoNode)));
        for cluster in ["", "a\nb", &"x".repeat(65)] {
            assert!(matches!(open(dir.path(), 1, cluster), Err(BootError::BadCluster { .. })));
        }
    }
}
