//! How far this node has applied the log, and who waits for it.
//!
//! Not here: applying (`state_machine.rs`). Written by the apply worker after each commit to the
//! state; read by everyone.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bessemer_model::{LogIndex, Millis};
use futures_channel::oneshot;

use crate::event::{Event, lock};

/// What is known after a commit to the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Applied {
    pub index: LogIndex,
    pub chain: [u8; 32],
    pub log_time: Millis,
    /// Earliest unsettled timer, in log time.
    pub next_due: Option<Millis>,
    /// `Sweep` has work.
    pub garbage_left: bool,
    /// `InitGroup` is applied.
    pub initialized: bool,
}

#[derive(Default)]
struct Inner {
    applied: Applied,
    next_waiter: u64,
    waiters: BTreeMap<(LogIndex, u64), oneshot::Sender<()>>,
}

#[derive(Default)]
pub(crate) struct Progress {
    inner: Mutex<Inner>,
    /// Notified after each change.
    pub changed: Event,
}

impl Progress {
    pub fn get(&self) -> Applied {
        lock(&self.inner).applied
    }

    pub fn set(&self, applied: Applied) {
        let ready = {
            let mut inner = lock(&self.inner);
            inner.applied = applied;
            let after = (LogIndex(applied.index.0.saturating_add(1)), 0);
            let later = inner.waiters.split_off(&after);
            std::mem::replace(&mut inner.waiters, later)
        };
        for waiter in ready.into_values() {
            // The one who waited may have given up.
            let _ = waiter.send(());
        }
        self.changed.notify();
    }

    /// Completes once the entry at `index` is applied here. Cancel-safe.
    pub async fn reached(&self, index: LogIndex) {
        let (receiver, key) = {
            let mut inner = lock(&self.inner);
            if inner.applied.index >= index {
                return;
            }
            inner.next_waiter += 1;
            let key = (index, inner.next_waiter);
            let (sender, receiver) = oneshot::channel();
            inner.waiters.insert(key, sender);
            (receiver, key)
        };
        let _place = Place { progress: self, key };
        if receiver.await.is_err() {
            // The replica is gone: nothing is ever applied again.
            std::future::pending::<()>().await;
        }
    }
}

/// A waiter's entry, as long as it waits.
struct Place<'a> {
    progress: &'a Progress,
    key: (LogIndex, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.progress.inner).waiters.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn waiters_wake_at_their_index_and_not_before() {
        let progress = Progress::default();
        let at = |index| Applied { index: LogIndex(index), ..Applied::default() };
        let mut five = Box::pin(progress.reached(LogIndex(5)));
        assert_eq!((&mut five).now_or_never(), None);
        progress.set(at(4));
        assert_eq!((&mut five).now_or_never(), None);
        progress.set(at(5));
        assert_eq!(five.now_or_never(), Some(()));
        assert_eq!(progress.reached(LogIndex(3)).now_or_never(), Some(()));
    }

    #[test]
    fn a_waiter_that_gives_up_leaves_nothing_behind() {
        let progress = Progress::default();
        for _ in 0..10 {
            let mut waiting = Box::pin(progress.reached(LogIndex(5)));
            assert_eq!((&mut waiting).now_or_never(), None);
        }
        assert!(lock(&progress.inner).waiters.is_empty());
    }
}
