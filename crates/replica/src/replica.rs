//! The handle others hold: start, propose, read, watch, change, stop.
//!
//! Not here: how. Invariants: nothing is served before the log is replayed; after `shutdown`
//! returned no task of the replica runs; after a fatal error nothing is answered as done.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bessemer_engine::{Engine, encode_request};
use bessemer_log::{GroupLog, Log};
use bessemer_model::limits::COMMAND_BYTES_MAX;
use bessemer_model::{Failure, LogIndex, Millis, NodeId, NotDone, Outcome, Request};
use bessemer_seam::BoxFuture;
use bessemer_seam::consensus::{
    ClusterStatus, Consensus, EffectStream, Member, MembershipChange, MembershipError,
};
use bessemer_seam::kv::{Kv, KvRead};
use bessemer_seam::log_disk::LogDisk;
use bessemer_seam::mutants::{self, Mutant};
use bessemer_seam::state_store::StateStore;
use openraft::errors::{InitializeError, RaftError};
use openraft::{AsyncRuntime, Raft};

use crate::codec::log_index;
use crate::disk::Disks;
use crate::effects::EffectHub;
use crate::event::{Latch, lock, within};
use crate::fatal::Fatal;
use crate::intake::Intake;
use crate::link::Pool;
use crate::log_store::{LogStore, last_index};
use crate::membership::Changing;
use crate::network::Factory;
use crate::options::ReplicaOptions;
use crate::peers::PeerMemory;
use crate::progress::Progress;
use crate::proposer::Proposer;
use crate::reads::Reads;
use crate::role::RoleCell;
use crate::shared::Shared;
use crate::snapshot::{Current, Retention, TransferCounts};
use crate::state_machine::{ROW_SNAPSHOTS, StateMachine};
use crate::steering::Steering;
use crate::tasks::Tasks;
use crate::types::PeerNode;
use crate::watch::metrics_of;
use crate::world::{KvOf, World};

/// Why a replica did not start. The node must not serve.
#[derive(Debug)]
pub struct StartError {
    what: &'static str,
    cause: String,
}

impl StartError {
    fn new(what: &'static str, cause: impl fmt::Display) -> StartError {
        StartError { what, cause: cause.to_string() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.what, self.cause)
    }
}

impl std::error::Error for StartError {}

/// Numbers of a replica at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaMetrics {
    /// Entries proposed by this node as leader, and parts in them, since its start.
    pub entries_proposed: u64,
    pub parts_proposed: u64,
    /// Forward streams from other nodes that this node serves.
    pub forward_streams: u64,
    /// How far this node's wall clock is from the voters' median.
    pub clock_off_ms: u64,
    pub clock_off: bool,
    /// Newest snapshot, and newest purged entry.
    pub snapshot: LogIndex,
    pub purged: LogIndex,
    pub log_bytes_held: u64,
    pub transfers: TransferCounts,
    /// A majority answered this leader lately; false on others.
    pub serving: bool,
}

/// One node's replica of one group. A cheap handle; clones share it.
pub struct Replica<W: World> {
    shared: Arc<Shared<W>>,
}

impl<W: World> Clone for Replica<W> {
    fn clone(&self) -> Self {
        Replica { shared: self.shared.clone() }
    }
}

impl<W: World> Replica<W> {
    /// Opens the state, replays the log and begins to take part.
    ///
    /// `members`: the voters of a new cluster, the same list on each of them; ignored once the
    /// log holds anything. `None`: waits to be added by a leader.
    /// The owner of `log` drives its `drain`; without that, this never returns.
    pub async fn start(
        world: W,
        options: ReplicaOptions,
        log: Log<W::Disk>,
        state: W::State,
        members: Option<Vec<Member>>,
    ) -> Result<Replica<W>, StartError> {
        let (shared, engine) = prepare(world, options, log, state).await?;
        let (store, machine) = adapters(&shared, engine)?;
        let factory = Factory { shared: shared.clone() };
        let config = crate::config::raft_config(&shared.options)
            .map_err(|error| StartError::new("checking the election timing", error))?;
        let raft = Raft::build(shared.options.node.0, Arc::new(config), factory, store, machine)
            .await
            .map_err(|error| StartError::new("replaying the log", error))?;
        assert!(shared.raft.set(raft).is_ok(), "openraft is built once");
        shared.raft().run();
        if let Some(members) = members {
            bootstrap(&shared, members).await?;
        }
        spawn_tasks(&shared);
        Ok(Replica { shared })
    }

