//! Dead letters: a message reserved too often moves to another queue instead of being reserved.
//!
//! Not here: the setting (`put.rs`). Only a reserve moves messages. Source: ironmq-v3.md 8.
//! Invariant: a moved message keeps id, body and reserved count; it gets a new position at the
//! tail of the target, and the target's expiration from now on.

use bessemer_model::{Millis, Position, QueueName, QueueSettings};
use bessemer_seam::mutants::{self, Mutant};

use crate::fault::Fault;
use crate::queue::arrive::{Arrival, arrive};
use crate::queue::depart::depart;
use crate::queue::store;
use crate::state::{OpenProject, OpenQueue, Place, State};
use crate::tables::message::MessageRow;

/// Whether the next reserve moves the message away.
pub(crate) fn is_dead(settings: &QueueSettings, row: &MessageRow) -> bool {
    let counted = row.reserved_count + u32::from(mutants::on(Mutant::DeadLetterTooEarly));
    settings.dead_letter.as_ref().is_some_and(|dead_letter| counted >= dead_letter.max_reservations)
}

/// Opens the target, making it as a default queue if it is missing. The caller saves it.
///
/// This may take the project over its number of queues: a reserve is never refused for it, and a
/// setting that names a missing queue was refused while the project was full.
pub(crate) fn open_target(
    state: &mut State,
    project: &mut OpenProject,
    name: &QueueName,
) -> Result<OpenQueue, Fault> {
    match state.find_queue(project, name)? {
        Some(queue) => Ok(queue),
        None => Ok(store::make_queue(state, project, name.clone(), QueueSettings::default())),
    }
}

/// Moves a free message of `place` to the tail of `target`. The caller saves both.
pub(crate) fn move_message(
    state: &mut State,
    place: &mut Place,
    target: &mut OpenQueue,
    position: Position,
    row: MessageRow,
) -> Result<(), Fault> {
    assert!(place.queue.row.store != target.row.store, "a queue is never its own target");
    let id = &place.project.id;
    depart(state, id, &mut place.queue, position, &row)?;
    let arrival = Arrival {
        id: row.id,
        position: Position(state.core.next_sequence),
        body_bytes: row.body_bytes,
        delay: Millis::ZERO,
        life: target.row.settings.message_expiration,
        ordering_key: row.ordering_key,
        reserved_count: row.reserved_count,
        moved_from: Some(position),
    };
    state.core.next_sequence += 1;
    arrive(state, id, target, arrival)
}
