//! The directory of a development cluster: what is in it, and what is decided once.
//!
//! Not here: processes. `dev.json` holds the cluster's name and its ports, since the nodes'
//! addresses are part of the cluster's membership and must not change from run to run.
//! Invariant: one supervisor per directory (a lock held while it lives).

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::client::cluster_file::write_private;
use crate::config::{self, MemberConfig, NodeConfig};
use crate::exit::{Exit, ended};
use crate::world::tokio_runtime::{random_bytes, random_hex};

/// Free ports are looked for here: below the range the kernel takes outgoing ports from, so that
/// a port stays free while its node is down. Source: ip_local_port_range, 32768..=60999.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const HOST: &str = "127.0.0.1";

/// What is decided at the first start of a directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub cluster_id: String,
    pub nodes: Vec<NodePlan>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodePlan {
    pub id: u64,
    pub http_port: u16,
    pub ops_port: u16,
    pub peer_port: u16,
}

impl NodePlan {
    pub fn http(&self) -> String {
        format!("{HOST}:{}", self.http_port)
    }

    pub fn ops(&self) -> String {
        format!("{HOST}:{}", self.ops_port)
    }

    fn peer(&self) -> String {
        format!("{HOST}:{}", self.peer_port)
    }
}

/// A directory held by this process.
pub struct DevDir {
    root: PathBuf,
    pub plan: Plan,
    pub admin_token: String,
    _lock: File,
}