    /// Completes with the first error this replica cannot go on after: the process must end.
    pub async fn fatal(&self) -> String {
        self.shared.fatal.wait().await
    }

    /// The error this replica cannot go on after, if there is one.
    pub fn failure(&self) -> Option<String> {
        self.shared.fatal.get()
    }

    /// Waits until this node has applied everything its log held when it started, as the leader
    /// confirms it. `false` when that took longer than `patience`.
    pub async fn recovered(&self, patience: Duration) -> bool {
        let work = self.shared.raft().wait_for_recovery(Some(patience));
        work.await.is_ok()
    }

    pub fn metrics(&self) -> ReplicaMetrics {
        let shared = &self.shared;
        let clock_off_ms = shared.clock_off_ms.load(Ordering::Relaxed);
        let log = shared.group_log.state();
        ReplicaMetrics {
            entries_proposed: shared.intake.entries.load(Ordering::Relaxed) as u64,
            parts_proposed: shared.intake.parts.load(Ordering::Relaxed) as u64,
            forward_streams: shared.intake.streams() as u64,
            clock_off_ms,
            clock_off: clock_off_ms > shared.options.clock_off_ms_max,
            snapshot: shared.retention.current().map_or(LogIndex(0), |current| current.index()),
            purged: LogIndex(log.purged.map_or(0, |(index, _)| index)),
            log_bytes_held: log.entry_bytes,
            transfers: shared.retention.counts(),
            serving: crate::lane::serving(shared),
        }
    }

    /// Newest entry this node remembers to be durable and committed on `peer`: the peer is refused
    /// once it comes with less. 0 when nothing is remembered.
    pub fn remembered(&self, peer: NodeId) -> LogIndex {
        LogIndex(self.shared.peers.held_by(peer))
    }

    /// Takes a snapshot now, whatever the log's size.
    pub async fn take_snapshot(&self) -> std::io::Result<()> {
        crate::retention::take(&self.shared).await
    }

    /// Stops taking work, hands leadership over, waits for what is under way, flushes, stops.
    /// Within about twice `shutdown_ms_max`.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        shared.draining.set();
        shared.proposer.refuse_open(NotDone::ShuttingDown);
        let limit = Duration::from_millis(shared.options.shutdown_ms_max);
        if shared.role.leading() {
            crate::membership::give_away(shared).await;
        }
        let quiet = async {
            while shared.role.leading() && has_other_voters(shared) || shared.proposer.busy() {
                shared.runtime.sleep(Duration::from_millis(10)).await;
            }
        };
        if within(&*shared.runtime, limit, quiet).await.is_none() {
            tracing::warn!("stopping with work under way: its callers learn nothing of it");
        }
        shared.stop.set();
        shared.effects.stop();
        if let Err(error) = shared.raft().shutdown().await {
            tracing::warn!(%error, "agreement did not stop cleanly");
        }
        shared.pool.clear();
        let stopped = within(&*shared.runtime, limit, shared.tasks.stopped()).await;
        if stopped.is_none() {
            tracing::warn!("some of the replica's tasks did not stop in time");
        }
        let kv = lock(&shared.kv).clone();
        match W::Rt::spawn_blocking(move || kv.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => {
                tracing::error!(%error, "the state was not flushed; the log will be replayed");
            }
        }
    }
}

/// What openraft stores into: the log and the state.
type Adapters<W> = (LogStore<<W as World>::Rt, <W as World>::Disk>, StateMachine<W>);

/// The log store and the state machine alone, as openraft sees them, without agreement around
/// them: for storage suites.
pub async fn open_storage<W: World>(
    world: W,
    options: ReplicaOptions,
    log: Log<W::Disk>,
    state: W::State,
) -> Result<Adapters<W>, StartError> {
    let (shared, engine) = prepare(world, options, log, state).await?;
    adapters(&shared, engine)
}

fn adapters<W: World>(
    shared: &Arc<Shared<W>>,
    engine: Engine<KvOf<W>>,
) -> Result<Adapters<W>, StartError> {
    let machine = StateMachine::open(shared.clone(), engine)
        .map_err(|error| StartError::new("reading the state", error))?;
    let store = LogStore::new(shared.group_log.clone(), shared.options.append_bytes_max);
    Ok((store, machine))
}

