//! A message leaves a queue, or a holder: removal, and the end of a reservation.
//!
//! Not here: who may do it.
//! Invariants: what leaves takes all its rows with it and frees the next of its key; a message
//! past its life is never given back.

use bessemer_model::{Millis, Position, ProjectId};
use bessemer_seam::kv::Table;
use bessemer_seam::mutants::{self, Mutant};

use crate::fault::Fault;
use crate::queue::{expiry, ordering};
use crate::state::{OpenQueue, Place, State};
use crate::tables::message::{self, MessageRow, MessageState};
use crate::tables::timer::Timer;

/// Takes the message out of the queue, all but its body. The caller saves the queue.
pub(crate) fn depart(
    state: &mut State,
    project: &ProjectId,
    queue: &mut OpenQueue,
    position: Position,
    row: &MessageRow,
) -> Result<(), Fault> {
    let store = queue.row.store;
    state.rows.delete(Table::Row, message::key(store, position));
    if row.moved_from.is_some() {
        state.rows.delete(Table::Row, message::moved_key(store, row.id));
    }
    match row.state {
        MessageState::Ready => state.remove_ready(store, position),
        MessageState::Parked => {} // In no index but that of its key.
        MessageState::Delayed { until } => {
            queue.row.delayed -= 1;
            state.remove_timer(&Timer::Delay { due: until, store, position });
        }
        MessageState::Reserved { until, .. } => {
            queue.row.reserved -= 1;
            state.remove_timer(&Timer::Lapse { due: until, store, position });
        }
    }
    queue.row.size -= 1;
    queue.row.bytes -= row.body_bytes;
    expiry::leave(state, store, row)?;
    if let Some(key) = &row.ordering_key {
        ordering::leave(state, project, queue, key, position)?;
    }
    Ok(())
}

/// Removes the message for good. The caller saves the place.
pub(crate) fn remove(
    state: &mut State,
    place: &mut Place,
    position: Position,
    row: &MessageRow,
) -> Result<(), Fault> {
    depart(state, &place.project.id, &mut place.queue, position, row)?;
    if !mutants::on(Mutant::BodyLeftBehind) {
        state.rows.delete_once(Table::Body, message::body_key(row.id));
    }
    place.project.row.usage.messages -= 1;
    place.project.row.usage.bytes -= row.body_bytes;
    Ok(())
}

/// Ends a reservation: the message returns to its place after `delay`, or vanishes if its life is
/// over. The caller saves the place.
pub(crate) fn give_back(
    state: &mut State,
    place: &mut Place,
    position: Position,
    mut row: MessageRow,
    delay: Millis,
) -> Result<(), Fault> {
    if row.expires_at <= state.now() {
        return remove(state, place, position, &row);
    }
    let MessageState::Reserved { until, .. } = row.state else {
        return Err(Fault::corrupt("a reservation ends that is none", row.id.0.to_be_bytes()));
    };
    let queue = &mut place.queue;
    let store = queue.row.store;
    state.remove_timer(&Timer::Lapse { due: until, store, position });
    queue.row.reserved -= 1;
    if delay > Millis::ZERO {
        let until = state.now().after(delay);
        row.state = MessageState::Delayed { until };
        queue.row.delayed += 1;
        state.insert_timer(&Timer::Delay { due: until, store, position }, Vec::new());
    } else {
        // It was reserved, so it is the oldest of its key; younger ones came behind it.
        row.state = MessageState::Ready;
        state.put_ready(&place.project.id, queue, position);
    }
    state.save_message(store, position, &row);
    Ok(())
}
