//! Log time: the clock a leader stamps entries with.
//!
//! Not here: applying stamps (the engine clamps them so that time never goes back), asking peers
//! for their clocks (`ping.rs`).
//! Invariants: stamps never decrease; between two elections they follow the time elapsed since
//! boot, never the wall clock, bent by at most `SLEW_PER_MILLE`; a step forward of more than
//! `STEP_MS_MAX` is taken once per leadership, and only when the clocks of a majority agree.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bessemer_model::{Millis, NodeId};

use crate::event::lock;

/// Largest bend of log time against elapsed time. Source: design 3 (1 %).
const SLEW_PER_MILLE: i64 = 10;
/// Largest step forward that one clock of a majority may cause.
const STEP_MS_MAX: u64 = 60_000;
/// Clocks within this of each other agree.
const AGREE_MS_MAX: u64 = 500;
/// A peer's clock not heard of for this long says nothing.
const CLOCK_AGE_MAX: Duration = Duration::from_secs(10);
/// So long a peer's clock is not replaced by one that took longer to hear of.
const CLOCK_HOLD: Duration = Duration::from_secs(5);

/// A wall clock, as the time at which this node's elapsed time was zero.
#[derive(Clone, Copy, Debug)]
struct PeerClock {
    origin_ms: i64,
    heard_at: Duration,
    /// Its origin is known to half of this.
    round_trip: Duration,
}

#[derive(Default)]
struct State {
    peers: BTreeMap<NodeId, PeerClock>,
    /// Log time = origin + elapsed. `None` until this node first leads.
    origin_ms: Option<i64>,
    /// The leadership began before a majority's clocks were known to agree: the first time they
    /// do, log time may step forward to them.
    unanchored: bool,
    steered_at: Duration,
    last_stamp: Millis,
}

#[derive(Default)]
pub(crate) struct Steering {
    state: Mutex<State>,
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The clocks of a majority: their median, and how far they are apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Majority {
    origin_ms: i64,
    spread_ms: u64,
}

/// The tightest majority of `origins` out of `voters` nodes; `None` when fewer are known.
fn majority(mut origins: Vec<i64>, voters: usize) -> Option<Majority> {
    let quorum = voters / 2 + 1;
    origins.sort_unstable();
    let tightest = origins.windows(quorum).min_by_key(|clocks| clocks[quorum - 1] - clocks[0])?;
    let spread_ms = tightest[quorum - 1].abs_diff(tightest[0]);
    Some(Majority { origin_ms: tightest[quorum / 2], spread_ms })
}

impl Steering {
    /// What a peer's wall clock said, halfway through a round trip of `round_trip`.
    pub fn heard(&self, peer: NodeId, wall_ms: u64, now: Duration, round_trip: Duration) {
        let at = now.saturating_sub(round_trip / 2);
        let origin_ms = i64::try_from(wall_ms).unwrap_or(i64::MAX) - ms(at);
        let mut state = lock(&self.state);
        let held = state.peers.get(&peer);
        let better = held.is_none_or(|held| {
            round_trip <= held.round_trip || now.saturating_sub(held.heard_at) >= CLOCK_HOLD
        });
        if better {
            state.peers.insert(peer, PeerClock { origin_ms, heard_at: now, round_trip });
        }
    }

    fn majority(
        state: &State,
        me: (NodeId, u64),
        voters: &[NodeId],
        now: Duration,
    ) -> Option<Majority> {
        let own = i64::try_from(me.1).unwrap_or(i64::MAX) - ms(now);
        let fresh = |clock: &PeerClock| now.saturating_sub(clock.heard_at) <= CLOCK_AGE_MAX;
        let origins = voters.iter().filter_map(|voter| {
            if *voter == me.0 {
                return Some(own);
            }
            state.peers.get(voter).filter(|clock| fresh(clock)).map(|clock| clock.origin_ms)
        });
        majority(origins.collect(), voters.len())
    }

    /// Begins a leadership: the larger of `floor` (every stamp held) and the majority's median.
    /// `me` is this node and its wall clock.
    pub fn lead(&self, me: (NodeId, u64), voters: &[NodeId], floor: Millis, now: Duration) {
        let mut state = lock(&self.state);
        let majority = Self::majority(&state, me, voters, now);
        let floor_ms = i64::try_from(floor.0.max(state.last_stamp.0)).unwrap_or(i64::MAX);
        let fallback_ms = i64::try_from(me.1).unwrap_or(i64::MAX);
        let (wall_ms, agreed) = match majority {
            Some(found) => (found.origin_ms + ms(now), found.spread_ms <= AGREE_MS_MAX),
            // Nobody to ask yet: the own clock, within the bound of a single clock.
            None => (fallback_ms, false),
        };
        let bounded = if agreed || floor_ms == 0 {
            wall_ms
        } else {
            wall_ms.min(floor_ms + STEP_MS_MAX as i64)
        };
        if bounded < wall_ms {
            tracing::error!(
                log_time_ms = floor_ms,
                wall_ms,
                "the clocks of no majority agree on a step this large; log time goes on slowly"
            );
        }
        state.origin_ms = Some(bounded.max(floor_ms) - ms(now));
        state.unanchored = !agreed;
        state.steered_at = now;
    }

    /// Bends log time towards the majority's median, by at most 1 % of the time since the last
    /// call. Gives how far this node's wall clock is from that median, in milliseconds.
    pub fn steer(&self, me: (NodeId, u64), voters: &[NodeId], now: Duration) -> Option<u64> {
        let mut state = lock(&self.state);
        let majority = Self::majority(&state, me, voters, now)?;
        let anchors = state.unanchored && majority.spread_ms <= AGREE_MS_MAX;
        if let Some(origin_ms) = state.origin_ms.filter(|_| anchors) {
            state.unanchored = false;
            state.origin_ms = Some(origin_ms.max(majority.origin_ms));
            state.steered_at = now;
        }
        if let Some(origin_ms) = state.origin_ms {
            let passed = ms(now.saturating_sub(state.steered_at));
            let bend_max = passed * SLEW_PER_MILLE / 1000;
            let bend = (majority.origin_ms - origin_ms).clamp(-bend_max, bend_max);
            // Below one millisecond of allowance nothing bends: let it add up.
            if bend_max > 0 {
                state.origin_ms = Some(origin_ms + bend);
                state.steered_at = now;
            }
        }
        let own = i64::try_from(me.1).unwrap_or(i64::MAX) - ms(now);
        Some(own.abs_diff(majority.origin_ms))
    }

    /// Log time now, for the leader: never below `floor` or an earlier stamp.
    pub fn stamp(&self, now: Duration, floor: Millis) -> Millis {
        let mut state = lock(&self.state);
        let stamp = Self::time(&state, now).max(floor).max(state.last_stamp);
        state.last_stamp = stamp;
        stamp
    }

    /// Log time now, without stamping anything.
    pub fn now(&self, now: Duration) -> Millis {
        Self::time(&lock(&self.state), now)
    }

    fn time(state: &State, now: Duration) -> Millis {
        let time = state.origin_ms.map_or(0, |origin_ms| origin_ms + ms(now));
        Millis(u64::try_from(time).unwrap_or(0))
    }
}

#[cfg(test)]
#[path = "steering_tests.rs"]
mod tests;
