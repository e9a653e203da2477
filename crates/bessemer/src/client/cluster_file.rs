//! `cluster.json`: what a development cluster tells whoever uses it.
//!
//! Not here: how the cluster is run (`commands/dev`). Its form is API: scripts read it.
//! Invariant: a reader sees the old file or the new one, never a part.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

pub const FILE_NAME: &str = "cluster.json";

/// A development cluster as it is now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterFile {
    pub nodes: Vec<NodeEntry>,
    pub project_id: String,
    pub token: String,
    pub admin_token: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeEntry {
    pub id: u64,
    /// `null` while the node is down.
    pub pid: Option<u32>,
    /// `http://host:port` of the clients' door.
    pub http: String,
    /// The whole address of the metrics.
    pub metrics: String,
}

/// Where a development cluster lives unless `--dir` says otherwise.
pub fn default_dir() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let data = from("XDG_DATA_HOME").or_else(|| from("HOME").map(|home| home.join(".local/share")));
    data.unwrap_or_else(std::env::temp_dir).join("bessemer/dev")
}

/// Reads `dir/cluster.json`; `None` when there is none.
pub fn read(dir: &Path) -> anyhow::Result<Option<ClusterFile>> {
    let path = dir.join(FILE_NAME);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is damaged; delete it and start again", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

pub fn write(dir: &Path, cluster: &ClusterFile) -> anyhow::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(cluster)?;
    bytes.push(b'\n');
    write_private(&dir.join(FILE_NAME), &bytes)
}

/// Replaces `path` by `bytes` at once and durably, readable by its owner alone.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let shown = path.display();
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    let mut file = open.open(&new).with_context(|| format!("cannot write {}", new.display()))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(|| format!("{shown}"))?;
    std::fs::rename(&new, path).with_context(|| format!("cannot replace {shown}"))?;
    let dir = path.parent().context("a file has a directory")?;
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("{}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_has_the_documented_form() {
        let node = NodeEntry {
            id: 1,
            pid: Some(7),
            http: "http://127.0.0.1:8080".into(),
            metrics: "http://127.0.0.1:9080/metrics".into(),
        };
        let cluster = ClusterFile {
            nodes: vec![node],
            project_id: "p".into(),
            token: "t".into(),
            admin_token: "a".into(),
        };
        assert_eq!(
            serde_json::to_string(&cluster).unwrap(),
            r#"{"nodes":[{"id":1,"pid":7,"http":"http://127.0.0.1:8080","metrics":"http://127.0.0.1:9080/metrics"}],"project_id":"p","token":"t","admin_token":"a"}"#
        );
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        write(dir.path(), &cluster).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(cluster));
    }
}
