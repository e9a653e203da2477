//! Keeps the nodes of a development cluster running.
//!
//! Not here: making the cluster ready (`ready.rs`), the directory (`layout.rs`).
//! The loop is `select`, which only waits, then `apply`, which owns the state.
//! Invariants: a node has at most one process; `cluster.json` names a process only while it was
//! not seen to end; every child is waited for before the supervisor ends.

use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::task::JoinSet;

use super::child;
use super::layout::DevDir;
use crate::client::cluster_file::{self, ClusterFile, NodeEntry};
use crate::exit::{Exit, ended};

/// A dead node comes back after this long.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// A node that was told to end drains within ten seconds; then it is killed.
const STOP_WAIT: Duration = Duration::from_secs(12);
/// A node that ends this often before the cluster is ready will not become ready.
const FAILED_STARTS_MAX: u32 = 3;

/// The project and token minted for the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    pub project_id: String,
    pub token: String,
}

/// What can happen to a supervisor.
pub enum Event {
    /// A node's process ended.
    Ended { id: u64, status: std::io::Result<ExitStatus> },
    /// The pause of a dead node is over.
    Due { id: u64 },
    /// SIGHUP: start what is down.
    Revive,
    /// SIGTERM or SIGINT.
    Stop,
}

pub struct Supervisor {
    dir: DevDir,
    restart: bool,
    nodes: Vec<Node>,
    /// Ends of processes and of pauses; owned here, aborted (and the children killed) on drop.
    tasks: JoinSet<Event>,
    signals: [Signals; 3],
    credentials: Option<Credentials>,
    ready: bool,
    failed_starts: u32,
}

struct Node {
    id: u64,
    /// `None` while the node is down.
    process: Option<Process>,
}

struct Process {
    pid: u32,
    handle: OwnedFd,
}

impl Supervisor {
    /// Starts every node. With `restart`, dead ones come back.
    pub fn start(
        dir: DevDir,
        credentials: Option<Credentials>,
        restart: bool,
    ) -> anyhow::Result<Supervisor> {
        let signals = [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ];
        let nodes = dir.plan.nodes.iter().map(|n| Node { id: n.id, process: None }).collect();
        let mut supervisor = Supervisor {
            dir,
            restart,
            nodes,
            tasks: JoinSet::new(),
            signals,
            credentials,
            ready: false,
            failed_starts: 0,
        };
        supervisor.start_missing()?;
        Ok(supervisor)
    }

    /// Waits for the next event. Cancel-safe; changes nothing.
    pub async fn select(&mut self) -> Event {
        let [terminate, interrupt, hangup] = &mut self.signals;
        tokio::select! {
            _ = terminate.recv() => Event::Stop,
            _ = interrupt.recv() => Event::Stop,
            _ = hangup.recv() => Event::Revive,
            Some(event) = self.tasks.join_next() => {
                event.expect("the tasks of the supervisor do not panic and are not aborted")
            }
        }
    }

    /// Takes one event in; `Break` means that the cluster is to be stopped.
    pub fn apply(&mut self, event: Event) -> anyhow::Result<std::ops::ControlFlow<()>> {
        match event {
            Event::Stop => return Ok(std::ops::ControlFlow::Break(())),
            Event::Revive => self.start_missing()?,
            Event::Due { id } => {
                if self.nodes.iter().any(|n| n.id == id && n.process.is_none()) {
                    self.start_node(id)?;
                    self.keep_file();
                }
            }
            Event::Ended { id, status } => self.ended(id, status)?,
        }
        Ok(std::ops::ControlFlow::Continue(()))
    }

    /// The cluster took its first write; `cluster.json` is complete from here on.
    pub fn now_ready(&mut self, credentials: Credentials) -> anyhow::Result<ClusterFile> {
        self.credentials = Some(credentials);
        self.ready = true;
        self.write_file()?;
        Ok(self.file().expect("the credentials were just set"))
    }

