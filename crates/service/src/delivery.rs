//! Messages on their way to a consumer: handed over, or given back.
//!
//! A reservation whose reply reached nobody would hide its messages until it lapses, and count
//! towards their dead-letter setting. So a reply is guarded: unless it is known to be written, the
//! reserve is taken back.
//! Not guarded: replies to keyed requests (the same key fetches them again), to reserves that
//! delete (nothing is left to give back), and to transactions (whole or not at all: a part of one
//! is not taken back; its messages lapse).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bessemer_model::{
    Command, Failure, Held, Outcome, ProjectId, QueueName, Request, ReservedMessage,
};
use bessemer_seam::BoxFuture;
use bessemer_seam::consensus::Consensus;
use bessemer_seam::mutants::{self, Mutant};
use bessemer_seam::runtime::SharedRuntime;

/// Takes reserves back, from wherever it is dropped.
#[derive(Clone)]
pub(crate) struct Undoer {
    pub consensus: Arc<dyn Consensus>,
    pub runtime: SharedRuntime,
    pub patience: Duration,
}

impl Undoer {
    /// Takes the reserve of `held` back. The task ends within one patience: what could not be
    /// undone lapses by itself, and counts.
    fn spawn(self, project: ProjectId, queue: QueueName, held: Vec<Held>) {
        let runtime = self.runtime.clone();
        runtime.spawn(Box::pin(self.undo(project, queue, held)));
    }

    async fn undo(self, project: ProjectId, queue: QueueName, held: Vec<Held>) {
        if held.is_empty() {
            return;
        }
        let command = Command::UndoReserve { queue, held };
        let request = Request { project, retry: None, command };
        // Nobody waits for the outcome.
        let _ = self.consensus.propose(request, self.patience).await;
    }
}

/// Reserved messages, and the guard over their reply.
#[derive(Debug)]
pub struct Delivery {
    /// Oldest first; empty when nothing was startable in time.
    pub messages: Vec<ReservedMessage>,
    /// Kept until the reply is written, then `delivered()`. `None` when nothing can be undone.
    pub undo: Option<Undo>,
}

impl Delivery {
    pub(crate) fn empty() -> Delivery {
        Delivery { messages: Vec::new(), undo: None }
    }
}

/// Takes the reserve of a reply back when it is dropped, unless it was delivered.
#[must_use = "dropping it gives the messages back"]
pub struct Undo {
    held: Option<(Undoer, ProjectId, QueueName, Vec<Held>)>,
}

impl Undo {
    /// The reply was written: the messages are the consumer's.
    pub fn delivered(mut self) {
        if !mutants::on(Mutant::UndoAfterDelivery) {
            self.held = None;
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some((undoer, project, queue, held)) = self.held.take() {
            undoer.spawn(project, queue, held);
        }
    }
}

impl std::fmt::Debug for Undo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.held.as_ref().map_or(0, |held| held.3.len());
        write!(f, "Undo({count} messages)")
    }
}

/// A reserve in flight. Dropped before its outcome arrived, it is awaited by a task of its own,
/// and whatever it reserved is taken back.
pub(crate) struct Flight {
    outcome: Option<BoxFuture<'static, Result<Outcome, Failure>>>,
    undoer: Undoer,
    project: ProjectId,
    queue: QueueName,
    guarded: bool,
}

impl Flight {
    /// Proposes `request`, a `ReserveMessages` of `queue`.
    pub fn new(undoer: Undoer, request: Request, queue: QueueName) -> Flight {
        let guarded = match &request.command {
            Command::ReserveMessages { delete, .. } => !delete && request.retry.is_none(),
            _ => panic!("only a reserve flies"),
        };
        let project = request.project.clone();
        let (consensus, patience) = (undoer.consensus.clone(), undoer.patience);
        let outcome = Box::pin(async move { consensus.propose(request, patience).await });
        Flight { outcome: Some(outcome), undoer, project, queue, guarded }
    }

    fn land(&self, messages: Vec<ReservedMessage>) -> Delivery {
        let undo = (self.guarded && !messages.is_empty()).then(|| {
            let (project, queue) = (self.project.clone(), self.queue.clone());
            Undo { held: Some((self.undoer.clone(), project, queue, held_of(&messages))) }
        });
        Delivery { messages, undo }
    }
}

fn held_of(messages: &[ReservedMessage]) -> Vec<Held> {
    let held =
        |message: &ReservedMessage| Held { message: message.id, reservation: message.reservation };
    messages.iter().map(held).collect()
}

impl Future for Flight {
    type Output = Result<Delivery, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = self.outcome.as_mut().expect("a flight is not polled after it landed");
        let Poll::Ready(outcome) = outcome.as_mut().poll(cx) else { return Poll::Pending };
        self.outcome = None;
        Poll::Ready(match outcome {
            Ok(Outcome::Reserved { messages }) => Ok(self.land(messages)),
            Ok(_) => crate::service::mismatched("ReserveMessages"),
            Err(failure) => Err(failure),
        })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome.take() else { return };
        if !self.guarded {
            return;
        }
        let (undoer, project, queue) =
            (self.undoer.clone(), self.project.clone(), self.queue.clone());
        self.undoer.runtime.spawn(Box::pin(async move {
            if let Ok(Outcome::Reserved { messages }) = outcome.await {
                undoer.undo(project, queue, held_of(&messages)).await;
            }
        }));
    }
}
