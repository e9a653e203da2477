//! Ack of many: all or none; those already gone are skipped, unless all are.
//!
//! Not here: clearing (an empty list deletes nothing). Source: ironmq-v3.md 4.6.

use std::collections::BTreeSet;

use bessemer_model::limits::DELETE_COUNT_MAX;
use bessemer_model::rejection::Counted;
use bessemer_model::{Handle, MessageId, Outcome, ProjectId, QueueName, Rejection};

use crate::fault::{Fault, Refusal};
use crate::queue::ack::check_handle;
use crate::queue::depart::remove;
use crate::state::{Place, State};

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    queue: &QueueName,
    handles: &[Handle],
) -> Result<Outcome, Refusal> {
    let (place, messages) = check(state, project, queue, handles)?;
    let count = change(state, place, &messages)?;
    Ok(tell(count))
}

/// The messages to delete, each once.
fn check(
    state: &State,
    project: &ProjectId,
    queue: &QueueName,
    handles: &[Handle],
) -> Result<(Place, BTreeSet<MessageId>), Refusal> {
    let project = state.project(project)?;
    if handles.len() > DELETE_COUNT_MAX {
        let (count, count_max) = (handles.len() as u64, DELETE_COUNT_MAX as u64);
        return Err(Rejection::CountOutOfRange { what: Counted::Deletes, count, count_max }.into());
    }
    let place = state.queue(project, queue)?;
    let store = place.queue.row.store;
    let mut messages = BTreeSet::new();
    for handle in handles {
        if let Some((_, row)) = state.find_message(store, handle.message)? {
            check_handle(&state.core, &place.project.id, &row, *handle)?;
            messages.insert(handle.message);
        }
    }
    match handles.first() {
        Some(first) if messages.is_empty() => {
            Err(Rejection::MessageMissing { message: first.message }.into())
        }
        Some(_) | None => Ok((place, messages)),
    }
}

fn change(
    state: &mut State,
    mut place: Place,
    messages: &BTreeSet<MessageId>,
) -> Result<u32, Fault> {
    let mut count = 0;
    for &id in messages {
        // Read again: one that left may have freed, and so changed, another of its key.
        let found = state.find_message(place.queue.row.store, id)?;
        let (position, row) = found.expect("each message is deleted once");
        remove(state, &mut place, position, &row)?;
        count += 1;
    }
    state.save(&place);
    Ok(count)
}

fn tell(count: u32) -> Outcome {
    Outcome::Deleted { count }
}
