//! Nodes that can be stopped, cut off, crashed and started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bessemer_log::memory_disk::MemoryDisk;
use bessemer_log::{Log, LogOptions};
use bessemer_model::{
    BootCount, Command, DataId, Failure, NewMessage, NodeId, NotDone, Outcome, ProjectId,
    QueueName, Quota, Request,
};
use bessemer_replica::{Replica, ReplicaOptions};
use bessemer_seam::consensus::{ClusterStatus, Consensus, Member};
use bessemer_seam::net::Channel;

use crate::net::MemoryHub;
use crate::state::MemoryState;
use crate::world::{TestWorld, TokioRuntime};

/// Free bytes of a log's disk below which growing commands are refused.
pub const LOW_WATER_BYTES: u64 = 1 << 20;
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Disks of one node: what a restart finds.
#[derive(Clone)]
pub struct Disks {
    pub data: DataId,
    pub log: MemoryDisk,
    pub state: MemoryState,
    pub boot: u64,
}

/// A running node.
pub struct Node {
    pub replica: Replica<TestWorld>,
    pub runtime: Arc<TokioRuntime>,
    driver: Driver,
}

pub struct Cluster {
    pub hub: MemoryHub,
    pub disks: BTreeMap<u64, Disks>,
    pub nodes: BTreeMap<u64, Node>,
    options: fn(&mut ReplicaOptions),
    segment_bytes: u64,
    /// How many were made: each has its own name.
    directories: u64,
}

/// Drains a log as the program does: one thread, woken by the log.
pub struct Driver {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    pub fn start(log: Log<MemoryDisk>) -> Driver {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        log.set_waker(Box::new(move || {
            // Full means that the thread is already awake.
            let _ = sender.try_send(());
        }));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                while let Ok(true) = log.drain() {}
                if log.upkeep().is_err() {
                    return;
                }
                let _ = receiver.recv_timeout(Duration::from_millis(20));
            }
        });
        Driver { stop, thread: Some(thread) }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the log's thread ends");
        }
    }
}

pub fn member(node: u64) -> Member {
    Member {
        node: NodeId(node),
        peer_address: format!("node-{node}"),
        http_address: format!("http-{node}"),
        voter: true,
        matched: None,
    }
}

impl Cluster {
    /// Starts `nodes` as the voters of a new cluster.
    pub async fn start(nodes: u64, options: fn(&mut ReplicaOptions)) -> Cluster {
        Cluster::start_with(nodes, options, 1 << 20).await
    }

    pub async fn start_with(
        nodes: u64,
        options: fn(&mut ReplicaOptions),
        segment_bytes: u64,
    ) -> Cluster {
        let mut cluster = Cluster {
            hub: MemoryHub::default(),
            disks: BTreeMap::new(),
            nodes: BTreeMap::new(),
            options,
            segment_bytes,
            directories: 0,
        };
        for node in 1..=nodes {
            let members = (1..=nodes).map(member).collect();
            cluster.boot(node, Some(members)).await;
        }
        cluster
    }

    /// Starts `node` on its disks, or on new ones.
    pub async fn boot(&mut self, node: u64, members: Option<Vec<Member>>) {
        self.boot_as(node, members, "test").await;
    }

    /// The same, as a node of the cluster `cluster_id`.
    pub async fn boot_as(&mut self, node: u64, members: Option<Vec<Member>>, cluster_id: &str) {
        self.directories += 1;
        let data = DataId(self.directories);
        let disks = self.disks.entry(node).or_insert_with(|| Disks {
            data,
            log: MemoryDisk::new(node),
            state: MemoryState::default(),
            boot: 0,
        });
        disks.boot += 1;
        let mut options =
            ReplicaOptions::new(NodeId(node), cluster_id, BootCount(disks.boot), disks.data);
        options.election_timeout_ms_min = 300;
        options.election_timeout_ms_max = 600;
        options.heartbeat_interval_ms = 50;
        options.ping_interval_ms = 100;
        options.snapshot_check_ms = 50;
        (self.options)(&mut options);
        let log_options = LogOptions {
            segment_bytes: self.segment_bytes,
            low_water_bytes: LOW_WATER_BYTES,
            ..LogOptions::default()
        };
        let (log, _) = Log::open(disks.log.clone(), log_options).expect("the log opens");
        let driver = Driver::start(log.clone());
        let runtime = TokioRuntime::shared();
        let net = self.hub.attach(NodeId(node));
        let world = TestWorld { runtime: runtime.clone(), net };
        let started = Replica::start(world, options, log, disks.state.clone(), members);
        let replica = started.await.expect("the replica starts");
        self.nodes.insert(node, Node { replica, runtime, driver });
    }