impl DevDir {
    /// Makes the directory or finds it again. `nodes` and `http_port` are what the user asked
    /// for; `None` takes what the directory has, or 3 nodes from port 8080.
    pub fn open(root: &Path, nodes: Option<u64>, http_port: Option<u16>) -> anyhow::Result<DevDir> {
        let shown = root.display();
        std::fs::create_dir_all(root).with_context(|| format!("cannot make {shown}"))?;
        let root = root.canonicalize().with_context(|| format!("cannot find {shown}"))?;
        let lock = lock(&root)?;
        let plan = match read_plan(&root)? {
            Some(plan) => adapt(plan, &root, nodes, http_port)?,
            None => new_plan(nodes.unwrap_or(3), http_port.unwrap_or(8080))?,
        };
        for node in &plan.nodes {
            free(node.http_port)?;
            std::fs::create_dir_all(root.join(format!("node-{}", node.id)))
                .with_context(|| format!("cannot make a node's directory in {shown}"))?;
        }
        write_private(&root.join("dev.json"), &serde_json::to_vec_pretty(&plan)?)?;
        let admin_token = admin_token(&root)?;
        Ok(DevDir { root, plan, admin_token, _lock: lock })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn node_dir(&self, id: u64) -> PathBuf {
        self.root.join(format!("node-{id}"))
    }

    pub fn log(&self, id: u64) -> PathBuf {
        self.node_dir(id).join("log")
    }

    pub fn config_file(&self, id: u64) -> PathBuf {
        self.node_dir(id).join("node.toml")
    }

    /// Writes the configuration of every node.
    pub fn write_configs(&self) -> anyhow::Result<()> {
        let members: Vec<MemberConfig> = self
            .plan
            .nodes
            .iter()
            .map(|n| MemberConfig { id: n.id, peer: n.peer(), http: n.http() })
            .collect();
        for node in &self.plan.nodes {
            let config = NodeConfig {
                node_id: node.id,
                cluster_id: self.plan.cluster_id.clone(),
                data_dir: self.node_dir(node.id).join("data"),
                http_listen: node.http().parse().context("an HTTP address")?,
                ops_listen: node.ops().parse().context("an ops address")?,
                peer_listen: node.peer().parse().context("a peer address")?,
                members: members.clone(),
                admin_token_file: self.root.join("admin_token"),
                ..NodeConfig::default()
            };
            let text = config::print(&config, true)?;
            write_private(&self.config_file(node.id), text.as_bytes())?;
        }
        Ok(())
    }
}

fn lock(root: &Path) -> anyhow::Result<File> {
    let path = root.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(ended(
            Exit::Usage,
            format!("another `bessemer dev` runs in {}; stop it first", root.display()),
        )),
        Err(e) => Err(e).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn read_plan(root: &Path) -> anyhow::Result<Option<Plan>> {
    let path = root.join("dev.json");
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is damaged", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The stored plan, with the clients' ports moved when the user asks for others.
fn adapt(
    mut plan: Plan,
    root: &Path,
    nodes: Option<u64>,
    http_port: Option<u16>,
) -> anyhow::Result<Plan> {
    let held = plan.nodes.len() as u64;
    if let Some(nodes) = nodes
        && nodes != held
    {
        let shown = root.display();
        return Err(ended(
            Exit::Usage,
            format!("{shown} holds a cluster of {held} nodes, not {nodes}; name another --dir"),
        ));
    }
    if let Some(base) = http_port {
        for (node, port) in plan.nodes.iter_mut().zip(http_ports(base, held)?) {
            node.http_port = port;
        }
    }
    Ok(plan)
}

fn new_plan(nodes: u64, http_port: u16) -> anyhow::Result<Plan> {
    if !(1..=9).contains(&nodes) {
        return Err(ended(Exit::Usage, format!("--nodes is {nodes}; it must be 1 to 9")));
    }
    let http_ports = http_ports(http_port, nodes)?;
    let mut taken = http_ports.clone();
    let mut plan = Plan { cluster_id: format!("dev-{}", random_hex::<4>()), nodes: Vec::new() };
    for (id, http_port) in (1..=nodes).zip(http_ports) {
        let ops_port = free_port(&mut taken)?;
        let peer_port = free_port(&mut taken)?;
        plan.nodes.push(NodePlan { id, http_port, ops_port, peer_port });
    }
    Ok(plan)
}

fn http_ports(base: u16, nodes: u64) -> anyhow::Result<Vec<u16>> {
    let ports: Option<Vec<u16>> = (0..nodes as u16).map(|i| base.checked_add(i)).collect();
    ports.filter(|_| base > 0).ok_or_else(|| {
        ended(Exit::Usage, format!("--http-port {base} leaves no room for {nodes} ports"))
    })
}

/// A port of `PORTS` that is free now and not in `taken`, which it joins.
fn free_port(taken: &mut Vec<u16>) -> anyhow::Result<u16> {
    let room = PORTS.end - PORTS.start;
    let start = u16::from_le_bytes(random_bytes()) % room;
    for step in 0..room {
        let port = PORTS.start + (start + step) % room;
        if !taken.contains(&port) && TcpListener::bind((HOST, port)).is_ok() {
            taken.push(port);
            return Ok(port);
        }
    }
    Err(ended(Exit::Failure, "no free port was found from 20000 to 31999"))
}

/// Refuses a clients' port that another program holds, before any node is started.
fn free(port: u16) -> anyhow::Result<()> {
    match TcpListener::bind((HOST, port)) {
        Ok(_) => Ok(()),
        Err(e) => Err(ended(
            Exit::Usage,
            format!("{HOST}:{port} cannot be listened on ({e}); choose another --http-port"),
        )),
    }
}

/// The operator's token of this directory, made once.
fn admin_token(root: &Path) -> anyhow::Result<String> {
    let path = root.join("admin_token");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let token = format!("bsa_{}", random_hex::<32>());
            write_private(&path, token.as_bytes())?;
            Ok(token)
        }
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three ports in a row that are free now.
    fn base() -> u16 {
        (15_000..20_000)
            .step_by(7)
            .find(|base| (0..3).all(|i| TcpListener::bind((HOST, base + i)).is_ok()))
            .unwrap()
    }

    #[test]
    fn a_directory_is_found_again_with_its_ports() {
        let root = tempfile::tempdir().unwrap();
        let base = base();
        let first = DevDir::open(root.path(), Some(3), Some(base)).unwrap();
        first.write_configs().unwrap();
        let (plan, token) = (first.plan.clone(), first.admin_token.clone());
        assert_eq!(plan.nodes[2].http_port, base + 2);
        let second = DevDir::open(root.path(), None, None).err().unwrap().to_string();
        assert!(second.contains("another `bessemer dev`"), "{second}");
        drop(first);
        let again = DevDir::open(root.path(), None, None).unwrap();
        assert_eq!((again.plan.clone(), &again.admin_token), (plan, &token));
        drop(again);
        let other = DevDir::open(root.path(), Some(5), None).err().unwrap().to_string();
        assert!(other.contains("holds a cluster of 3 nodes"), "{other}");
    }

    #[test]
    fn written_configurations_pass_their_checks() {
        let root = tempfile::tempdir().unwrap();
        let dir = DevDir::open(root.path(), Some(3), Some(base())).unwrap();
        dir.write_configs().unwrap();
        let flags = config::NodeFlags::default();
        let loaded = config::load(Some(&dir.config_file(2)), std::iter::empty(), &flags).unwrap();
        assert_eq!(loaded.config.node_id, 2);
        assert_eq!(loaded.config.admin_token, dir.admin_token);
        assert_eq!(loaded.config.members.len(), 3);
    }

    #[test]
    fn a_taken_port_is_named() {
        let root = tempfile::tempdir().unwrap();
        let held = TcpListener::bind((HOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let error = DevDir::open(root.path(), Some(1), Some(port)).err().unwrap().to_string();
        assert!(error.contains("choose another --http-port"), "{error}");
    }
}
