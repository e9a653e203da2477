//! The start and stop order of a node.
//!
//! Start: log (by the caller, with its driver) → replica → service and its duty.
//! Stop: long polls → doors (by the caller) → replica → duty → log driver (by the caller).
//! Invariant: nothing is proposed before the replica runs, and nothing waits after it stopped.

use std::sync::{Arc, Mutex, PoisonError};

use bessemer_log::Log;
use bessemer_replica::{Replica, ReplicaOptions, StartError, World};
use bessemer_seam::consensus::{Consensus, Member};
use bessemer_service::{Options as ServiceOptions, Service};
use futures_channel::oneshot;

/// What a node is made with.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub replica: ReplicaOptions,
    pub service: ServiceOptions,
    /// The nodes the cluster begins with, the same on each; `None` for a node that joins later.
    /// Not looked at once the node has a log.
    pub members: Option<Vec<Member>>,
}

/// A running node.
pub struct Node<W: World> {
    replica: Arc<Replica<W>>,
    service: Arc<Service>,
    /// Completes when the service's duty has ended; taken by `stop`.
    duty_ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl<W: World> Node<W> {
    /// Starts a node on an open log, which someone drives, and its state. Returns once the local
    /// log was replayed; the cluster may still be without a leader.
    pub async fn start(
        world: W,
        options: NodeOptions,
        log: Log<W::Disk>,
        state: W::State,
    ) -> Result<Node<W>, StartError> {
        let runtime = world.runtime();
        let replica = Replica::start(world, options.replica, log, state, options.members).await?;
        let replica = Arc::new(replica);
        let consensus: Arc<dyn Consensus> = replica.clone();
        let (service, duty) = Service::new(consensus, runtime.clone(), options.service);
        let (ended, duty_ended) = oneshot::channel::<()>();
        runtime.spawn(Box::pin(async move {
            duty.await;
            drop(ended);
        }));
        Ok(Node { replica, service, duty_ended: Mutex::new(Some(duty_ended)) })
    }

    /// The use cases, for the doors.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    pub fn replica(&self) -> &Arc<Replica<W>> {
        &self.replica
    }

    /// Completes with the cause when the node cannot go on, which may be never. The owner then
    /// ends the process: a node never limps on.
    pub async fn failed(&self) -> String {
        self.replica.fatal().await
    }

    /// First step of a stop: long polls end, so that the doors can close.
    pub fn drain(&self) {
        self.service.drain();
    }

    /// Hands leadership over, makes state and log durable, ends every task of the node. The
    /// doors are closed by now. A second call does nothing more.
    pub async fn stop(&self) {
        self.replica.shutdown().await;
        let duty_ended = self.duty_ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = duty_ended {
            // Always canceled: the sender is dropped when the duty ends, with the effects.
            let _canceled = ended.await;
        }
    }
}
