//! This node's lane: requests that wait for a place in it, and parts that wait to be applied.
//!
//! Not here: the way to the leader (`lane.rs`), what a request says.
//! Invariants: a request has a place (its part a number) or none, never in between; parts are
//! numbered from 1 without gaps within a boot; a part stays outstanding until this node has
//! applied it; callers of one part are answered in the order of its requests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bessemer_engine::entry::join_part;
use bessemer_engine::{PartResult, PartTold};
use bessemer_model::{BootCount, Failure, LaneSeq, NodeId, NotDone, Outcome, ProjectId};
use bessemer_seam::mutants::{self, Mutant};
use futures_channel::oneshot;

use crate::event::{Event, lock};
use crate::options::ReplicaOptions;

pub(crate) type Answer = Result<Outcome, Failure>;

/// Bytes a project may add to a part before the next project's turn (deficit round robin).
const TURN_BYTES: usize = 16 << 10;

/// An election takes less than this many times `leaderless_ms_max`.
const UNKNOWN_TIMES: u32 = 3;

const OPEN: u8 = 0;
const SEQUENCED: u8 = 1;
const WITHDRAWN: u8 = 2;

/// A caller's end of its request.
pub(crate) struct Ticket {
    place: Arc<AtomicU8>,
    pub answer: oneshot::Receiver<Answer>,
}

impl Ticket {
    /// Gives up. True when the request had no place yet, and now never gets one.
    pub fn withdraw(&self) -> bool {
        let swap = self.place.compare_exchange(OPEN, WITHDRAWN, Ordering::SeqCst, Ordering::SeqCst);
        swap.is_ok()
    }
}

struct Pending {
    request: Vec<u8>,
    place: Arc<AtomicU8>,
    answer: oneshot::Sender<Answer>,
}

/// A part that has its number and is not applied here yet.
struct Outstanding {
    seq: u64,
    part: Arc<Vec<u8>>,
    /// `None` once the callers were told that the outcome is unknown.
    answers: Option<Vec<oneshot::Sender<Answer>>>,
}

/// What one project has open.
#[derive(Default)]
struct Open {
    queue: VecDeque<Pending>,
    bytes: usize,
    /// Bytes it may still take of its turn; a request above a turn saves for several.
    credit: usize,
}

impl Open {
    fn next_bytes(&self) -> Option<usize> {
        self.queue.front().map(|pending| pending.request.len())
    }

    /// The oldest request, paid from the credit.
    fn take(&mut self) -> Pending {
        let pending = self.queue.pop_front().expect("the caller saw a request");
        self.bytes -= pending.request.len();
        self.credit -= pending.request.len();
        pending
    }
}

#[derive(Default)]
struct State {
    open: BTreeMap<ProjectId, Open>,
    /// Projects with something open, each once; the front is served next.
    turns: VecDeque<ProjectId>,
    open_requests: usize,
    open_bytes: usize,
    outstanding: VecDeque<Outstanding>,
    outstanding_bytes: usize,
    last_seq: u64,
    /// The engine said that a part is missing before one of ours.
    gap: bool,
    /// When a part of ours was last applied here, by the node's elapsed time.
    progress_at: Duration,
    /// Since when this node has no way to a leader; `None` while it has one.
    leaderless_since: Option<Duration>,
}

pub(crate) struct Proposer {
    node: NodeId,
    boot: BootCount,
    requests_max: usize,
    bytes_max: usize,
    part_bytes_max: usize,
    window_parts: usize,
    window_bytes: usize,
    leaderless_max: Duration,
    state: Mutex<State>,
    /// Notified when there is something for the lane task to do.
    pub event: Event,
}

impl Proposer {
    pub fn new(options: &ReplicaOptions, now: Duration) -> Proposer {
        Proposer {
            node: options.node,
            boot: options.boot,
            requests_max: options.open_requests_max,
            bytes_max: options.open_bytes_max,
            part_bytes_max: options.entry_bytes_max,
            window_parts: options.lane_parts_max,
            window_bytes: options.lane_bytes_max,
            leaderless_max: Duration::from_millis(options.leaderless_ms_max),
            state: Mutex::new(State { leaderless_since: Some(now), ..State::default() }),
            event: Event::default(),
        }
    }