    /// Ends every node in order: asks, waits, and kills what is left. Also after an error.
    pub async fn stop(&mut self) {
        self.signal_all(Signal::TERM);
        let waiting = async {
            while self.nodes.iter().any(|n| n.process.is_some()) {
                match self.tasks.join_next().await {
                    Some(Ok(Event::Ended { id, .. })) => self.forget(id),
                    // A pause that ends now starts nothing any more.
                    Some(_) => {}
                    None => return,
                }
            }
        };
        if tokio::time::timeout(STOP_WAIT, waiting).await.is_err() {
            tracing::warn!("nodes did not end within {} s; killing them", STOP_WAIT.as_secs());
            self.signal_all(Signal::KILL);
            while let Some(end) = self.tasks.join_next().await {
                if let Ok(Event::Ended { id, .. }) = end {
                    self.forget(id);
                }
            }
        }
        self.keep_file();
    }

    pub fn dir(&self) -> &DevDir {
        &self.dir
    }

    fn signal_all(&self, signal: Signal) {
        for process in self.nodes.iter().filter_map(|n| n.process.as_ref()) {
            child::signal(&process.handle, signal);
        }
    }

    fn forget(&mut self, id: u64) {
        for node in self.nodes.iter_mut().filter(|n| n.id == id) {
            node.process = None;
        }
    }

    fn ended(&mut self, id: u64, status: std::io::Result<ExitStatus>) -> anyhow::Result<()> {
        let shown = status.map_or_else(|e| e.to_string(), |status| status.to_string());
        tracing::warn!(node = id, "node ended: {shown}");
        self.forget(id);
        self.keep_file();
        if !self.ready {
            self.failed_starts += 1;
            if self.failed_starts >= FAILED_STARTS_MAX || !self.restart {
                let log = self.dir.log(id);
                return Err(ended(
                    Exit::Failure,
                    format!(
                        "node {id} does not stay up ({shown}); the end of {}:\n{}",
                        log.display(),
                        child::log_tail(&log, 15)
                    ),
                ));
            }
        }
        if self.restart {
            self.tasks.spawn(async move {
                tokio::time::sleep(RESTART_AFTER).await;
                Event::Due { id }
            });
        }
        Ok(())
    }

    fn start_missing(&mut self) -> anyhow::Result<()> {
        let down: Vec<u64> =
            self.nodes.iter().filter(|n| n.process.is_none()).map(|n| n.id).collect();
        for id in down {
            self.start_node(id)?;
        }
        self.keep_file();
        Ok(())
    }

    fn start_node(&mut self, id: u64) -> anyhow::Result<()> {
        let mut child = child::start(&self.dir, id)?;
        let handle = child::handle(&child)?;
        let pid = child.id().expect("a child that was not waited for has an id");
        let node = self.nodes.iter_mut().find(|n| n.id == id).expect("only planned nodes start");
        assert!(node.process.is_none(), "node {id} has one process at most");
        node.process = Some(Process { pid, handle });
        self.tasks.spawn(async move {
            // `wait` would close standard input, which ends the node: it is kept aside.
            let _input = child.stdin.take();
            let status = child.wait().await;
            Event::Ended { id, status }
        });
        Ok(())
    }

    /// `cluster.json` as it should be now; `None` before the credentials are known.
    fn file(&self) -> Option<ClusterFile> {
        let credentials = self.credentials.as_ref()?;
        let entries = self.nodes.iter().zip(&self.dir.plan.nodes).map(|(node, plan)| NodeEntry {
            id: node.id,
            pid: node.process.as_ref().map(|process| process.pid),
            http: format!("http://{}", plan.http()),
            metrics: format!("http://{}/metrics", plan.ops()),
        });
        Some(ClusterFile {
            nodes: entries.collect(),
            project_id: credentials.project_id.clone(),
            token: credentials.token.clone(),
            admin_token: self.dir.admin_token.clone(),
        })
    }

    /// Writes `cluster.json`; that it cannot, on a full disk for instance, ends no node.
    fn keep_file(&self) {
        if let Err(e) = self.write_file() {
            tracing::error!("cluster.json is out of date: {e:#}");
        }
    }

    fn write_file(&self) -> anyhow::Result<()> {
        match self.file() {
            Some(file) => cluster_file::write(self.dir.root(), &file),
            // Before the first credentials there is nothing a reader could use.
            None => Ok(()),
        }
    }
}
