//! Clear: removes every message, reserved and delayed ones too, at a cost that does not depend on
//! their number: the queue gets a new store.
//!
//! Not here: the removal of the old rows (`group/sweep.rs`). Source: ironmq-v3.md 4.6.

use bessemer_model::{Outcome, Position, ProjectId, QueueName};

use crate::fault::Refusal;
use crate::queue::store;
use crate::state::{Place, State};

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    name: &QueueName,
) -> Result<Outcome, Refusal> {
    let place = check(state, project, name)?;
    change(state, place);
    Ok(tell())
}

fn check(state: &State, project: &ProjectId, name: &QueueName) -> Result<Place, Refusal> {
    let project = state.project(project)?;
    state.queue(project, name)
}

fn change(state: &mut State, mut place: Place) {
    if place.queue.row.size == 0 {
        return;
    }
    store::end(state, &place.queue.row);
    let store = store::begin(state, &place.project, &place.queue.name);
    let usage = &mut place.project.row.usage;
    let row = &mut place.queue.row;
    usage.messages -= row.size;
    usage.bytes -= row.bytes;
    row.store = store;
    (row.size, row.bytes, row.reserved, row.delayed) = (0, 0, 0, 0);
    row.ready_from = Position(0);
    row.tail = None;
    state.save(&place);
}

fn tell() -> Outcome {
    Outcome::Cleared
}