fn has_other_voters<W: World>(shared: &Shared<W>) -> bool {
    let me = shared.options.node.0;
    crate::watch::membership_of(shared).voter_ids().any(|voter| voter != me)
}

type Prepared<W> = (Arc<Shared<W>>, Engine<KvOf<W>>);

/// Opens the state and puts together what the parts share.
async fn prepare<W: World>(
    world: W,
    options: ReplicaOptions,
    log: Log<W::Disk>,
    state: W::State,
) -> Result<Prepared<W>, StartError> {
    let state = Arc::new(state);
    let (opener, group, me) = (state.clone(), options.group, options.node);
    let boot = options.boot;
    let opened = W::Rt::spawn_blocking(move || {
        let kv = opener.open()?;
        let engine = Engine::open(kv.clone(), group, me, boot).map_err(std::io::Error::other)?;
        let records = engine.meta(ROW_SNAPSHOTS).map_err(std::io::Error::other)?;
        let current = Current::<W>::find(opener.latest()?, records.as_deref())?;
        Ok::<_, std::io::Error>((kv, engine, current))
    })
    .await
    .and_then(|opened| opened)
    .map_err(|error| StartError::new("opening the state", error))?;
    let (kv, engine, current) = opened;
    let runtime = world.runtime();
    let group_log = log.group(options.group);
    let log_bytes = group_log.state().entry_bytes;
    let applied = engine.applied().index;
    let current = current.filter(|current| reaches_log(current.index(), applied, &group_log));
    let shared = Shared {
        net: world.net(),
        world,
        group_log,
        log,
        state,
        kv: Mutex::new(kv),
        progress: Progress::default(),
        role: RoleCell::default(),
        proposer: Proposer::new(&options, runtime.elapsed()),
        intake: Intake::new(options.intake_bytes_max),
        effects: EffectHub::default(),
        reads: Reads::default(),
        pool: Pool::default(),
        peers: PeerMemory::default(),
        steering: Steering::default(),
        clock_off_ms: AtomicU64::new(0),
        retention: Retention::new(current, applied, log_bytes, options.log_bytes_keep),
        changing: Changing::default(),
        disks: Disks::default(),
        stop: Latch::default(),
        draining: Latch::default(),
        fatal: Fatal::default(),
        tasks: Tasks::new(runtime.clone()),
        raft: OnceLock::new(),
        runtime,
        options,
    };
    Ok((Arc::new(shared), engine))
}

/// Whether the entries behind `snapshot` are there. A state may outlive the end of its log: entries
/// are applied as soon as they are committed elsewhere, and a crash can take them from a log whose
/// device was slow or full. openraft then drops the log up to the state. An older snapshot would
/// leave a hole behind it; where there is none, openraft takes a new one.
fn reaches_log<D: LogDisk>(snapshot: LogIndex, applied: LogIndex, log: &GroupLog<D>) -> bool {
    let purged = LogIndex(log.state().purged.map_or(0, |(index, _)| index));
    let dropped = if applied.0 > last_index(log) { applied } else { purged };
    snapshot >= dropped
}

/// Begins a new cluster, unless the log already holds something.
async fn bootstrap<W: World>(
    shared: &Arc<Shared<W>>,
    members: Vec<Member>,
) -> Result<(), StartError> {
    let nodes: BTreeMap<u64, PeerNode> = members
        .into_iter()
        .map(|member| {
            let Member { node, peer_address, http_address, .. } = member;
            (node.0, PeerNode { peer_address, http_address })
        })
        .collect();
    match shared.raft().initialize(nodes).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(StartError::new("beginning the cluster", error)),
    }
}

fn spawn_tasks<W: World>(shared: &Arc<Shared<W>>) {
    let tasks = &shared.tasks;
    tasks.spawn(crate::watch::roles(shared.clone()));
    tasks.spawn(crate::watch::pings(shared.clone()));
    tasks.spawn(crate::server::accept_loop(shared.clone()));
    tasks.spawn(crate::intake::run(shared.clone()));
    tasks.spawn(crate::lane::run(shared.clone()));
    tasks.spawn(crate::reads::run(shared.clone()));
    tasks.spawn(crate::ticker::run(shared.clone()));
    tasks.spawn(crate::retention::run(shared.clone()));
    tasks.spawn(crate::membership::finish_changes(shared.clone()));
}