    /// Stops `node` in good order.
    pub async fn stop(&mut self, node: u64) {
        let running = self.nodes.remove(&node).expect("the node runs");
        running.replica.shutdown().await;
        self.hub.detach(NodeId(node));
        drop(running.driver);
    }

    /// Takes the power from `node`; its disks keep what was durable.
    pub async fn crash(&mut self, node: u64) {
        let running = self.nodes.remove(&node).expect("the node runs");
        self.hub.detach(NodeId(node));
        let disks = self.disks.get_mut(&node).expect("the node has disks");
        disks.log.crash();
        disks.state = disks.state.crash();
        // What still runs can reach neither disks nor peers; end it.
        running.replica.shutdown().await;
        drop(running.driver);
    }

    pub fn replica(&self, node: u64) -> &Replica<TestWorld> {
        &self.nodes[&node].replica
    }

    pub fn status(&self, node: u64) -> ClusterStatus {
        self.replica(node).status()
    }

    /// The node that leads, once every running node agrees on it.
    pub async fn leader(&self) -> u64 {
        let agreed = || {
            let seen: Vec<Option<NodeId>> =
                self.nodes.keys().map(|node| self.status(*node).leader).collect();
            let first = seen[0]?;
            let serving = self.nodes.get(&first.0)?.replica.metrics().serving;
            (serving && seen.iter().all(|leader| *leader == Some(first))).then_some(first.0)
        };
        eventually("a leader", agreed).await
    }

    /// Waits until all running nodes have applied the same, and compares their hash chains.
    pub async fn converge(&self) {
        let same = || {
            let all: Vec<ClusterStatus> =
                self.nodes.keys().map(|node| self.status(*node)).collect();
            let top = all.iter().map(|status| status.committed).max()?;
            all.iter().all(|status| status.applied == top).then_some(all)
        };
        let all = eventually("all nodes to apply the same", same).await;
        let chains: Vec<_> = all.iter().map(|status| (status.applied, status.chain)).collect();
        let again: Vec<_> = self.nodes.keys().map(|node| self.status(*node)).collect();
        if again.iter().map(|status| status.applied).eq(all.iter().map(|status| status.applied)) {
            assert!(chains.windows(2).all(|pair| pair[0] == pair[1]), "states differ: {chains:?}");
        }
    }

    /// Waits until nodes have tried to open `times` more control streams: they meet all the time.
    pub async fn tries(&self, times: usize) {
        let target = self.hub.connects(Channel::Control) + times;
        let tried = || (self.hub.connects(Channel::Control) >= target).then_some(());
        eventually("nodes to meet", tried).await;
    }

    /// Makes the project the tests work in.
    pub async fn project(&self, node: u64) {
        let command = Command::CreateProject { name: "test".into(), quota: Quota::default() };
        let outcome = propose(self.replica(node), command).await;
        assert!(matches!(outcome, Ok(Outcome::ProjectCreated { .. })), "{outcome:?}");
    }
}

/// Polls `look` until it gives something, for at most twenty seconds.
pub async fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn request(command: Command) -> Request {
    Request { project: ProjectId::new("p"), retry: None, command }
}

pub async fn propose(replica: &Replica<TestWorld>, command: Command) -> Result<Outcome, Failure> {
    replica.propose(request(command), PATIENCE).await
}

/// Proposes until there is a leader to take it.
pub async fn insist(replica: &Replica<TestWorld>, command: Command) -> Result<Outcome, Failure> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match propose(replica, command.clone()).await {
            Err(Failure::NotDone(NotDone::NoLeader)) if Instant::now() < deadline => {}
            other => return other,
        }
    }
}

pub fn post(queue: &str, body: impl Into<Vec<u8>>) -> Command {
    let message = NewMessage {
        body: body.into(),
        delay: bessemer_model::Millis(0),
        expiration: None,
        ordering_key: None,
    };
    Command::PostMessages { queue: QueueName::new(queue), messages: vec![message] }
}

pub fn reserve(queue: &str, count: u32) -> Command {
    Command::ReserveMessages { queue: QueueName::new(queue), count, timeout: None, delete: true }
}

/// Takes everything out of `queue`, through `replica`, as texts.
pub async fn drain(replica: &Replica<TestWorld>, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let messages = match propose(replica, reserve(queue, 100)).await {
            Ok(Outcome::Reserved { messages }) => messages,
            // An election runs: surely nothing was taken.
            Err(Failure::NotDone(_)) => continue,
            other => panic!("{other:?}"),
        };
        if messages.is_empty() {
            return bodies;
        }
        let texts =
            messages.into_iter().map(|message| message.body.expect("own bodies come along"));
        bodies.extend(texts.map(|body| String::from_utf8(body).expect("tests post text")));
    }
}
