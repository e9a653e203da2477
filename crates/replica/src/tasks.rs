//! The tasks a replica owns: counted, so that stopping waits for every one of them.
//!
//! Not here: what they do. Invariant: after `stopped` returned, none of them runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bessemer_seam::runtime::SharedRuntime;

use crate::event::Event;

#[derive(Clone)]
pub(crate) struct Tasks {
    runtime: SharedRuntime,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    count: AtomicUsize,
    ended: Event,
}

/// Counts one task down, also when it is dropped or panics.
struct Counted(Arc<Running>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify();
    }
}

impl Tasks {
    pub fn new(runtime: SharedRuntime) -> Tasks {
        Tasks { runtime, running: Arc::default() }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.running.count.fetch_add(1, Ordering::SeqCst);
        let counted = Counted(self.running.clone());
        self.runtime.spawn(Box::pin(async move {
            let _counted = counted;
            task.await;
        }));
    }

    /// Completes when no task runs.
    pub async fn stopped(&self) {
        loop {
            let listener = self.running.ended.listen();
            if self.running.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            listener.await;
        }
    }
}
