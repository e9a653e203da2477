//! Drains a node: the order in which its parts end, and how long each may take.
//!
//! Not here: a failure, which ends the process at once.
//! Everything acknowledged is durable before it is acknowledged, so running out of time here
//! costs nothing but speed: open connections are cut, replay at the next start is longer.

use std::time::Duration;

use super::Running;

/// Requests under way may finish for this long.
pub const HTTP_DRAIN: Duration = Duration::from_secs(2);
/// Handing over leadership, and ending tasks, may each take this long.
pub const REPLICA_STOP_MS: u64 = 2_500;

/// Stops everything within `longest`.
pub async fn drain(running: Running, longest: Duration) {
    if tokio::time::timeout(longest, in_order(running)).await.is_err() {
        tracing::warn!("not drained within {} ms; ending anyway", longest.as_millis());
    }
}

async fn in_order(running: Running) {
    let Running { node, runtime, mut driver, http_stop, ops_stop, http, ops, .. } = running;
    node.drain();
    http_stop.send_replace(true);
    ended(http, "the HTTP door").await;
    node.stop().await;
    runtime.stop();
    // The log's threads take no new work now: what is queued is written and sealed.
    let stopping = tokio::task::spawn_blocking(move || driver.stop());
    ended(stopping, "the log").await;
    ops_stop.send_replace(true);
    ended(ops, "the ops door").await;
}

async fn ended(task: tokio::task::JoinHandle<()>, what: &str) {
    if let Err(e) = task.await {
        tracing::warn!(error = %e, "{what} did not end well");
    }
}
