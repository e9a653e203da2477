//! Tokio as the runtime seam, for tests.
//!
//! Not here: production's clock. Time is tokio's, so a test that pauses it moves it by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bessemer_seam::BoxFuture;
use bessemer_seam::runtime::{Runtime, SharedRuntime};

/// Tokio as the runtime; chance is a fixed sequence.
pub struct TestRuntime {
    began: tokio::time::Instant,
    drawn: AtomicU64,
}

impl TestRuntime {
    pub fn shared() -> SharedRuntime {
        Arc::new(TestRuntime { began: tokio::time::Instant::now(), drawn: AtomicU64::new(0) })
    }
}

impl Runtime for TestRuntime {
    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn random(&self) -> u64 {
        // splitmix64
        let drawn = self.drawn.fetch_add(1, Ordering::SeqCst) + 1;
        let mut z = drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
