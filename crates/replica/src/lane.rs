//! The way of this node's parts to whoever leads: one task, one stream.
//!
//! Not here: requests and numbers (`proposer.rs`), the leader's end (`forward.rs`, `intake.rs`).
//! Invariants: parts go out in the order of their numbers, none is skipped; on a new way (leader
//! change, lost stream, a second of silence, a gap) everything outstanding is sent again first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bessemer_seam::net::{Channel, NetReceiver, NetSender};
use futures_util::future::{Either, select};

use crate::event::{unless, within};
use crate::link::{Link, dial, timed_out};
use crate::role::Role;
use crate::shared::Shared;
use crate::wire::Message;
use crate::world::World;

/// How soon a lost way is tried again, and how often the task looks around while it is busy.
const LOOK_MS: u64 = 50;
/// How often it looks while nothing happens: leadership that quietly lost its quorum.
const IDLE_LOOK_MS: u64 = 500;
/// Silence is waited for up to this many times longer, doubling, while resending does not help.
const SILENCE_TIMES_MAX: u32 = 8;

/// Whether this node leads and a majority answered it lately.
pub(crate) fn serving<W: World>(shared: &Shared<W>) -> bool {
    shared.role.leading() && !shared.draining.is_set() && has_majority(shared)
}

/// Whether a majority answered this node, which leads, lately.
pub(crate) fn has_majority<W: World>(shared: &Shared<W>) -> bool {
    let me = shared.options.node.0;
    if crate::watch::membership_of(shared).voter_ids().all(|voter| voter == me) {
        // A lone voter is its own majority; nobody acknowledges it.
        return true;
    }
    let metrics = shared.raft().metrics();
    let acked = openraft::async_runtime::watch::WatchReceiver::borrow_watched(&metrics)
        .last_quorum_acked
        .map(|acked| openraft::Instant::elapsed(&*acked));
    // Nobody may have acknowledged a new leader yet: its lease runs from its election.
    let since = shared.role.get().since;
    let age = acked.unwrap_or_else(|| shared.runtime.elapsed().saturating_sub(since));
    age < Duration::from_millis(shared.options.election_timeout_ms_max)
}

/// Where parts go at the moment.
enum Way<W: World> {
    None,
    /// Into the own intake.
    Local {
        generation: u64,
    },
    /// To the leader of role generation `role`.
    Remote {
        role: u64,
        link: Box<Link<W>>,
    },
}

struct Lane<W: World> {
    shared: Arc<Shared<W>>,
    way: Way<W>,
    /// Number of the last part sent on this way.
    sent: u64,
    sent_at: Duration,
    /// Grows while resending does not help.
    silences: u32,
    retry_at: Duration,
}

/// Runs this node's lane as long as the replica lives.
pub(crate) async fn run<W: World>(shared: Arc<Shared<W>>) {
    let mut lane = Lane {
        way: Way::None,
        sent: 0,
        sent_at: Duration::ZERO,
        silences: 1,
        retry_at: Duration::ZERO,
        shared: shared.clone(),
    };
    loop {
        let listener = shared.proposer.event.listen();
        if unless(&shared.stop, lane.work()).await.is_none() {
            return;
        }
        let look_ms = if shared.proposer.busy() { LOOK_MS } else { IDLE_LOOK_MS };
        let pause = select(listener, shared.runtime.sleep(Duration::from_millis(look_ms)));
        match unless(&shared.stop, lane.pause(pause)).await {
            None => return,
            Some(true) => {}
            Some(false) => lane.lose(),
        }
    }
}

impl<W: World> Lane<W> {
    fn now(&self) -> Duration {
        self.shared.runtime.elapsed()
    }

    /// Gives the way up. The next one is tried after a moment, if it may be the same again: a leader
    /// that hands over refuses everything until its time is up.
    fn lose(&mut self) {
        let again = match self.way {
            Way::None => return,
            Way::Local { .. } => self.shared.role.leading(),
            Way::Remote { role, .. } => role == self.shared.role.get().generation,
        };
        self.way = Way::None;
        if again {
            self.retry_at = self.now() + Duration::from_millis(LOOK_MS);
        }
    }

