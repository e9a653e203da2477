//! The leader's queue: parts of all nodes' lanes on their way into entries.
//!
//! Not here: where parts come from (`lane.rs`, `forward.rs`), replication (openraft).
//! Invariants: parts of one stream enter entries in the order they came; what was queued under
//! one leadership is never proposed under another; at most `intake_bytes_max` wait, and
//! `entries_in_flight_max` entries are proposed and not yet applied; none is proposed while the
//! own log is behind, though a majority without this node would commit it.
//!
//! An entry takes what arrived while the ones before it were on their way: no timer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bessemer_engine::entry::encode_batch;
use bessemer_model::Millis;
use bessemer_seam::mutants::{self, Mutant};
use futures_util::future::{Either, select};
use openraft::errors::ClientWriteError;
use openraft::impls::OneshotResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias::OneshotReceiverOf;

use crate::event::{Event, lock, unless};
use crate::shared::Shared;
use crate::types::{EntryData, Types};
use crate::world::World;

#[derive(Default)]
struct State {
    /// The leadership under which parts are taken; `None` while this node does not lead.
    open: Option<u64>,
    next_generation: u64,
    parts: VecDeque<Vec<u8>>,
    bytes: usize,
}

#[derive(Default)]
pub(crate) struct Intake {
    state: Mutex<State>,
    bytes_max: usize,
    /// Forward streams served at the moment.
    streams: AtomicUsize,
    /// Parts came, or the leadership changed.
    arrived: Event,
    /// Parts left, or the leadership changed.
    room: Event,
    /// Entries proposed so far, and parts in them: for metrics.
    pub entries: AtomicUsize,
    pub parts: AtomicUsize,
}

/// Counts a forward stream while it lives.
pub(crate) struct StreamCount<'a>(&'a AtomicUsize);

impl Drop for StreamCount<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Intake {
    pub fn new(bytes_max: usize) -> Intake {
        Intake { bytes_max, ..Intake::default() }
    }

    pub fn count_stream(&self) -> StreamCount<'_> {
        self.streams.fetch_add(1, Ordering::SeqCst);
        StreamCount(&self.streams)
    }

    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }

    /// Begins a leadership: drops everything queued, closes all streams of the one before.
    pub fn open(&self) {
        self.turn(true);
    }

    /// Ends the leadership: drops everything queued and closes all streams.
    pub fn close(&self) {
        self.turn(false);
    }

    fn turn(&self, open: bool) {
        {
            let mut state = lock(&self.state);
            if !open && state.open.is_none() {
                return;
            }
            state.next_generation += 1;
            state.open = open.then_some(state.next_generation);
            state.parts.clear();
            state.bytes = 0;
        }
        self.arrived.notify();
        self.room.notify();
    }

    /// The leadership parts may be handed in under now.
    pub fn generation(&self) -> Option<u64> {
        lock(&self.state).open
    }

    /// Completes when the leadership `generation` is over.
    pub async fn ended(&self, generation: u64) {
        loop {
            let listener = self.room.listen();
            if self.generation() != Some(generation) {
                return;
            }
            listener.await;
        }
    }

    /// Queues a part, waiting for room. False when the leadership is over.
    pub async fn push(&self, generation: u64, part: Vec<u8>) -> bool {
        loop {
            let listener = self.room.listen();
            {
                let mut state = lock(&self.state);
                if state.open != Some(generation) {
                    return false;
                }
                if state.parts.is_empty() || state.bytes + part.len() <= self.bytes_max {
                    state.bytes += part.len();
                    state.parts.push_back(part);
                    break;
                }
            }
            listener.await;
        }
        self.arrived.notify();
        true
    }

    /// Takes the parts of one entry, and the leadership they came under.
    fn take(&self, entry_bytes_max: usize) -> (u64, Vec<Vec<u8>>) {
        let (generation, taken) = {
            let mut state = lock(&self.state);
            let (mut taken, mut bytes) = (Vec::new(), 0);
            while let Some(part) = state.parts.front() {
                if bytes > 0 && bytes + part.len() > entry_bytes_max {
                    break;
                }
                bytes += part.len();
                taken.extend(state.parts.pop_front());
            }
            state.bytes -= bytes;
            (state.next_generation, taken)
        };
        if !taken.is_empty() {
            self.room.notify();
        }
        (generation, taken)
    }
}

/// How soon a log without room is looked at again, and how often one with room.
const ROOM_LOOK_MS: u64 = 20;
const IDLE_LOOK_MS: u64 = 10_000;