    /// Queues an encoded request. Refused with `Overloaded` when the queue is full, or half full
    /// with this project's requests, and with `NoLeader` when there has been no way to a leader
    /// for too long.
    pub fn queue(
        &self,
        project: ProjectId,
        request: Vec<u8>,
        now: Duration,
    ) -> Result<Ticket, NotDone> {
        let (sender, answer) = oneshot::channel();
        let place = Arc::new(AtomicU8::new(OPEN));
        {
            let mut state = lock(&self.state);
            if self.is_leaderless(&state, now) {
                return Err(NotDone::NoLeader);
            }
            let bytes = request.len();
            let state = &mut *state;
            let full = state.open_requests >= self.requests_max
                || state.open_bytes + bytes > self.bytes_max;
            let open = state.open.get(&project);
            let too_many = open.is_some_and(|open| {
                open.queue.len() >= self.requests_max.div_ceil(2)
                    || open.bytes + bytes > self.bytes_max / 2
            });
            if full || too_many {
                return Err(NotDone::Overloaded);
            }
            state.open_requests += 1;
            state.open_bytes += bytes;
            let open = state.open.entry(project.clone()).or_default();
            open.bytes += bytes;
            open.queue.push_back(Pending { request, place: place.clone(), answer: sender });
            if open.queue.len() == 1 {
                state.turns.push_back(project);
            }
        }
        self.event.notify();
        Ok(Ticket { place, answer })
    }

    fn is_leaderless(&self, state: &State, now: Duration) -> bool {
        state.leaderless_since.is_some_and(|since| now.saturating_sub(since) >= self.leaderless_max)
    }

    /// The lane task says whether there is a way to a leader. Without one for too long, all that
    /// has no place fails; after `UNKNOWN_TIMES` as long, the outcome of the rest is unknown.
    pub fn set_reachable(&self, reachable: bool, now: Duration) {
        let failed = {
            let mut state = lock(&self.state);
            if reachable {
                state.leaderless_since = None;
                return;
            }
            state.leaderless_since.get_or_insert(now);
            if !self.is_leaderless(&state, now) { return } else { take_open(&mut state) }
        };
        fail(failed, NotDone::NoLeader);
        self.give_up_answers(now);
    }

    fn give_up_answers(&self, now: Duration) {
        let mut state = lock(&self.state);
        let hopeless = self.leaderless_max * UNKNOWN_TIMES;
        let since = state.leaderless_since.unwrap_or(now);
        if now.saturating_sub(since) < hopeless {
            return;
        }
        let given_up: Vec<_> =
            state.outstanding.iter_mut().filter_map(|part| part.answers.take()).collect();
        drop(state);
        for answer in given_up.into_iter().flatten() {
            // A caller whose patience ended is gone.
            let _ = answer.send(Err(Failure::Unknown));
        }
    }

    /// A leader became known: the way to it gets its time, however long there was none.
    pub fn leader_known(&self, now: Duration) {
        let mut state = lock(&self.state);
        if state.leaderless_since.is_some() {
            state.leaderless_since = Some(now);
        }
    }

    /// Fails everything that has no place.
    pub fn refuse_open(&self, why: NotDone) {
        let failed = take_open(&mut lock(&self.state));
        fail(failed, why);
    }

    /// Numbers one more part, when something is open and the window has room.
    pub fn pack(&self) -> Option<(u64, Arc<Vec<u8>>)> {
        let mut state = lock(&self.state);
        let full = state.outstanding.len() >= self.window_parts
            || state.outstanding_bytes >= self.window_bytes;
        if full {
            return None;
        }
        let (requests, answers) = self.take_turns(&mut state);
        if requests.is_empty() {
            return None;
        }
        state.last_seq += 1;
        let seq = state.last_seq;
        let lane = LaneSeq { node: self.node, boot: self.boot, seq };
        let part = Arc::new(join_part(Some(lane), &requests));
        state.outstanding_bytes += part.len();
        let answers = Some(answers);
        state.outstanding.push_back(Outstanding { seq, part: part.clone(), answers });
        Some((seq, part))
    }

    /// Takes open requests, one project after the other by bytes, up to the size of a part.
    fn take_turns(&self, state: &mut State) -> (Vec<Vec<u8>>, Vec<oneshot::Sender<Answer>>) {
        let (mut requests, mut answers, mut taken) = (Vec::new(), Vec::new(), 0);
        while let Some(project) = state.turns.pop_front() {
            let open = state.open.get_mut(&project).expect("a project with a turn has a queue");
            open.credit += TURN_BYTES;
            while let Some(bytes) = open.next_bytes().filter(|bytes| *bytes <= open.credit) {
                if taken > 0 && taken + bytes > self.part_bytes_max {
                    open.credit -= TURN_BYTES.min(open.credit);
                    state.turns.push_front(project);
                    return (requests, answers);
                }
                let pending = open.take();
                state.open_requests -= 1;
                state.open_bytes -= bytes;
                let swap = (Ordering::SeqCst, Ordering::SeqCst);
                if pending.place.compare_exchange(OPEN, SEQUENCED, swap.0, swap.1).is_ok() {
                    taken += bytes;
                    requests.push(pending.request);
                    answers.push(pending.answer);
                }
            }
            if open.queue.is_empty() {
                state.open.remove(&project);
            } else {
                state.turns.push_back(project);
            }
        }
        (requests, answers)
    }

