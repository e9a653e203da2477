//! Messages on their way to a consumer: handed over, or given back.
//!
//! A reservation whose reply reached nobody would hide its messages until it lapses. So a reply
//! is guarded: unless it is known to be written, its messages are released.
//! Not guarded: replies to keyed requests (the same key fetches them again), and to reserves that
//! delete (nothing is left to give back).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bessemer_model::{
    Command, Failure, Millis, Outcome, ProjectId, QueueName, Request, ReservedMessage,
};
use bessemer_seam::BoxFuture;
use bessemer_seam::consensus::Consensus;
use bessemer_seam::runtime::SharedRuntime;

/// Gives messages back, from wherever it is dropped.
#[derive(Clone)]
pub(crate) struct Undoer {
    pub consensus: Arc<dyn Consensus>,
    pub runtime: SharedRuntime,
    pub patience: Duration,
}

impl Undoer {
    /// Releases each of `messages` at once. The task ends within two patiences: what could not
    /// be released lapses by itself.
    fn spawn(self, project: ProjectId, queue: QueueName, messages: Vec<ReservedMessage>) {
        let runtime = self.runtime.clone();
        runtime.spawn(Box::pin(self.undo(project, queue, messages)));
    }

    async fn undo(self, project: ProjectId, queue: QueueName, messages: Vec<ReservedMessage>) {
        let mut commands: Vec<Command> = messages
            .iter()
            .map(|message| Command::ReleaseMessage {
                queue: queue.clone(),
                message: message.id,
                reservation: message.reservation,
                delay: Millis::ZERO,
            })
            .collect();
        let propose = |command| {
            let request = Request { project: project.clone(), retry: None, command };
            self.consensus.propose(request, self.patience)
        };
        if commands.len() > 1 {
            let together = Command::Transaction { commands: commands.clone() };
            match propose(together).await {
                Ok(_) => return,
                // One of them is gone or lapsed already: the others go one by one.
                Err(Failure::Rejected(_)) => (),
                Err(Failure::NotDone(_) | Failure::Unknown) => return,
            }
        }
        for command in commands.drain(..) {
            match propose(command).await {
                Ok(_) | Err(Failure::Rejected(_)) => (),
                Err(Failure::NotDone(_) | Failure::Unknown) => return,
            }
        }
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

/// Releases the messages of a reply when it is dropped, unless it was delivered.
#[must_use = "dropping it gives the messages back"]
pub struct Undo {
    held: Option<(Undoer, ProjectId, QueueName, Vec<ReservedMessage>)>,
}

impl Undo {
    /// The reply was written: the messages are the consumer's.
    pub fn delivered(mut self) {
        self.held = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some((undoer, project, queue, messages)) = self.held.take() {
            undoer.spawn(project, queue, messages);
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
/// and whatever it reserved is released.
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
            let held = messages.iter().map(|m| ReservedMessage { body: None, ..m.clone() });
            let (project, queue) = (self.project.clone(), self.queue.clone());
            Undo { held: Some((self.undoer.clone(), project, queue, held.collect())) }
        });
        Delivery { messages, undo }
    }
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
                undoer.undo(project, queue, messages).await;
            }
        }));
    }
}