    /// Waits for `pause`, or until the way is over: false. The leader says nothing on a forward
    /// stream but that.
    async fn pause(&mut self, pause: impl Future + Unpin) -> bool {
        let Way::Remote { link, .. } = &mut self.way else {
            pause.await;
            return true;
        };
        let over = std::pin::pin!(link.receiver.receive());
        matches!(select(over, pause).await, Either::Right(_))
    }

    /// Does everything that can be done now.
    async fn work(&mut self) {
        self.check_way();
        if matches!(self.way, Way::None) && self.now() >= self.retry_at {
            self.find_way().await;
        }
        let reachable = !matches!(self.way, Way::None);
        self.shared.proposer.set_reachable(reachable, self.now());
        if !reachable {
            return;
        }
        while let Some((seq, part)) = self.next_part() {
            match self.send(&part).await {
                Ok(()) => {
                    self.sent = seq;
                    self.sent_at = self.now();
                }
                Err(error) => {
                    tracing::debug!(%error, "this node's way to the leader broke");
                    return self.lose();
                }
            }
        }
    }

    fn next_part(&self) -> Option<(u64, Arc<Vec<u8>>)> {
        let proposer = &self.shared.proposer;
        proposer.outstanding_after(self.sent).or_else(|| proposer.pack())
    }

    /// Gives the way up when the leader is another, or resending is due.
    fn check_way(&mut self) {
        let role = self.shared.role.get();
        let still = match &self.way {
            Way::None => return,
            Way::Local { generation } => {
                self.shared.intake.generation() == Some(*generation) && serving(&self.shared)
            }
            Way::Remote { role: known, .. } => role.generation == *known,
        };
        if !still {
            return self.lose();
        }
        let silence = Duration::from_millis(self.shared.options.lane_silence_ms) * self.silences;
        if self.shared.proposer.resend_due(self.sent_at, self.now(), silence) {
            tracing::debug!("sending this node's outstanding parts again");
            self.silences = (self.silences * 2).min(SILENCE_TIMES_MAX);
            self.way = Way::None;
        } else if !self.shared.proposer.busy() {
            self.silences = 1;
        }
    }

    async fn find_way(&mut self) {
        let role = self.shared.role.get();
        let found =
            if role.leading { self.local_way() } else { remote_way(&self.shared, &role).await };
        match found {
            Some(way) => {
                self.way = way;
                self.sent = 0;
                self.sent_at = self.now();
            }
            None => self.retry_at = self.now() + Duration::from_millis(LOOK_MS),
        }
    }

    fn local_way(&self) -> Option<Way<W>> {
        if !serving(&self.shared) {
            return None;
        }
        let generation = self.shared.intake.generation()?;
        Some(Way::Local { generation })
    }

    async fn send(&mut self, part: &Arc<Vec<u8>>) -> io::Result<()> {
        let over = || io::Error::other("the leadership is over");
        let limit = Duration::from_millis(self.shared.options.stream_idle_ms_max);
        match &mut self.way {
            Way::None => Err(over()),
            Way::Local { generation } => {
                let bytes = Vec::clone(part);
                let pushed = self.shared.intake.push(*generation, bytes).await;
                if pushed { Ok(()) } else { Err(over()) }
            }
            Way::Remote { link, .. } => {
                let message = Message::Part { bytes: Vec::clone(part) }.encode(link.group);
                let sent = within(&*self.shared.runtime, limit, link.sender.send(message)).await;
                sent.unwrap_or_else(|| Err(timed_out("sending to the leader")))
            }
        }
    }
}

async fn remote_way<W: World>(shared: &Arc<Shared<W>>, role: &Role) -> Option<Way<W>> {
    let leader = role.leader.filter(|_| !role.leader_address.is_empty())?;
    match dial(shared, leader, &role.leader_address, Channel::Forward).await {
        Ok(link) => Some(Way::Remote { role: role.generation, link: Box::new(link) }),
        Err(error) => {
            tracing::debug!(%leader, %error, "no way to the leader");
            None
        }
    }
}
