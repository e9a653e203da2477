//! One node's process: how it is started, told to end, and ended.
//!
//! Not here: when (`supervisor.rs`).
//! Invariant: a child never outlives the supervisor. Its standard input is a pipe only the
//! supervisor holds; the node ends when the pipe does.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::process::{Child, Command};

use super::layout::DevDir;

/// Variables that would overrule what makes the nodes of one directory differ. Others, such as
/// BESSEMER_LOG_LEVEL, reach all nodes.
const NOT_PASSED: &[&str] = &[
    "BESSEMER_NODE_ID",
    "BESSEMER_CLUSTER_ID",
    "BESSEMER_DATA_DIR",
    "BESSEMER_HTTP_LISTEN",
    "BESSEMER_OPS_LISTEN",
    "BESSEMER_PEER_LISTEN",
    "BESSEMER_HTTP_ADVERTISE",
    "BESSEMER_PEER_ADVERTISE",
    "BESSEMER_MEMBERS",
    "BESSEMER_ADMIN_TOKEN",
    "BESSEMER_ADMIN_TOKEN_FILE",
    "BESSEMER_LOG_FILE",
];

/// Starts node `id`; its output is appended to its log.
pub fn start(dir: &DevDir, id: u64) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let log_path = dir.log(id);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot write {}", log_path.display()))?;
    let second = log.try_clone().context("cannot share a node's log")?;
    let mut command = Command::new(program);
    command
        .arg("node")
        .arg("--config")
        .arg(dir.config_file(id))
        .arg("--end-with-input")
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(second)
        // Ctrl-C in a terminal goes to the supervisor alone, which then stops the nodes in order.
        .process_group(0)
        .kill_on_drop(true);
    for name in NOT_PASSED {
        command.env_remove(name);
    }
    command.spawn().with_context(|| format!("cannot start node {id}"))
}

/// A handle for signals that can never reach another process, whatever happened to the child.
pub fn handle(child: &Child) -> anyhow::Result<OwnedFd> {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let id = id.context("a node ended before it began")?;
    pidfd_open(id, PidfdFlags::empty()).context("cannot hold on to a node's process")
}

/// Sends `signal`; a child that has ended already is left in peace.
pub fn signal(process: &OwnedFd, signal: Signal) {
    if let Err(e) = pidfd_send_signal(process, signal) {
        tracing::debug!(error = %e, "a node was gone before its signal");
    }
}

/// The last lines of a log, for a person who asks why a node does not start.
pub fn log_tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
