//! The leader's own commands: the group's first entry, time that passes, garbage.
//!
//! Not here: what they do (engine). Each is found from the state, so a lost one comes again, and
//! two leaders' ticks are harmless.

use std::sync::Arc;
use std::time::Duration;

use bessemer_engine::entry::encode_part;
use bessemer_model::{Command, LogIndex, ProjectId, Request};
use futures_util::future::select;

use crate::event::unless;
use crate::progress::Applied;
use crate::shared::Shared;
use crate::world::World;

/// Version of the rules this program begins a cluster with. 1 was the first.
pub const CLUSTER_VERSION: u32 = 1;
/// A command that was not seen applied after this long is proposed again.
const AGAIN_MS: u64 = 1_000;
/// Longest sleep: also finds leadership and work that nobody told of.
const LOOK_MS: u64 = 200;

/// The last command proposed, and the state it was proposed from.
struct Proposed {
    generation: u64,
    applied: LogIndex,
    at: Duration,
}

/// Proposes what the state asks for, as long as the replica lives.
pub(crate) async fn run<W: World>(shared: Arc<Shared<W>>) {
    let mut last: Option<Proposed> = None;
    loop {
        let listener = shared.progress.changed.listen();
        let pause = match unless(&shared.stop, look(&shared, &mut last)).await {
            Some(pause) => pause,
            None => return,
        };
        let wait = select(listener, shared.runtime.sleep(pause));
        if unless(&shared.stop, wait).await.is_none() {
            return;
        }
    }
}

/// Proposes one command if one is due; gives how long to wait before the next look.
async fn look<W: World>(shared: &Arc<Shared<W>>, last: &mut Option<Proposed>) -> Duration {
    let pause = Duration::from_millis(LOOK_MS);
    let Some(generation) = shared.intake.generation() else { return pause };
    let applied = shared.progress.get();
    let now = shared.runtime.elapsed();
    let under_way = last.as_ref().is_some_and(|last| {
        last.generation == generation
            && last.applied == applied.index
            && now.saturating_sub(last.at) < Duration::from_millis(AGAIN_MS)
    });
    if under_way {
        return pause;
    }
    let Some(command) = due(shared, &applied) else {
        return until_due(shared, &applied).min(pause);
    };
    let request = Request { project: ProjectId::new(""), retry: None, command };
    *last = Some(Proposed { generation, applied: applied.index, at: now });
    shared.intake.push(generation, encode_part(None, &[request])).await;
    pause
}

fn due<W: World>(shared: &Shared<W>, applied: &Applied) -> Option<Command> {
    if !applied.initialized {
        let mut secret = [0; 32];
        for bytes in secret.chunks_exact_mut(8) {
            bytes.copy_from_slice(&shared.runtime.random().to_be_bytes());
        }
        return Some(Command::InitGroup { cluster_version: CLUSTER_VERSION, secret });
    }
    let now = shared.steering.now(shared.runtime.elapsed());
    let stale = now.0.saturating_sub(applied.log_time.0) >= shared.options.idle_tick_ms;
    if stale || applied.next_due.is_some_and(|due| due <= now) {
        return Some(Command::Tick);
    }
    applied.garbage_left.then_some(Command::Sweep)
}

fn until_due<W: World>(shared: &Shared<W>, applied: &Applied) -> Duration {
    let Some(due) = applied.next_due else { return Duration::MAX };
    let now = shared.steering.now(shared.runtime.elapsed());
    Duration::from_millis(due.0.saturating_sub(now.0).max(1))
}