type C<W> = Types<<W as World>::Rt>;
/// Entries on their way, each with the leadership its parts came under.
type InFlight<W> = VecDeque<(u64, OneshotReceiverOf<C<W>, ClientWriteResult<C<W>>>)>;

/// Turns parts into entries as long as the replica lives.
pub(crate) async fn run<W: World>(shared: Arc<Shared<W>>) {
    let mut in_flight: InFlight<W> = VecDeque::new();
    loop {
        let listener = shared.intake.arrived.listen();
        let has_room = shared.log.has_room();
        if has_room && in_flight.len() < shared.options.entries_in_flight_max {
            let (generation, parts) = shared.intake.take(shared.options.entry_bytes_max);
            if !parts.is_empty() {
                let proposed = propose(&shared, parts).await;
                in_flight.extend(proposed.map(|receiver| (generation, receiver)));
                continue;
            }
        }
        // Nobody tells when the log's device has caught up.
        let look = Duration::from_millis(if has_room { IDLE_LOOK_MS } else { ROOM_LOOK_MS });
        let listener = select(listener, shared.runtime.sleep(look));
        let ended = match in_flight.front_mut() {
            None => unless(&shared.stop, listener).await.map(|_| None),
            Some((_, first)) => match unless(&shared.stop, select(first, listener)).await {
                None => None,
                Some(Either::Left((result, _))) => Some(Some(result)),
                Some(Either::Right(_)) => Some(None),
            },
        };
        let Some(ended) = ended else { return };
        if let Some(result) = ended {
            let generation = in_flight.pop_front().map(|(generation, _)| generation);
            if let Ok(Err(error)) = result {
                refused(&shared, generation, &error);
            }
        }
    }
}

async fn propose<W: World>(
    shared: &Arc<Shared<W>>,
    parts: Vec<Vec<u8>>,
) -> Option<OneshotReceiverOf<C<W>, ClientWriteResult<C<W>>>> {
    let stamp = if mutants::on(Mutant::StampFromWallClock) {
        Millis(shared.runtime.wall_ms())
    } else {
        shared.steering.stamp(shared.runtime.elapsed(), shared.progress.get().log_time)
    };
    let batch = encode_batch(stamp, &parts);
    shared.intake.entries.fetch_add(1, Ordering::Relaxed);
    shared.intake.parts.fetch_add(parts.len(), Ordering::Relaxed);
    let (responder, receiver) = OneshotResponder::new_pair();
    // An error means that openraft has stopped: the watcher of its metrics reports why.
    let written = shared.raft().client_write_ff(EntryData::new(batch), Some(responder)).await;
    written.ok().map(|()| receiver)
}

/// An entry was refused or may be lost. Its parts come again over their lanes.
fn refused<W: World>(
    shared: &Arc<Shared<W>>,
    generation: Option<u64>,
    error: &ClientWriteError<C<W>>,
) {
    tracing::debug!(%error, "an entry was not taken; the lanes send it again");
    if generation.is_some() && shared.intake.generation() == generation {
        // Ends all streams, so that lanes begin again in order.
        if shared.role.leading() { shared.intake.open() } else { shared.intake.close() }
    }
    shared.proposer.event.notify();
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn parts_keep_their_order_and_end_with_their_leadership() {
        let intake = Intake::new(100);
        assert_eq!(intake.generation(), None);
        intake.open();
        let first = intake.generation().unwrap();
        for number in 0..5 {
            assert_eq!(intake.push(first, vec![number; 10]).now_or_never(), Some(true));
        }
        assert_eq!(intake.take(25), (first, vec![vec![0; 10], vec![1; 10]]));
        assert!(intake.ended(first).now_or_never().is_none());
        intake.open();
        assert_eq!(intake.ended(first).now_or_never(), Some(()));
        assert_eq!(intake.push(first, vec![1]).now_or_never(), Some(false));
        assert!(intake.take(1000).1.is_empty());
        intake.close();
        assert_eq!(intake.generation(), None);
    }

    #[test]
    fn a_full_intake_makes_streams_wait() {
        let intake = Intake::new(20);
        intake.open();
        let generation = intake.generation().unwrap();
        assert_eq!(intake.push(generation, vec![0; 50]).now_or_never(), Some(true));
        let mut waiting = Box::pin(intake.push(generation, vec![1; 10]));
        assert_eq!((&mut waiting).now_or_never(), None);
        assert_eq!(intake.take(10).1, [vec![0; 50]]);
        assert_eq!(waiting.now_or_never(), Some(true));
    }
}
