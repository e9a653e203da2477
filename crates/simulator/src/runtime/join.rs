//! A spawned task as its owner sees it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use openraft_rt::{OneshotSender, OptionalSend};
use pin_project_lite::pin_project;

use super::executor::panic_message;
use super::oneshot::{Receiver, Sender};

/// Why a task gave no output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JoinError {
    Panic(String),
    /// Its life ended.
    Cancelled,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panic(message) => write!(f, "the task panicked: {message}"),
            JoinError::Cancelled => f.write_str("the task ended with its node"),
        }
    }
}

impl std::error::Error for JoinError {}

/// Waits for a task's output. Dropping it leaves the task alone.
pub struct JoinHandle<T> {
    pub(crate) receiver: Receiver<Result<T, JoinError>>,
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(cx)
            .map(|received| received.unwrap_or(Err(JoinError::Cancelled)))
    }
}

pin_project! {
    /// A task that reports its output. A panic is reported too, and goes on to the executor.
    pub(crate) struct Reporting<F: Future> {
        #[pin]
        future: F,
        sender: Option<Sender<Result<F::Output, JoinError>>>,
    }
}

impl<F: Future> Reporting<F> {
    pub(crate) fn new(future: F, sender: Sender<Result<F::Output, JoinError>>) -> Reporting<F> {
        Reporting { future, sender: Some(sender) }
    }
}

impl<F> Future for Reporting<F>
where
    F: Future + OptionalSend,
    F::Output: OptionalSend,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let mut future = this.future;
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let (result, payload) = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => (Ok(output), None),
            Err(payload) => (Err(JoinError::Panic(panic_message(&*payload))), Some(payload)),
        };
        if let Some(sender) = this.sender.take() {
            // An owner that dropped its handle does not want to know.
            let _ = sender.send(result);
        }
        match payload {
            Some(payload) => resume_unwind(payload),
            None => Poll::Ready(()),
        }
    }
}
