//! Release: a holder gives a message back, to its old place, after a delay.
//!
//! Not here: a reservation that lapses (`settle.rs`). Source: ironmq-v3.md 4.8.
//! Invariant: no id of the ended reservation is valid again; a message past its life vanishes.

use bessemer_model::limits::DELAY_MAX;
use bessemer_model::rejection::Timed;
use bessemer_model::{
    MessageId, Millis, Outcome, Position, ProjectId, QueueName, Rejection, ReservationId,
};
use bessemer_seam::mutants::{self, Mutant};

use crate::fault::{Fault, Refusal};
use crate::queue::check_time;
use crate::queue::depart::give_back;
use crate::reservation;
use crate::state::{Place, State};
use crate::tables::message::{MessageRow, MessageState};

/// Who gives back, and after how long the message may be reserved again.
pub(crate) struct Release {
    pub message: MessageId,
    pub reservation: ReservationId,
    pub delay: Millis,
}

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    queue: &QueueName,
    release: &Release,
) -> Result<Outcome, Refusal> {
    let held = check(state, project, queue, release)?;
    change(state, held, release.delay)?;
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
    release: &Release,
) -> Result<Held, Refusal> {
    let project = state.project(project)?;
    check_time(Timed::Delay, release.delay, Millis::ZERO, DELAY_MAX)?;
    let place = state.queue(project, queue)?;
    let message = release.message;
    let Some((position, row)) = state.find_message(place.queue.row.store, message)? else {
        return Err(Rejection::MessageMissing { message }.into());
    };
    let anybody = matches!(row.state, MessageState::Reserved { .. })
        && mutants::on(Mutant::RabbitmqNackRedelivery);
    if !reservation::holds(&state.core, &place.project.id, &row, release.reservation) && !anybody {
        return Err(Rejection::ReservationStale { message }.into());
    }
    Ok(Held { place, position, row })
}

fn change(state: &mut State, held: Held, delay: Millis) -> Result<(), Fault> {
    let Held { mut place, position, row } = held;
    give_back(state, &mut place, position, row, delay)?;
    state.save(&place);
    Ok(())
}

fn tell() -> Outcome {
    Outcome::Released
}
