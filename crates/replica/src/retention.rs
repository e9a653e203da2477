//! When a snapshot is taken and how much log is kept.
//!
//! Not here: taking it (`state_machine.rs`). openraft's own policy is off: this task alone decides.
//! The state is flushed on the way, so that a restart replays little.
//! Invariants: nothing is purged that this node needs after a crash (snapshot, last completed
//! flush), that a transfer under way needs, or, while the log is small enough, that a follower
//! needs; the log is bounded by `log_bytes_max` once a snapshot can be taken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bessemer_model::LogIndex;
use bessemer_seam::kv::Kv;
use openraft::AsyncRuntime;

use crate::codec::{log_index, raft_index};
use crate::event::{lock, unless};
use crate::shared::Shared;
use crate::watch::metrics_of;
use crate::world::World;

/// What the last flush of the state covered, and when it was.
struct Flushed {
    index: LogIndex,
    bytes_total: u64,
    at: Duration,
}

/// Looks every `snapshot_check_ms`, as long as the replica lives.
pub(crate) async fn run<W: World>(shared: Arc<Shared<W>>) {
    let interval = Duration::from_millis(shared.options.snapshot_check_ms);
    let mut flushed = Flushed { index: LogIndex(0), bytes_total: 0, at: Duration::ZERO };
    loop {
        if unless(&shared.stop, shared.runtime.sleep(interval)).await.is_none() {
            return;
        }
        match unless(&shared.stop, look(&shared, &mut flushed)).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                return shared.fatal.report(format_args!("keeping a snapshot: {error}"));
            }
        }
    }
}

async fn look<W: World>(shared: &Arc<Shared<W>>, flushed: &mut Flushed) -> io::Result<()> {
    if shared.retention.is_receiving() {
        return Ok(());
    }
    flush_when_due(shared, flushed).await?;
    if shared.retention.bytes_since() >= shared.options.snapshot_every_bytes {
        take(shared).await?;
    }
    let held_bytes = shared.group_log.state().entry_bytes;
    purge(shared, held_bytes).await;
    Ok(())
}

/// Bounds what a restart applies again, by bytes of log and by age.
async fn flush_when_due<W: World>(
    shared: &Arc<Shared<W>>,
    flushed: &mut Flushed,
) -> io::Result<()> {
    let (index, bytes_total) = (shared.progress.get().index, shared.retention.bytes_total());
    let now = shared.runtime.elapsed();
    if index == flushed.index {
        flushed.at = now;
        return Ok(());
    }
    let many = bytes_total - flushed.bytes_total >= shared.options.flush_every_bytes;
    let old =
        now.saturating_sub(flushed.at) >= Duration::from_millis(shared.options.flush_every_ms);
    if many || old {
        flush(shared).await?;
        *flushed = Flushed { index, bytes_total, at: shared.runtime.elapsed() };
    }
    Ok(())
}

/// Makes the state durable in the background, at least up to what is applied now.
pub(crate) async fn flush<W: World>(shared: &Arc<Shared<W>>) -> io::Result<()> {
    let applied = shared.progress.get().index;
    let kv = lock(&shared.kv).clone();
    W::Rt::spawn_blocking(move || kv.flush()).await??;
    shared.retention.set_flushed(applied);
    Ok(())
}

/// Flushes the state in the background, then has the apply worker freeze it.
pub(crate) async fn take<W: World>(shared: &Arc<Shared<W>>) -> io::Result<()> {
    flush(shared).await?;
    // Stopped: the watcher of roles reports why.
    let _ = shared.raft().trigger().snapshot().await;
    Ok(())
}

async fn purge<W: World>(shared: &Arc<Shared<W>>, held_bytes: u64) {
    let replication = metrics_of(shared).replication.unwrap_or_default();
    shared.retention.went_on(shared.runtime.elapsed(), |follower| {
        let matched = replication.get(&follower.0).copied().flatten();
        matched.map_or(LogIndex(0), |id| log_index(id.index))
    });
    let bytes_max = shared.options.log_bytes_max;
    let mut upto = shared.retention.purgeable(held_bytes, bytes_max);
    if held_bytes <= bytes_max {
        upto = upto.min(needed(shared));
    }
    let held_from = shared.group_log.state().first.unwrap_or(u64::MAX);
    if upto.0 < held_from {
        return;
    }
    if let Some(index) = raft_index(upto) {
        // Stopped: the watcher of roles reports why.
        let _ = shared.raft().trigger().purge_log(index).await;
    }
}

/// On the leader: the lowest index some member still has to get entries after.
fn needed<W: World>(shared: &Shared<W>) -> LogIndex {
    let Some(replication) = metrics_of(shared).replication else { return LogIndex(u64::MAX) };
    let matched =
        replication.values().map(|matched| matched.map_or(LogIndex(0), |id| log_index(id.index)));
    matched.min().unwrap_or(LogIndex(u64::MAX))
}
