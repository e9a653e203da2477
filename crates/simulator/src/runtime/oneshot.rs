//! A channel for one value.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use openraft_rt::OptionalSend;

struct Slot<T> {
    value: Option<T>,
    sender_gone: bool,
    receiver_gone: bool,
    waker: Option<Waker>,
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Sender<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

pub struct Receiver<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

/// The sender went away without a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderGone;

impl fmt::Display for SenderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender went away without a value")
    }
}

impl std::error::Error for SenderGone {}

pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Slot { value: None, sender_gone: false, receiver_gone: false, waker: None };
    let slot = Arc::new(Mutex::new(slot));
    (Sender { slot: slot.clone() }, Receiver { slot })
}

impl<T: OptionalSend> openraft_rt::OneshotSender<T> for Sender<T> {
    fn send(self, value: T) -> Result<(), T> {
        let mut slot = lock(&self.slot);
        if slot.receiver_gone {
            return Err(value);
        }
        slot.value = Some(value);
        // The waker is called when `self` is dropped, right after this.
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut slot = lock(&self.slot);
            slot.sender_gone = true;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, SenderGone>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.slot);
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Ok(value));
        }
        if slot.sender_gone {
            return Poll::Ready(Err(SenderGone));
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let (value, waker) = {
            let mut slot = lock(&self.slot);
            slot.receiver_gone = true;
            (slot.value.take(), slot.waker.take())
        };
        // Outside the lock: dropping a value may run any code.
        drop((value, waker));
    }
}

/// Names the channel to openraft.
pub struct Oneshot;

impl openraft_rt::Oneshot for Oneshot {
    type Sender<T: OptionalSend> = Sender<T>;
    type Receiver<T: OptionalSend> = Receiver<T>;
    type ReceiverError = SenderGone;

    fn channel<T: OptionalSend>() -> (Sender<T>, Receiver<T>) {
        channel()
    }
}
