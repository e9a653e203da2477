//! A message comes into a queue: by a post, or as a dead letter.
//!
//! Not here: its body, quotas, and where it came from.
//! Invariant: a message that arrives is the youngest of its store and of its ordering key.

use bessemer_model::{MessageId, Millis, OrderingKey, Position, ProjectId};
use bessemer_seam::kv::Table;
use bessemer_seam::mutants::{self, Mutant};

use crate::fault::Fault;
use crate::queue::{expiry, ordering};
use crate::state::{OpenQueue, State};
use crate::tables::message::{self, MessageRow, MessageState};
use crate::tables::timer::Timer;

/// A message on its way in.
pub(crate) struct Arrival {
    pub id: MessageId,
    /// Larger than any position in use.
    pub position: Position,
    pub body_bytes: u64,
    pub delay: Millis,
    /// How long it lives from now on.
    pub life: Millis,
    pub ordering_key: Option<OrderingKey>,
    pub reserved_count: u32,
    pub moved_from: Option<Position>,
}

/// Puts the message's rows and counts it. The caller saves the queue.
pub(crate) fn arrive(
    state: &mut State,
    project: &ProjectId,
    queue: &mut OpenQueue,
    arrival: Arrival,
) -> Result<(), Fault> {
    let store = queue.row.store;
    let position = arrival.position;
    assert!(position.0 < state.core.next_sequence, "positions come from the group's sequence");
    let oldest_of_key = match &arrival.ordering_key {
        None => true,
        Some(key) => {
            ordering::join(state, store, key, position)? || mutants::on(Mutant::OrderingKeyIgnored)
        }
    };
    let expires_at = expiry::bucket(state.now().after(arrival.life));
    let run = expiry::join(state, &mut queue.row, position, expires_at)?;
    let message_state = if arrival.delay > Millis::ZERO {
        MessageState::Delayed { until: end_of_delay(state.now(), arrival.delay) }
    } else if oldest_of_key {
        MessageState::Ready
    } else {
        MessageState::Parked
    };
    let row = MessageRow {
        id: arrival.id,
        body_bytes: arrival.body_bytes,
        state: message_state,
        reserved_count: arrival.reserved_count,
        expires_at,
        run,
        ordering_key: arrival.ordering_key,
        moved_from: arrival.moved_from,
    };
    state.rows.insert(Table::Row, message::key(store, position), row.encode());
    if row.moved_from.is_some() {
        let place = position.0.to_be_bytes().to_vec();
        state.rows.insert(Table::Row, message::moved_key(store, row.id), place);
    }
    queue.row.size += 1;
    queue.row.total += 1;
    queue.row.bytes += row.body_bytes;
    match message_state {
        MessageState::Ready => state.put_ready(project, queue, position),
        MessageState::Delayed { until } => {
            queue.row.delayed += 1;
            state.insert_timer(&Timer::Delay { due: until, store, position }, Vec::new());
        }
        MessageState::Parked => {} // Its turn comes when those before it are gone.
        MessageState::Reserved { .. } => unreachable!("nobody holds what has just arrived"),
    }
    Ok(())
}

fn end_of_delay(now: Millis, delay: Millis) -> Millis {
    let until = now.after(delay);
    if mutants::on(Mutant::DelayCutToSeconds) {
        return Millis(until.0 - until.0 % 1000).max(now.after(Millis(1)));
    }
    until
}
