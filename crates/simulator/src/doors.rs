//! The doors of the cluster as clients see them: one per node, open while its process lives.
//!
//! Invariant: a call runs as a task of the node's life, so that it ends when the node does, and
//!   the client then knows as little as one whose connection broke.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bessemer_model::{BootCount, Millis, NodeId};
use bessemer_node::Node;
use bessemer_seam::BoxFuture;
use bessemer_seam::consensus::{ClusterStatus, Consensus};
use openraft_rt::{Oneshot as _, OneshotSender};

use crate::calls::Reply;
use crate::node::SimWorld;
use crate::runtime::{Life, Oneshot, Sim, Timeout};
use crate::seed::Rng;
use crate::signal::Signal;

/// What a client waits beyond the patience it gave, before it takes the node for dead.
const HUNG_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Door {
    pub life: Life,
    pub boot: BootCount,
    /// How often the disks of its machine were harmed before.
    pub harms: u64,
    pub node: Arc<Node<SimWorld>>,
    /// Asks the process to stop cleanly.
    pub(crate) stop: Signal,
}

/// Answers that do not reach their clients.
struct Loss {
    rng: Rng,
    per_million: u32,
    lost: u64,
}

/// All doors. Cheap to clone.
#[derive(Clone)]
pub struct Doors {
    sim: Sim,
    nodes: Arc<Mutex<Vec<NodeId>>>,
    open: Arc<Mutex<BTreeMap<NodeId, Door>>>,
    loss: Arc<Mutex<Loss>>,
}

impl Doors {
    pub fn new(sim: &Sim, nodes: Vec<NodeId>) -> Doors {
        let loss = Loss { rng: sim.fork_rng(), per_million: 0, lost: 0 };
        Doors {
            sim: sim.clone(),
            nodes: Arc::new(Mutex::new(nodes)),
            open: Arc::default(),
            loss: Arc::new(Mutex::new(loss)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Door>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn open(&self, node: NodeId, door: Door) {
        let old = self.lock().insert(node, door);
        drop(old);
    }

    pub fn close(&self, node: NodeId) {
        let old = self.lock().remove(&node);
        drop(old);
    }

    /// The nodes that clients know of.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells clients of other nodes.
    pub fn set_nodes(&self, nodes: Vec<NodeId>) {
        *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    /// Some node, whether its door is open or not.
    pub fn any(&self, rng: &mut Rng) -> NodeId {
        *rng.pick(&self.nodes())
    }

    pub fn door(&self, node: NodeId) -> Option<Door> {
        let door = self.lock().get(&node).cloned();
        door.filter(|door| self.sim.is_alive(door.life))
    }

    /// Log time of the newest entry applied on `node`.
    pub fn log_time(&self, node: NodeId) -> Option<Millis> {
        self.door(node).map(|door| door.node.replica().log_time())
    }

    /// Every door that is open, with what its node says of itself.
    pub fn statuses(&self) -> Vec<(Door, ClusterStatus)> {
        let doors = self.nodes().into_iter().filter_map(|node| self.door(node));
        doors.map(|door| (door.clone(), door.node.replica().status())).collect()
    }

    /// Lets this many of a million answers get lost on their way to clients.
    pub fn lose_answers(&self, per_million: u32) {
        self.loss().per_million = per_million;
    }

    /// Answers that got lost so far.
    pub fn answers_lost(&self) -> u64 {
        self.loss().lost
    }

    fn loss(&self) -> MutexGuard<'_, Loss> {
        self.loss.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `call` inside the node. `None` when the node died, or did not answer long after
    /// `patience`.
    pub async fn call<T: Send + 'static>(
        &self,
        door: Door,
        patience: Duration,
        call: impl FnOnce(Arc<Node<SimWorld>>) -> BoxFuture<'static, T>,
    ) -> Option<T> {
        let (sender, receiver) = Oneshot::channel();
        let call = call(door.node);
        self.sim.spawn(door.life, async move {
            // A client that hung up does not want the answer.
            let _ = sender.send(call.await);
        });
        let limit = self.sim.sleep(patience + HUNG_AFTER);
        Timeout::new(receiver, limit).await.ok()?.ok()
    }

    /// The same as a client's call: its answer may get lost, before or after it was written.
    pub async fn call_lossy(
        &self,
        door: Door,
        patience: Duration,
        call: impl FnOnce(Arc<Node<SimWorld>>) -> BoxFuture<'static, Reply>,
    ) -> Option<Reply> {
        let reply = self.call(door, patience, call).await?;
        let mut loss = self.loss();
        let per_million = loss.per_million;
        if !loss.rng.chance(per_million) {
            return Some(reply);
        }
        loss.lost += 1;
        let written = loss.rng.chance(500_000);
        drop(loss);
        match reply.undo {
            Some(undo) if written => undo.delivered(),
            undo => drop(undo),
        }
        None
    }
}
