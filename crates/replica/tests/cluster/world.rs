//! A world of replicas in one process: tokio's time, streams in memory, disks in memory.
//!
//! Not here: determinism (the simulation has it). Faults: streams can be cut and nodes isolated,
//! a node can be stopped, or lose power, and started again on what its disks kept.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bessemer_log::memory_disk::MemoryDisk;
use bessemer_replica::World;
use bessemer_seam::BoxFuture;
use bessemer_seam::runtime::{Runtime, SharedRuntime};

use crate::net::MemoryNet;
use crate::state::MemoryState;

/// Time and tasks of one node.
pub struct TokioRuntime {
    began: Instant,
    /// How far this node's wall clock is ahead.
    pub ahead_ms: std::sync::atomic::AtomicU64,
    counter: std::sync::atomic::AtomicU64,
}

impl TokioRuntime {
    pub fn shared() -> Arc<TokioRuntime> {
        let (ahead_ms, counter) = Default::default();
        Arc::new(TokioRuntime { began: Instant::now(), ahead_ms, counter })
    }
}

impl Runtime for TokioRuntime {
    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        now.as_millis() as u64 + self.ahead_ms.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn random(&self) -> u64 {
        self.counter.fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::SeqCst)
    }
}

/// One node's world.
#[derive(Clone)]
pub struct TestWorld {
    pub runtime: SharedRuntime,
    pub net: MemoryNet,
}

impl World for TestWorld {
    type Rt = openraft_rt_tokio::TokioRuntime;
    type Net = MemoryNet;
    type Disk = MemoryDisk;
    type State = MemoryState;

    fn runtime(&self) -> SharedRuntime {
        self.runtime.clone()
    }

    fn net(&self) -> MemoryNet {
        self.net.clone()
    }
}
