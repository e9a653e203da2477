//! Waking tasks: an event that any number of tasks wait for.
//!
//! Not here: data. Whoever notifies changes shared state first; whoever waits makes a listener
//! first, then looks at the state, then awaits the listener: nothing is missed in between.
//! Invariant: tasks are woken in the order in which they began to wait (no random choice).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Locks `mutex`; a panic elsewhere while it was held does not stop this node from stopping.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Inner {
    /// Grows with each `notify`.
    generation: u64,
    next_listener: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// Something that happens again and again.
#[derive(Default)]
pub(crate) struct Event {
    inner: Mutex<Inner>,
}

impl Event {
    /// Wakes everyone who listens now.
    pub fn notify(&self) {
        let wakers = {
            let mut inner = lock(&self.inner);
            inner.generation += 1;
            std::mem::take(&mut inner.wakers)
        };
        for waker in wakers.into_values() {
            waker.wake();
        }
    }

    /// A future that completes with the first `notify` after this call.
    pub fn listen(&self) -> Listener<'_> {
        let mut inner = lock(&self.inner);
        inner.next_listener += 1;
        Listener { event: self, seen: inner.generation, number: inner.next_listener }
    }
}

/// Waits for one `notify`. Cancel-safe.
pub(crate) struct Listener<'a> {
    event: &'a Event,
    seen: u64,
    number: u64,
}

impl Future for Listener<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = lock(&self.event.inner);
        if inner.generation > self.seen {
            return Poll::Ready(());
        }
        inner.wakers.insert(self.number, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        lock(&self.event.inner).wakers.remove(&self.number);
    }
}

/// A flag that is set once, for ever.
#[derive(Default)]
pub(crate) struct Latch {
    set: std::sync::atomic::AtomicBool,
    event: Event,
}

impl Latch {
    pub fn set(&self) {
        self.set.store(true, std::sync::atomic::Ordering::SeqCst);
        self.event.notify();
    }

    pub fn is_set(&self) -> bool {
        self.set.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Completes once the flag is set.
    pub async fn wait(&self) {
        loop {
            let listener = self.event.listen();
            if self.is_set() {
                return;
            }
            listener.await;
        }
    }
}

/// `work`, unless `latch` is or becomes set first: then `None`.
pub(crate) async fn unless<T>(latch: &Latch, work: impl Future<Output = T>) -> Option<T> {
    let wait = std::pin::pin!(latch.wait());
    let work = std::pin::pin!(work);
    match futures_util::future::select(wait, work).await {
        futures_util::future::Either::Left(_) => None,
        futures_util::future::Either::Right((value, _)) => Some(value),
    }
}

/// `work`, or `None` after `limit`: the work is dropped then.
pub(crate) async fn within<T>(
    runtime: &dyn bessemer_seam::runtime::Runtime,
    limit: std::time::Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let work = std::pin::pin!(work);
    match futures_util::future::select(work, runtime.sleep(limit)).await {
        futures_util::future::Either::Left((value, _)) => Some(value),
        futures_util::future::Either::Right(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_notify_between_listen_and_await_is_not_missed() {
        let event = Event::default();
        let listener = event.listen();
        event.notify();
        assert_eq!(listener.now_or_never(), Some(()));
        assert_eq!(event.listen().now_or_never(), None);
    }

    #[test]
    fn a_dropped_listener_leaves_nothing_behind() {
        let event = Event::default();
        let mut listener = event.listen();
        assert_eq!((&mut listener).now_or_never(), None);
        drop(listener);
        assert!(lock(&event.inner).wakers.is_empty());
    }

    #[test]
    fn a_latch_stays_set() {
        let latch = Arc::new(Latch::default());
        assert_eq!(latch.wait().now_or_never(), None);
        latch.set();
        assert_eq!(latch.wait().now_or_never(), Some(()));
        assert_eq!(unless(&latch, std::future::pending::<()>()).now_or_never(), Some(None));
    }
}
