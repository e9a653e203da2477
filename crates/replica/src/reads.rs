//! Linearizable reads: what this node must have applied before it may answer.
//!
//! Not here: the state itself. Invariant: an index handed to a caller was confirmed by a quorum
//! round that began after the call. Calls that wait together share one round; they fail together
//! when rounds fail for `leaderless_ms_max`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bessemer_model::{LogIndex, NotDone};
use bessemer_seam::mutants::{self, Mutant};
use futures_channel::oneshot;
use openraft::ReadPolicy;

use crate::codec::log_index;
use crate::event::{Event, lock, unless, within};
use crate::link::call;
use crate::shared::Shared;
use crate::wire::Message;
use crate::world::World;

/// How soon a failed round is tried again for callers that still wait.
const RETRY_MS: u64 = 50;

/// Callers of one round at most.
const WAITING_MAX: usize = 100_000;

type Confirmed = Result<LogIndex, NotDone>;
type Waiter = oneshot::Sender<Confirmed>;

/// Callers of the next round.
#[derive(Default)]
pub(crate) struct Reads {
    waiting: Mutex<Vec<Waiter>>,
    event: Event,
}

impl Reads {
    /// Joins the next round; `None` when too many wait already.
    pub fn join(&self) -> Option<oneshot::Receiver<Confirmed>> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.len() >= WAITING_MAX {
                return None;
            }
            waiting.push(sender);
        }
        self.event.notify();
        Some(receiver)
    }
}

/// Runs rounds as long as the replica lives.
pub(crate) async fn run<W: World>(shared: Arc<Shared<W>>) {
    let patience = Duration::from_millis(shared.options.leaderless_ms_max);
    let mut failing_since: Option<Duration> = None;
    loop {
        let listener = shared.reads.event.listen();
        let mut waiting = std::mem::take(&mut *lock(&shared.reads.waiting));
        waiting.retain(|waiter| !waiter.is_canceled());
        if waiting.is_empty() {
            failing_since = None;
            if unless(&shared.stop, listener).await.is_none() {
                return;
            }
            continue;
        }
        let Some(index) = unless(&shared.stop, round(&shared)).await else { return };
        if mutants::on(Mutant::ReadJoinsRunningRound) {
            waiting.append(&mut lock(&shared.reads.waiting));
        }
        let now = shared.runtime.elapsed();
        let confirmed = match index {
            Some(index) => Some(Ok(index)),
            None => {
                let since = *failing_since.get_or_insert(now);
                (now.saturating_sub(since) >= patience).then_some(Err(NotDone::NoLeader))
            }
        };
        if let Some(confirmed) = confirmed {
            failing_since = None;
            for waiter in waiting {
                // A caller whose patience ended is gone.
                let _ = waiter.send(confirmed);
            }
            continue;
        }
        lock(&shared.reads.waiting).append(&mut waiting);
        let pause = shared.runtime.sleep(Duration::from_millis(RETRY_MS));
        if unless(&shared.stop, pause).await.is_none() {
            return;
        }
    }
}

async fn round<W: World>(shared: &Arc<Shared<W>>) -> Option<LogIndex> {
    let role = shared.role.get();
    if role.leading {
        return leader_index(shared).await;
    }
    let leader = role.leader.filter(|_| !role.leader_address.is_empty())?;
    let limit = Duration::from_millis(shared.options.call_timeout_ms);
    match call(shared, leader, &role.leader_address, &Message::ReadIndex, limit).await {
        Ok(Message::ReadIndexAnswer { index }) => index.map(LogIndex),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%leader, %error, "the leader did not confirm a read");
            None
        }
    }
}

/// On the leader: an index that covers everything committed when this was called, after a quorum
/// confirmed that it still leads. `None` when it does not.
pub(crate) async fn leader_index<W: World>(shared: &Arc<Shared<W>>) -> Option<LogIndex> {
    if !shared.role.leading() {
        return None;
    }
    if mutants::on(Mutant::RedisRaftStaleRead) {
        return Some(shared.progress.get().index);
    }
    let limit = Duration::from_millis(shared.options.call_timeout_ms);
    let round = shared.raft().get_read_linearizer(ReadPolicy::ReadIndex);
    let round = within(&*shared.runtime, limit, round).await?;
    round.ok().map(|read| log_index(read.read_log_id().index()))
}
