//! Ack: ends a message its holder is done with, or deletes a free one.
//!
//! Not here: many at once (`ack_many.rs`). Source: ironmq-v3.md 4.5.
//! Invariant: at most one acknowledgement of a message ever succeeds.

use bessemer_model::{Handle, Outcome, Position, ProjectId, QueueName, Rejection};

use crate::core::Core;
use crate::fault::{Fault, Refusal};
use crate::queue::depart::remove;
use crate::reservation;
use crate::state::{Place, State};
use crate::tables::message::{MessageRow, MessageState};

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    queue: &QueueName,
    handle: Handle,
) -> Result<Outcome, Refusal> {
    let held = check(state, project, queue, handle)?;
    change(state, held)?;
    Ok(tell())
}

struct Held {
    place: Place,
    position: Position,
    row: MessageRow,
}

fn check(
    state: &State,
    project: &ProjectId,
    queue: &QueueName,
    handle: Handle,
) -> Result<Held, Refusal> {
    let project = state.project(project)?;
    let place = state.queue(project, queue)?;
    let store = place.queue.row.store;
    let Some((position, row)) = state.find_message(store, handle.message)? else {
        return Err(Rejection::MessageMissing { message: handle.message }.into());
    };
    check_handle(&state.core, &place.project.id, &row, handle)?;
    Ok(Held { place, position, row })
}

/// Whether `handle` may delete the message that is there. One row of the table in 4.5 each.
pub(crate) fn check_handle(
    core: &Core,
    project: &ProjectId,
    row: &MessageRow,
    handle: Handle,
) -> Result<(), Rejection> {
    let message = handle.message;
    match (row.state, handle.reservation) {
        (MessageState::Ready | MessageState::Parked | MessageState::Delayed { .. }, None) => Ok(()),
        (MessageState::Reserved { .. }, Some(id)) if reservation::holds(core, project, row, id) => {
            Ok(())
        }
        (MessageState::Reserved { .. }, None) => Err(Rejection::ReservationRequired { message }),
        // Stale or foreign; or free again, and so no longer the caller's.
        (
            MessageState::Ready
            | MessageState::Parked
            | MessageState::Delayed { .. }
            | MessageState::Reserved { .. },
            Some(_),
        ) => Err(Rejection::ReservationStale { message }),
    }
}

fn change(state: &mut State, held: Held) -> Result<(), Fault> {
    let Held { mut place, position, row } = held;
    remove(state, &mut place, position, &row)?;
    state.save(&place);
    Ok(())
}

fn tell() -> Outcome {
    Outcome::Deleted { count: 1 }
}