impl<W: World> Replica<W> {
    async fn propose_inner(
        &self,
        request: Request,
        patience: Duration,
    ) -> Result<Outcome, Failure> {
        let shared = &self.shared;
        if shared.draining.is_set() || shared.fatal.get().is_some() {
            return Err(Failure::NotDone(NotDone::ShuttingDown));
        }
        if request.command.grows() && crate::disk::is_low(shared) {
            return Err(Failure::NotDone(NotDone::DiskFull));
        }
        let encoded = encode_request(&request);
        if encoded.len() > COMMAND_BYTES_MAX {
            return Err(Failure::NotDone(NotDone::TooLarge));
        }
        let now = shared.runtime.elapsed();
        let queued = shared.proposer.queue(request.project, encoded, now);
        let mut ticket = queued.map_err(Failure::NotDone)?;
        match within(&*shared.runtime, patience, &mut ticket.answer).await {
            Some(Ok(answer)) => answer,
            // The replica is gone, and with it the knowledge of what became of the request.
            Some(Err(_)) => Err(Failure::Unknown),
            None if ticket.withdraw() || mutants::on(Mutant::TimeoutToldAsNotDone) => {
                Err(Failure::NotDone(self.why_not()))
            }
            None => Err(Failure::Unknown),
        }
    }

    /// Why a request got no place within its patience.
    fn why_not(&self) -> NotDone {
        let role = self.shared.role.get();
        let deposed = role.leading && !crate::lane::serving(&self.shared);
        if role.leader.is_none() || deposed { NotDone::NoLeader } else { NotDone::Overloaded }
    }

    async fn barrier_inner(&self, patience: Duration) -> Result<(), Failure> {
        let shared = &self.shared;
        let work = async {
            let joined = shared.reads.join().ok_or(NotDone::Overloaded)?;
            let index = joined.await.map_err(|_| NotDone::ShuttingDown)??;
            if !mutants::on(Mutant::ReadBeforeApplied) {
                shared.progress.reached(index).await;
            }
            Ok(())
        };
        match within(&*shared.runtime, patience, work).await {
            Some(result) => result.map_err(Failure::NotDone),
            None => Err(Failure::NotDone(self.why_not())),
        }
    }
}

impl<W: World> Consensus for Replica<W> {
    fn propose(
        &self,
        request: Request,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Outcome, Failure>> {
        Box::pin(self.propose_inner(request, patience))
    }

    fn barrier(&self, patience: Duration) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.barrier_inner(patience))
    }

    fn view(&self) -> Arc<dyn KvRead> {
        Arc::new(self.shared.view())
    }

    fn log_time(&self) -> Millis {
        self.shared.progress.get().log_time
    }

    fn effects(&self) -> Box<dyn EffectStream> {
        Box::new(self.shared.effects.subscribe())
    }

    fn status(&self) -> ClusterStatus {
        let shared = &self.shared;
        let metrics = metrics_of(shared);
        let role = shared.role.get();
        let applied = shared.progress.get();
        let clock_off_ms = shared.clock_off_ms.load(Ordering::Relaxed);
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let matched = |id: &u64| metrics.replication.as_ref()?.get(id).copied().flatten();
        let mut members: Vec<Member> = metrics
            .membership_config
            .nodes()
            .map(|(id, node)| Member {
                node: NodeId(*id),
                peer_address: node.peer_address.clone(),
                http_address: node.http_address.clone(),
                voter: voters.contains(id),
                matched: matched(id).map(|id| log_index(id.index)),
            })
            .collect();
        members.sort_by_key(|member| member.node);
        ClusterStatus {
            me: shared.options.node,
            leader: role.leader,
            term: role.term,
            committed: metrics.local_committed.map_or(LogIndex(0), |id| log_index(id.index)),
            applied: applied.index,
            chain: applied.chain,
            log_time: applied.log_time,
            has_majority: !role.leading || crate::lane::has_majority(shared),
            clock_off: Millis(clock_off_ms),
            clock_wrong: clock_off_ms > shared.options.clock_off_ms_max,
            disk_low: shared.log.stats().low,
            members,
        }
    }

    fn change_membership(
        &self,
        change: MembershipChange,
        patience: Duration,
    ) -> BoxFuture<'_, Result<(), MembershipError>> {
        Box::pin(async move {
            let work = crate::membership::change(&self.shared, change);
            within(&*self.shared.runtime, patience, work)
                .await
                .unwrap_or(Err(MembershipError::Unknown))
        })
    }
}
