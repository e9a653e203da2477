//! What all parts of one replica share.
//!
//! Not here: behavior. Each field says who writes it and who reads it.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use bessemer_log::{GroupLog, Log};
use bessemer_seam::kv::Kv;
use bessemer_seam::runtime::SharedRuntime;
use openraft::Raft;

use crate::disk::Disks;
use crate::effects::EffectHub;
use crate::event::{Latch, lock};
use crate::fatal::Fatal;
use crate::intake::Intake;
use crate::link::Pool;
use crate::log_store::last_index;
use crate::membership::Changing;
use crate::options::ReplicaOptions;
use crate::peers::PeerMemory;
use crate::progress::Progress;
use crate::proposer::Proposer;
use crate::reads::Reads;
use crate::role::RoleCell;
use crate::snapshot::Retention;
use crate::state_machine::StateMachine;
use crate::steering::Steering;
use crate::tasks::Tasks;
use crate::types::Types;
use crate::world::{KvOf, ViewOf, World};

pub(crate) type RaftOf<W> = Raft<Types<<W as World>::Rt>, StateMachine<W>>;

pub(crate) struct Shared<W: World> {
    pub world: W,
    pub runtime: SharedRuntime,
    pub net: W::Net,
    pub options: ReplicaOptions,
    pub log: Log<W::Disk>,
    pub group_log: GroupLog<W::Disk>,
    pub state: Arc<W::State>,
    /// Replaced by the apply worker when a snapshot is installed; read by everyone.
    pub kv: Mutex<KvOf<W>>,
    /// Written by the apply worker; read by reads, ticker, status.
    pub progress: Progress,
    /// Written by the role task; read by everyone.
    pub role: RoleCell,
    /// This node's lane: filled by callers, emptied by the lane task and the apply worker.
    pub proposer: Proposer,
    /// The leader's queue: filled by streams and the own lane, emptied by the intake task.
    pub intake: Intake,
    /// Written by the apply worker; read by subscribers.
    pub effects: EffectHub,
    pub reads: Reads,
    /// Control connections to peers that nobody uses at the moment.
    pub pool: Pool<W>,
    /// What is remembered of peers: written by handshakes and the leader, kept by the worker.
    pub peers: PeerMemory,
    /// Log time: fed by pings, used by the intake.
    pub steering: Steering,
    /// How far this node's wall clock is from the voters' median, in milliseconds.
    pub clock_off_ms: AtomicU64,
    /// What may be purged: written by the apply worker and transfers, read by the controller.
    pub retention: Retention<W>,
    /// Which peers' disks are nearly full: written by pings, read by callers.
    pub disks: Disks,
    /// Held while this node changes the membership.
    pub changing: Changing,
    /// Set once, at shutdown: every task ends.
    pub stop: Latch,
    /// Set once, when shutdown begins: nothing new is accepted.
    pub draining: Latch,
    pub fatal: Fatal,
    pub tasks: Tasks,
    /// Set once, right after openraft was built.
    pub raft: OnceLock<RaftOf<W>>,
}

impl<W: World> Shared<W> {
    /// Valid from the moment `Replica::start` spawned the first task.
    pub fn raft(&self) -> &RaftOf<W> {
        self.raft.get().expect("openraft is built before any task that uses it is spawned")
    }

    pub fn view(&self) -> ViewOf<W> {
        lock(&self.kv).view()
    }

    /// Newest index that this node holds: in its log, or durably in its state, as right after a
    /// snapshot was installed. 0 when it never held anything.
    pub fn last_index(&self) -> u64 {
        last_index(&self.group_log).max(self.retention.flushed().0)
    }
}
