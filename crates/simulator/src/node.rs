//! One process of a node, put together as the program does: log, its driver, replica, door.
//!
//! Not here: when it starts and how it dies (`cluster.rs`).

use std::sync::Arc;
use std::time::Duration;

use bessemer_engine::Told;
use bessemer_log::{Log, LogError, LogOptions};
use bessemer_model::{BootCount, DataId, LogIndex, NodeId};
use bessemer_node::{Node, NodeOptions};
use bessemer_replica::{ReplicaOptions, World};
use bessemer_seam::consensus::Member;
use bessemer_seam::runtime::SharedRuntime;
use bessemer_service::Options as ServiceOptions;
use openraft_rt::{AsyncRuntime, Select2};

use crate::cluster::Settings;
use crate::doors::{Door, Doors};
use crate::record::Record;
use crate::runtime::{Life, Sim, SimRuntime};
use crate::signal::Signal;
use crate::world::disk::SimDisk;
use crate::world::net::NodeNet;
use crate::world::state::SimStateStore;

/// The operator's token.
pub const ADMIN_TOKEN: &str = "the operator of the simulation";
/// How long a request waits for its outcome.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// The log is sealed after this long without work.
const IDLE: Duration = Duration::from_millis(50);

/// A clean stop takes at most this long: twice the replica's own bound, and a slow disk.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// Where a node is reached.
pub fn member(node: NodeId) -> Member {
    Member {
        node,
        peer_address: format!("node-{node}:7000"),
        http_address: format!("node-{node}:8080"),
        voter: true,
        matched: None,
    }
}

/// The outside world of one process.
#[derive(Clone)]
pub struct SimWorld {
    runtime: SharedRuntime,
    net: NodeNet,
    node: NodeId,
    record: Record,
}

impl SimWorld {
    pub fn new(sim: &Sim, net: NodeNet, node: NodeId, life: Life, record: Record) -> SimWorld {
        SimWorld { runtime: Arc::new(sim.runtime(life)), net, node, record }
    }
}

impl World for SimWorld {
    type Rt = SimRuntime;
    type Net = NodeNet;
    type Disk = SimDisk;
    type State = SimStateStore;

    fn runtime(&self) -> SharedRuntime {
        self.runtime.clone()
    }

    fn net(&self) -> NodeNet {
        self.net.clone()
    }

    fn applied(&self, index: LogIndex, batch: &[u8], told: &Told) {
        self.record.applied(self.node, index, batch, told);
    }
}

/// What one process of a node is started with.
pub struct Process {
    pub world: SimWorld,
    pub life: Life,
    pub node: NodeId,
    pub boot: BootCount,
    /// How often the disks of its machine were harmed before.
    pub harms: u64,
    pub data: DataId,
    pub disk: SimDisk,
    pub state: SimStateStore,
    pub doors: Doors,
    pub settings: Arc<Settings>,
    /// The first voters, on each of them; none for a node that joins later.
    pub members: Option<Vec<Member>>,
}

impl Process {
    /// Runs until it is asked to stop, or meets an error it cannot go on after: tells which.
    pub async fn run(self) -> Result<(), String> {
        let options = LogOptions {
            segment_bytes: self.settings.segment_bytes,
            cache_bytes: 32 << 10,
            low_water_bytes: self.settings.segment_bytes,
            salt: self.world.runtime.random(),
            ..LogOptions::default()
        };
        let disk = self.disk.clone();
        let log = match SimRuntime::spawn_blocking(move || Log::open(disk, options)).await {
            Ok(Ok((log, _recovered))) => log,
            Ok(Err(error)) => return Err(format!("opening the log: {error}")),
            Err(error) => return Err(format!("opening the log: {error}")),
        };
        let driver = drive(log.clone());
        match SimRuntime::select2(Box::pin(driver), Box::pin(self.serve(log.clone()))).await {
            Select2::First(error) => Err(format!("writing the log: {error}")),
            Select2::Second(Err(text)) => Err(text),
            Select2::Second(Ok(())) => {
                while blocking(&log, Log::drain).await.map_err(|error| error.to_string())? {}
                let sealed = blocking(&log, Log::seal).await;
                sealed.map(|_| ()).map_err(|error| format!("sealing the log: {error}"))
            }
        }
    }

    async fn serve(self, log: Log<SimDisk>) -> Result<(), String> {
        let options = NodeOptions {
            replica: self.replica_options(),
            service: ServiceOptions {
                admin_token: Some(ADMIN_TOKEN.into()),
                patience: PATIENCE,
                ..ServiceOptions::default()
            },
            members: self.members,
        };
        let runtime = self.world.runtime();
        let started = Node::start(self.world, options, log, self.state).await;
        let node = Arc::new(started.map_err(|error| format!("starting: {error}"))?);
        let stop = Signal::default();
        let (life, boot, harms) = (self.life, self.boot, self.harms);
        let door = Door { life, boot, harms, node: node.clone(), stop: stop.clone() };
        self.doors.open(self.node, door);
        match SimRuntime::select2(Box::pin(node.failed()), Box::pin(stop.wait())).await {
            Select2::First(text) => Err(text),
            Select2::Second(()) => {
                let start = runtime.elapsed();
                node.drain();
                node.stop().await;
                let took = runtime.elapsed() - start;
                if took > STOPPED_WITHIN { Err(format!("stopping took {took:?}")) } else { Ok(()) }
            }
        }
    }

    fn replica_options(&self) -> ReplicaOptions {
        ReplicaOptions {
            snapshot_every_bytes: self.settings.snapshot_every_bytes,
            snapshot_chunk_bytes: 1 << 10,
            log_bytes_max: self.settings.log_bytes_max,
            log_bytes_keep: self.settings.log_bytes_keep,
            // Half a segment holds the largest entry; a post of five large bodies still fits.
            entry_bytes_max: (self.settings.segment_bytes / 8) as usize,
            ..ReplicaOptions::new(self.node, "simulation", self.boot, self.data)
        }
    }
}

/// Drives the log as its owner must, until it fails for good.
async fn drive(log: Log<SimDisk>) -> LogError {
    let work = Signal::default();
    let waker = work.clone();
    log.set_waker(Box::new(move || waker.set()));
    loop {
        match turn(&log, &work).await {
            Ok(()) => {}
            Err(error) => return error,
        }
    }
}

/// Everything that is queued now, then upkeep, then a wait for more.
async fn turn(log: &Log<SimDisk>, work: &Signal) -> Result<(), LogError> {
    while blocking(log, Log::drain).await? {}
    if log.wants_upkeep() {
        blocking(log, Log::upkeep).await?;
    }
    if SimRuntime::timeout(IDLE, work.wait()).await.is_err() {
        blocking(log, Log::seal).await?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    log: &Log<SimDisk>,
    call: fn(&Log<SimDisk>) -> Result<T, LogError>,
) -> Result<T, LogError> {
    let log = log.clone();
    let result = SimRuntime::spawn_blocking(move || call(&log)).await;
    // Work that was taken away, was taken away with its life: nothing runs after that.
    result.expect("blocking work ends while its life lasts")
}
