//! `seam::runtime::Runtime` on tokio and the system's clocks.
//!
//! Not here: openraft's own runtime trait (crate `openraft-rt-tokio`).
//! Invariant: a task spawned here ends by itself or when `stop` is called, never later.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bessemer_seam::BoxFuture;
use bessemer_seam::runtime::Runtime;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// The process's runtime. Tasks run on the tokio runtime that was current at `new`.
pub struct TokioRuntime {
    handle: tokio::runtime::Handle,
    /// Written by `stop` alone, read by every task spawned here; once true it stays true.
    stopped: watch::Sender<bool>,
}

impl TokioRuntime {
    /// Must be called inside a tokio runtime.
    pub fn new() -> Arc<TokioRuntime> {
        Arc::new(TokioRuntime {
            handle: tokio::runtime::Handle::current(),
            stopped: watch::Sender::new(false),
        })
    }

    /// Drops every task spawned here at its next await.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

impl Runtime for TokioRuntime {
    fn elapsed(&self) -> Duration {
        // CLOCK_BOOTTIME counts the machine's sleep, which CLOCK_MONOTONIC (std's Instant) leaves
        // out: log time must not fall behind the world while a laptop's lid is closed.
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).expect("time since boot is never negative");
        let nanos = u32::try_from(now.tv_nsec).expect("nanoseconds are 0..10^9");
        Duration::new(seconds, nanos)
    }

    fn wall_ms(&self) -> u64 {
        // A clock before 1970 is a machine without a clock: log time then takes its peers'.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut stopped = self.stopped.subscribe();
        // Detached on purpose: its owner is this runtime, which ends it through `stopped`.
        drop(self.handle.spawn(async move {
            tokio::select! {
                () = task => {}
                // An error means that the runtime itself is gone: the same as stopped.
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        }));
    }

    fn random(&self) -> u64 {
        u64::from_le_bytes(random_bytes())
    }
}

/// `N` bytes from the system's generator; waits while it is not seeded yet (early boot).
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => panic!("the system gives no random numbers: {e}"),
        }
    }
    bytes
}

/// `N` random bytes as `2 * N` lower-case hex digits.
pub fn random_hex<const N: usize>() -> String {
    let mut text = String::with_capacity(N * 2);
    for byte in random_bytes::<N>() {
        text.push(char::from_digit(u32::from(byte >> 4), 16).expect("a nibble is a hex digit"));
        text.push(char::from_digit(u32::from(byte & 15), 16).expect("a nibble is a hex digit"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_ends_spawned_tasks() {
        let runtime = TokioRuntime::new();
        let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        runtime.spawn(Box::pin(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        }));
        runtime.stop();
        // The channel closes when the task and its sender are dropped.
        let end = tokio::time::timeout(Duration::from_secs(10), ended.recv()).await;
        assert_eq!(end.expect("the task ends"), None);
    }

    #[tokio::test]
    async fn clocks_go_forward_and_numbers_differ() {
        let runtime = TokioRuntime::new();
        let before = runtime.elapsed();
        assert!(runtime.elapsed() >= before);
        assert!(runtime.wall_ms() > 1_600_000_000_000);
        assert_ne!(runtime.random(), runtime.random());
        assert_eq!(random_hex::<12>().len(), 24);
    }
}
