//! Time, tasks and chance, as the use cases see them.
//!
//! Not here: openraft's own runtime trait (`replica` asks for both).

use std::sync::Arc;
use std::time::Duration;

use crate::BoxFuture;

/// One node's runtime. Shared; every clock is this node's own.
pub trait Runtime: Send + Sync + 'static {
    /// Time since some fixed point, growing while the machine sleeps (CLOCK_BOOTTIME).
    fn elapsed(&self) -> Duration;

    /// Milliseconds since the Unix epoch by the wall clock: may jump.
    fn wall_ms(&self) -> u64;

    /// Completes once `duration` has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Runs `task` until it ends or the node stops. Whoever spawns makes sure that it ends.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// A random number: seeded in simulation, from the system otherwise.
    fn random(&self) -> u64;
}

pub type SharedRuntime = Arc<dyn Runtime>;
