//! Undo: a reserve whose reply reached nobody is taken back, as if it had not been.
//!
//! Not here: finding out that a reply was lost (the service); a holder who gives back (`release.rs`).
//! Invariants: the reservation counts no more, so no message becomes a dead letter by replies that
//! were lost; one that was touched, released or acknowledged did reach its holder and is left alone.

use bessemer_model::limits::RESERVE_COUNT_MAX;
use bessemer_model::rejection::Counted;
use bessemer_model::{Held, Millis, Outcome, Position, ProjectId, QueueName, Rejection};

use crate::fault::{Fault, Refusal};
use crate::queue::depart::give_back;
use crate::reservation;
use crate::state::{Place, State};
use crate::tables::message::{MessageRow, MessageState};

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    queue: &QueueName,
    held: &[Held],
) -> Result<Outcome, Refusal> {
    let place = check(state, project, queue, held)?;
    change(state, place, held)?;
    Ok(tell())
}

fn check(
    state: &State,
    project: &ProjectId,
    queue: &QueueName,
    held: &[Held],
) -> Result<Place, Refusal> {
    let project = state.project(project)?;
    if held.len() > RESERVE_COUNT_MAX as usize {
        let (count, count_max) = (held.len() as u64, u64::from(RESERVE_COUNT_MAX));
        let what = Counted::Reservations;
        return Err(Rejection::CountOutOfRange { what, count, count_max }.into());
    }
    state.queue(project, queue)
}

fn change(state: &mut State, mut place: Place, held: &[Held]) -> Result<(), Fault> {
    for held in held {
        if let Some((position, mut row)) = find_untouched(state, &place, held)? {
            assert!(row.reserved_count > 0, "a reserved message was counted");
            row.reserved_count -= 1;
            give_back(state, &mut place, position, row, Millis::ZERO)?;
        }
    }
    state.save(&place);
    Ok(())
}

/// The message, if nothing happened to it since it was reserved so.
fn find_untouched(
    state: &State,
    place: &Place,
    held: &Held,
) -> Result<Option<(Position, MessageRow)>, Fault> {
    let found = state.find_message(place.queue.row.store, held.message)?;
    Ok(found.filter(|(_, row)| {
        matches!(row.state, MessageState::Reserved { touch: 0, .. })
            && reservation::holds(&state.core, &place.project.id, row, held.reservation)
    }))
}

fn tell() -> Outcome {
    Outcome::Released
}
