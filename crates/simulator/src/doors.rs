//! The doors of the cluster as clients see them: one per node, open while its process lives.
//!
//! Invariant: a call runs as a task of the node's life, so that it ends when the node does, and
//!   the client then knows as little as one whose connection broke.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bessemer_model::{Failure, Millis, NodeId, NotDone, Outcome, Request};
use bessemer_replica::Replica;
use bessemer_seam::BoxFuture;
use bessemer_seam::consensus::{ClusterStatus, Consensus};
use openraft_rt::{Oneshot as _, OneshotSender};

use crate::node::SimWorld;
use crate::runtime::{Life, Oneshot, Sim, Timeout};
use crate::seed::Rng;
use crate::signal::Signal;

/// What a client waits beyond the patience it gave, before it takes the node for dead.
const HUNG_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Door {
    pub life: Life,
    pub replica: Replica<SimWorld>,
    /// Asks the process to stop cleanly.
    pub(crate) stop: Signal,
}

/// All doors. Cheap to clone.
#[derive(Clone)]
pub struct Doors {
    sim: Sim,
    nodes: Arc<Mutex<Vec<NodeId>>>,
    open: Arc<Mutex<BTreeMap<NodeId, Door>>>,
}

impl Doors {
    pub fn new(sim: &Sim, nodes: Vec<NodeId>) -> Doors {
        Doors { sim: sim.clone(), nodes: Arc::new(Mutex::new(nodes)), open: Arc::default() }
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
        self.door(node).map(|door| door.replica.log_time())
    }

    /// The status of every node whose door is open.
    pub fn statuses(&self) -> Vec<ClusterStatus> {
        self.nodes()
            .into_iter()
            .filter_map(|node| self.door(node))
            .map(|door| door.replica.status())
            .collect()
    }

    /// Runs `call` inside the node. `None` when the node died, or did not answer long after
    /// `patience`.
    pub async fn call<T: Send + 'static>(
        &self,
        door: Door,
        patience: Duration,
        call: impl FnOnce(Replica<SimWorld>) -> BoxFuture<'static, T>,
    ) -> Option<T> {
        let (sender, receiver) = Oneshot::channel();
        let call = call(door.replica);
        self.sim.spawn(door.life, async move {
            // A client that hung up does not want the answer.
            let _ = sender.send(call.await);
        });
        let limit = self.sim.sleep(patience + HUNG_AFTER);
        Timeout::new(receiver, limit).await.ok()?.ok()
    }

    /// Proposes `request` at `node`, as a client connected to it.
    pub async fn propose(
        &self,
        node: NodeId,
        request: Request,
        patience: Duration,
    ) -> Result<Outcome, Failure> {
        let Some(door) = self.door(node) else {
            // Refused connections cost a client a little time.
            self.sim.sleep(Duration::from_millis(10)).await;
            return Err(Failure::NotDone(NotDone::ShuttingDown));
        };
        let answer = self.call(door, patience, move |replica| {
            Box::pin(async move { replica.propose(request, patience).await })
        });
        answer.await.unwrap_or(Err(Failure::Unknown))
    }
}
