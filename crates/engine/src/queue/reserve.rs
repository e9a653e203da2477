//! Reserve: gives a consumer the oldest messages that can be reserved.
//!
//! Not here: waiting for one. Source: ironmq-v3.md 4.2, 8.
//! Invariants: a message has at most one live reservation; each reservation has a generation
//! larger than any before; what is given and moved stays within the request's `Allowance`.

use bessemer_model::limits::{MESSAGE_TIMEOUT_MAX, MESSAGE_TIMEOUT_MIN, RESERVE_COUNT_MAX};
use bessemer_model::rejection::{Counted, Timed};
use bessemer_model::{Millis, Outcome, Position, ProjectId, QueueName, Rejection, ReservedMessage};
use bessemer_seam::mutants::{self, Mutant};

use crate::fault::{Fault, Refusal};
use crate::queue::check_time;
use crate::queue::dead_letter::{is_dead, move_message, open_target};
use crate::queue::depart::remove;
use crate::reservation;
use crate::state::{Allowance, OpenQueue, Place, State};
use crate::tables::message::{MessageRow, MessageState};
use crate::tables::timer::Timer;

/// What the consumer asks for.
pub(crate) struct Wish {
    pub count: u32,
    pub timeout: Option<Millis>,
    /// Remove what is given, at once.
    pub delete: bool,
}

pub(crate) fn apply(
    state: &mut State,
    project: &ProjectId,
    queue: &QueueName,
    wish: &Wish,
) -> Result<Outcome, Refusal> {
    let place = check(state, project, queue, wish)?;
    let messages = change(state, place, wish)?;
    Ok(tell(messages))
}

fn check(
    state: &State,
    project: &ProjectId,
    queue: &QueueName,
    wish: &Wish,
) -> Result<Place, Refusal> {
    let project = state.project(project)?;
    if !(1..=RESERVE_COUNT_MAX).contains(&wish.count) {
        let (count, count_max) = (u64::from(wish.count), u64::from(RESERVE_COUNT_MAX));
        let what = Counted::Reservations;
        return Err(Rejection::CountOutOfRange { what, count, count_max }.into());
    }
    if let Some(timeout) = wish.timeout {
        check_time(Timed::MessageTimeout, timeout, MESSAGE_TIMEOUT_MIN, MESSAGE_TIMEOUT_MAX)?;
    }
    state.queue(project, queue)
}

fn change(state: &mut State, mut place: Place, wish: &Wish) -> Result<Vec<ReservedMessage>, Fault> {
    let mut taken = Vec::new();
    let mut target: Option<OpenQueue> = None;
    if !state.has_window(place.queue.row.store) && mutants::on(Mutant::WindowInfluencesRow) {
        state.core.next_generation += 1;
    }
    let first = loop {
        let first = state.first_ready(&place.queue)?;
        let Some(position) = first else { break first };
        if taken.len() == wish.count as usize {
            break first;
        }
        let row = state.message(place.queue.row.store, position)?;
        assert!(row.state == MessageState::Ready, "the ready index names what is ready");
        let is_dead = is_dead(&place.queue.row.settings, &row);
        if !draw(&mut state.allowance, &row, is_dead) {
            break first;
        }
        if is_dead {
            let mut queue = match target.take() {
                Some(queue) => queue,
                None => open_dead_letters(state, &mut place)?,
            };
            move_message(state, &mut place, &mut queue, position, row)?;
            target = Some(queue);
        } else {
            taken.push(take(state, &mut place, wish, position, row)?);
        }
    };
    if taken.is_empty() && target.is_none() {
        return Ok(taken); // An empty reserve writes nothing.
    }
    // Where the next reserve begins to read, even on a replica that has just started.
    place.queue.row.ready_from = first.unwrap_or(Position(state.core.next_sequence));
    if taken.len() < wish.count as usize && first.is_some() {
        state.tell_ready(&place.project.id, &place.queue);
    }
    if let Some(target) = target {
        state.save_queue(&place.project, &target);
    }
    state.save(&place);
    Ok(taken)
}

/// Draws what giving or moving the message takes; `false` when not enough is left.
fn draw(allowance: &mut Allowance, row: &MessageRow, is_dead: bool) -> bool {
    let Allowance { messages, bytes, moves } = *allowance;
    let left = if is_dead {
        moves.checked_sub(1).map(|moves| Allowance { moves, ..*allowance })
    } else {
        let counted = messages.checked_sub(1).zip(bytes.checked_sub(row.body_bytes));
        counted.map(|(messages, bytes)| Allowance { messages, bytes, moves })
    };
    *allowance = left.unwrap_or(*allowance);
    left.is_some()
}

fn open_dead_letters(state: &mut State, place: &mut Place) -> Result<OpenQueue, Fault> {
    let set = place.queue.row.settings.dead_letter.clone();
    let set = set.expect("a message is dead only where there is a setting");
    open_target(state, &mut place.project, &set.queue)
}

fn take(
    state: &mut State,
    place: &mut Place,
    wish: &Wish,
    position: Position,
    mut row: MessageRow,
) -> Result<ReservedMessage, Fault> {
    let store = place.queue.row.store;
    let generation = state.core.next_generation;
    state.core.next_generation += 1;
    let body = state.wanted_body(row.id)?;
    let reserved_count = row.reserved_count.saturating_add(1);
    if wish.delete {
        remove(state, place, position, &row)?;
    } else {
        let timeout = wish.timeout.unwrap_or(place.queue.row.settings.message_timeout);
        let until = state.now().after(timeout);
        state.remove_ready(store, position);
        state.insert_timer(&Timer::Lapse { due: until, store, position }, Vec::new());
        row.state = MessageState::Reserved { until, generation, touch: 0 };
        row.reserved_count = reserved_count;
        state.save_message(store, position, &row);
        place.queue.row.reserved += 1;
    }
    let reservation = reservation::mint(&state.core, &place.project.id, row.id, generation, 0);
    Ok(ReservedMessage { id: row.id, body, reserved_count, reservation })
}

fn tell(messages: Vec<ReservedMessage>) -> Outcome {
    Outcome::Reserved { messages }
}
