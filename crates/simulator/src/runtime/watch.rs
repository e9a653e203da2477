//! A watched value; those who wait for a change are woken in the order they came.
//!
//! Invariant: `version` grows with each change that is told, and a receiver has seen at most it.

use std::collections::VecDeque;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll, Waker};

use openraft_rt::watch::{RecvError, SendError};
use openraft_rt::{OptionalSend, OptionalSync};

struct Versioned<T> {
    value: T,
    version: u64,
}

struct Waiters {
    queue: VecDeque<(u64, Waker)>,
    next_ticket: u64,
    senders: usize,
    receivers: usize,
}

struct Channel<T> {
    value: RwLock<Versioned<T>>,
    waiters: Mutex<Waiters>,
}

impl<T> Channel<T> {
    fn read(&self) -> RwLockReadGuard<'_, Versioned<T>> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value; tells it when `modify` says so.
    fn modify(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = {
            let mut current = self.value.write().unwrap_or_else(PoisonError::into_inner);
            let modified = modify(&mut current.value);
            current.version += u64::from(modified);
            modified
        };
        if modified {
            self.wake_all();
        }
        modified
    }

    fn wake_all(&self) {
        let queue = std::mem::take(&mut self.waiters().queue);
        for (_, waker) in queue {
            waker.wake();
        }
    }
}

pub struct Sender<T> {
    channel: Arc<Channel<T>>,
}

pub struct Receiver<T> {
    channel: Arc<Channel<T>>,
    seen: u64,
}

/// The current value, locked for reading.
pub struct Ref<'a, T> {
    guard: RwLockReadGuard<'a, Versioned<T>>,
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard.value
    }
}

/// Names the channel to openraft.
pub struct Watch;

impl openraft_rt::Watch for Watch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let waiters = Waiters { queue: VecDeque::new(), next_ticket: 0, senders: 1, receivers: 1 };
        let channel = Arc::new(Channel {
            value: RwLock::new(Versioned { value: init, version: 0 }),
            waiters: Mutex::new(waiters),
        });
        (Sender { channel: channel.clone() }, Receiver { channel, seen: 0 })
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.channel.waiters().senders += 1;
        Sender { channel: self.channel.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let last = {
            let mut waiters = self.channel.waiters();
            waiters.senders -= 1;
            waiters.senders == 0
        };
        if last {
            self.channel.wake_all();
        }
    }
}

impl<T: OptionalSend + OptionalSync> openraft_rt::WatchSender<Watch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.channel.waiters().receivers == 0 {
            return Err(SendError(value));
        }
        let mut old = None;
        self.channel.modify(|current| {
            old = Some(std::mem::replace(current, value));
            true
        });
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        self.channel.modify(modify)
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        Ref { guard: self.channel.read() }
    }

    fn subscribe(&self) -> Receiver<T> {
        self.channel.waiters().receivers += 1;
        let seen = self.channel.read().version;
        Receiver { channel: self.channel.clone(), seen }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.channel.waiters().receivers += 1;
        Receiver { channel: self.channel.clone(), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.channel.waiters().receivers -= 1;
    }
}

impl<T: OptionalSend + OptionalSync> openraft_rt::WatchReceiver<Watch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        Changed { receiver: self, ticket: None }.await
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        Ref { guard: self.channel.read() }
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let guard = self.channel.read();
        self.seen = guard.version;
        Ref { guard }
    }
}

/// Waits for a version not seen yet, or for the end of every sender.
struct Changed<'a, T> {
    receiver: &'a mut Receiver<T>,
    ticket: Option<u64>,
}

impl<T> Changed<'_, T> {
    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.receiver.channel.waiters().queue.retain(|(waiting, _)| *waiting != ticket);
        }
    }
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let version = this.receiver.channel.read().version;
        if version != this.receiver.seen {
            this.receiver.seen = version;
            this.leave();
            return Poll::Ready(Ok(()));
        }
        let mut waiters = this.receiver.channel.waiters();
        if waiters.senders == 0 {
            drop(waiters);
            this.leave();
            return Poll::Ready(Err(RecvError(())));
        }
        let waker = cx.waker().clone();
        match waiters.queue.iter().position(|(waiting, _)| Some(*waiting) == this.ticket) {
            Some(place) => waiters.queue[place].1 = waker,
            None => {
                waiters.next_ticket += 1;
                let ticket = waiters.next_ticket;
                this.ticket = Some(ticket);
                waiters.queue.push_back((ticket, waker));
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        self.leave();
    }
}