    /// The first outstanding part after number `after`.
    pub fn outstanding_after(&self, after: u64) -> Option<(u64, Arc<Vec<u8>>)> {
        let state = lock(&self.state);
        let first = state.outstanding.front()?.seq;
        let place = usize::try_from((after + 1).saturating_sub(first)).ok()?;
        state.outstanding.get(place).map(|found| (found.seq, found.part.clone()))
    }

    /// Whether everything outstanding is to be sent again: a part is missing, or nothing of ours
    /// was applied since `sent_at` for `silence`.
    pub fn resend_due(&self, sent_at: Duration, now: Duration, silence: Duration) -> bool {
        let mut state = lock(&self.state);
        if state.outstanding.is_empty() {
            state.gap = false;
            return false;
        }
        let since = state.progress_at.max(sent_at);
        std::mem::take(&mut state.gap) || now.saturating_sub(since) >= silence
    }

    /// True while requests wait for a place or parts to be applied.
    pub fn busy(&self) -> bool {
        let state = lock(&self.state);
        state.open_requests > 0 || !state.outstanding.is_empty()
    }

    /// Takes what the engine said of parts applied here, in log order.
    pub fn told(&self, told: Vec<PartTold>, now: Duration) {
        let mut answered = Vec::new();
        let mut any = false;
        {
            let mut state = lock(&self.state);
            for told in told {
                let Some(lane) = told.lane else { continue };
                if lane.node != self.node || lane.boot != self.boot {
                    continue;
                }
                any = true;
                match told.result {
                    PartResult::Fresh(results) => {
                        let done = settle(&mut state, lane.seq);
                        state.progress_at = now;
                        answered.push((done.and_then(|done| done.answers), results));
                    }
                    PartResult::Gap { .. } => state.gap = true,
                    // It was applied before, and answered then.
                    PartResult::Duplicate | PartResult::OldBoot { .. } => {}
                }
            }
        }
        for (answers, results) in answered {
            let Some(answers) = answers else { continue };
            assert_eq!(answers.len(), results.len(), "every request of a part has one result");
            for (answer, result) in answers.into_iter().zip(results) {
                // A caller whose patience ended is gone.
                let _ = answer.send(result.map_err(Failure::Rejected));
            }
        }
        if any {
            self.event.notify();
        }
    }

    /// A snapshot holds the lane up to `lane`: what was applied inside it has unknown outcomes.
    pub fn skipped_to(&self, lane: Option<(BootCount, u64)>) {
        let Some((boot, last)) = lane else { return };
        if boot != self.boot {
            return;
        }
        let mut unknown = Vec::new();
        {
            let mut state = lock(&self.state);
            while state.outstanding.front().is_some_and(|first| first.seq <= last) {
                let seq = state.outstanding[0].seq;
                unknown.extend(settle(&mut state, seq));
            }
        }
        let lies = mutants::on(Mutant::SkippedToldAsNotDone);
        let failure = if lies { Failure::NotDone(NotDone::NoLeader) } else { Failure::Unknown };
        for answer in unknown.into_iter().filter_map(|part| part.answers).flatten() {
            let _ = answer.send(Err(failure.clone()));
        }
        self.event.notify();
    }
}

/// Takes the part `seq` out; it is the oldest outstanding one, since the engine applies a lane in
/// order and tells each number once.
fn settle(state: &mut State, seq: u64) -> Option<Outstanding> {
    let first = state.outstanding.front()?;
    assert_eq!(first.seq, seq, "parts of a lane are applied in order, each once");
    let done = state.outstanding.pop_front()?;
    state.outstanding_bytes -= done.part.len();
    Some(done)
}

fn take_open(state: &mut State) -> Vec<Pending> {
    state.turns.clear();
    state.open_requests = 0;
    state.open_bytes = 0;
    std::mem::take(&mut state.open).into_values().flat_map(|open| open.queue).collect()
}

fn fail(pending: Vec<Pending>, why: NotDone) {
    for pending in pending {
        let _ = pending.answer.send(Err(Failure::NotDone(why)));
    }
}

#[cfg(test)]
#[path = "proposer_tests.rs"]
mod tests;
