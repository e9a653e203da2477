//! Sleeps and deadlines on a life's own clock.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::executor;
use super::state::{Life, Shared};

/// Completes once the clock of the life that made it shows its deadline.
///
/// A clock that was slowed down in between makes it wait longer, one sped up may wake it late.
/// In a dead life it never completes.
pub struct Sleep {
    shared: Weak<Shared>,
    life: Life,
    /// In local time.
    deadline_ns: u64,
    order: u64,
    /// Key under which the timer stands, while it does.
    registered: Option<(u64, u64)>,
}

impl Sleep {
    pub(crate) fn until(shared: &Arc<Shared>, life: Life, deadline_ns: u64) -> Sleep {
        let order = shared.lock().next_timer_id();
        Sleep { shared: Arc::downgrade(shared), life, deadline_ns, order, registered: None }
    }

    pub(crate) fn within_ns(shared: &Arc<Shared>, life: Life, duration_ns: u64) -> Sleep {
        let local_ns = {
            let state = shared.lock();
            state.clock(life).local_ns(state.now_ns)
        };
        Sleep::until(shared, life, local_ns.saturating_add(duration_ns))
    }

    #[track_caller]
    pub(crate) fn until_here(deadline_ns: u64) -> Sleep {
        let shared = executor::current();
        let life = shared.lock().current;
        Sleep::until(&shared, life, deadline_ns)
    }

    fn unregister(&mut self, shared: &Shared) {
        if let Some(key) = self.registered.take() {
            let waker = shared.lock().timers.remove(&key);
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(shared) = this.shared.upgrade() else { return Poll::Pending };
        this.unregister(&shared);
        let mut state = shared.lock();
        let clock = state.clock(this.life);
        if clock.local_ns(state.now_ns) >= this.deadline_ns {
            return Poll::Ready(());
        }
        let key = (clock.true_ns(this.deadline_ns), this.order);
        this.registered = Some(key);
        state.timers.insert(key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            self.unregister(&shared);
        }
    }
}

/// The deadline came before the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline has passed")
    }
}

impl std::error::Error for Elapsed {}

pin_project! {
    /// The output of a future, or `Elapsed`. At the deadline itself the output wins.
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    pub fn new(future: F, sleep: Sleep) -> Timeout<F> {
        Timeout { future, sleep }
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed))
    }
}
