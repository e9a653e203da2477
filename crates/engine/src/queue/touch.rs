//! Touch: a holder asks for more time, and the message counts one reservation more.
//!
//! Not here: dead letters; a touch counts but never moves. Source: ironmq-v3.md 4.7, 8.
//! Invariant: the generation stays, the touch number grows until it saturates, and every id of
//! the lineage stays valid.

use bessemer_model::limits::{MESSAGE_TIMEOUT_MAX, MESSAGE_TIMEOUT_MIN};
use bessemer_model::rejection::Timed;
use bessemer_model::{
    MessageId, Millis, Outcome, Position, ProjectId, QueueName, Rejection, ReservationId,
};
use bessemer_seam::mutants::{self, Mutant};

use crate::fault::{Fault, Refusal};
use crate::queue::check_time;
use crate::reservation;
use crate::state::{Place, State};
use crate::tables::message::{MessageRow, MessageState};
use crate::tables::timer::Timer;

/// Who asks, and for how long.
pub(crate) struct Touch {
    pub message: MessageId,
    pub reservation: ReservationId,
    pub timeout: Option<Millis>,
}

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    queue: &QueueName,
    touch: &Touch,
) -> Result<Outcome, Refusal> {
    let held = check(state, project, queue, touch)?;
    let reservation = change(state, held)?;
    Ok(tell(reservation))
}

struct Held {
    place: Place,
    position: Position,
    row: MessageRow,
    timeout: Millis,
}

fn check(
    state: &State,
    project: &ProjectId,
    queue: &QueueName,
    touch: &Touch,
) -> Result<Held, Refusal> {
    let project = state.project(project)?;
    if let Some(timeout) = touch.timeout {
        check_time(Timed::MessageTimeout, timeout, MESSAGE_TIMEOUT_MIN, MESSAGE_TIMEOUT_MAX)?;
    }
    let place = state.queue(project, queue)?;
    let message = touch.message;
    let Some((position, row)) = state.find_message(place.queue.row.store, message)? else {
        return Err(Rejection::MessageMissing { message }.into());
    };
    if !reservation::holds(&state.core, &place.project.id, &row, touch.reservation) {
        return Err(Rejection::ReservationStale { message }.into());
    }
    let timeout = touch.timeout.unwrap_or(place.queue.row.settings.message_timeout);
    Ok(Held { place, position, row, timeout })
}

fn change(state: &mut State, held: Held) -> Result<ReservationId, Fault> {
    let Held { place, position, mut row, timeout } = held;
    let store = place.queue.row.store;
    let MessageState::Reserved { until, generation, touch } = row.state else {
        return Err(Fault::corrupt("a held message is not reserved", row.id.0.to_be_bytes()));
    };
    let extends = !mutants::on(Mutant::TouchDoesNotExtend);
    let later = if extends { state.now().after(timeout) } else { until };
    let touch = touch.saturating_add(1);
    if later != until {
        state.remove_timer(&Timer::Lapse { due: until, store, position });
        state.insert_timer(&Timer::Lapse { due: later, store, position }, Vec::new());
    }
    row.state = MessageState::Reserved { until: later, generation, touch };
    row.reserved_count = row.reserved_count.saturating_add(1);
    state.save_message(store, position, &row);
    Ok(reservation::mint(&state.core, &place.project.id, row.id, generation, touch))
}

fn tell(reservation: ReservationId) -> Outcome {
    Outcome::Touched { reservation }
}
