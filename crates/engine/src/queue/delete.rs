//! Delete: ends a queue with all its messages, at a cost that does not depend on their number.
//!
//! Not here: the removal of their rows (`group/sweep.rs`). Source: ironmq-v3.md 3.5.

use bessemer_model::{Effect, Outcome, ProjectId, QueueName};
use bessemer_seam::kv::Table;

use crate::fault::Refusal;
use crate::queue::store;
use crate::state::{Place, State};
use crate::tables::queue;

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

fn change(state: &mut State, place: Place) {
    let Place { mut project, queue } = place;
    let usage = &mut project.row.usage;
    usage.queues -= 1;
    usage.messages -= queue.row.size;
    usage.bytes -= queue.row.bytes;
    store::end(state, &queue.row);
    state.rows.delete(Table::Row, queue::key(project.row.number, &queue.name));
    state.save_project(&project);
    state.effects.add(Effect::QueueDeleted { project: project.id, queue: queue.name });
}

fn tell() -> Outcome {
    Outcome::QueueDeleted
}
