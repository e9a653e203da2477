//! Sweep: removes rows of what has ended, a bounded number at a time.
//!
//! Not here: ending it (`queue/store.rs`, `project/delete.rs`).
//! Invariants: one sweep deletes at most `SWEEP_ROWS_MAX` rows; nothing a live queue or project
//! can reach is deleted; sweeping on and on ends with no garbage.

use bessemer_model::limits::SWEEP_ROWS_MAX;
use bessemer_model::{Effect, Outcome, Position, ProjectId, QueueName, StoreId, TokenId};
use bessemer_seam::kv::Table;

use crate::fault::{Fault, Refusal};
use crate::queue::{expiry, store};
use crate::state::State;
use crate::tables::garbage::{self, ProjectGarbage, StoreGarbage};
use crate::tables::message::{self, MessageRow, MessageState};
use crate::tables::project::{self, TokenOwner};
use crate::tables::queue::{self, QueueRow};
use crate::tables::retry::{self, RetryRow};
use crate::tables::timer::Timer;
use crate::tables::{end_of, number_at, number_key, read};

/// Rows one message can have: itself, body, old id, head and place of its key, index, timer, run.
const MESSAGE_ROWS_MAX: usize = 8;
/// Rows that go or come when a queue, a token or a retry key of an ended project is swept.
const QUEUE_ROWS_MAX: usize = 3;
const PAIR_ROWS: usize = 2;

pub(crate) fn apply(state: &mut State) -> Result<Outcome, Refusal> {
    change(state)?;
    Ok(tell())
}

fn change(state: &mut State) -> Result<(), Fault> {
    let mut budget = SWEEP_ROWS_MAX;
    while budget > MESSAGE_ROWS_MAX {
        let spent = if state.core.garbage_stores > 0 {
            sweep_store(state, budget)?
        } else if state.core.garbage_projects > 0 {
            sweep_project(state, budget)?
        } else {
            break;
        };
        assert!(0 < spent && spent <= budget, "a sweep makes progress within its bound");
        budget -= spent;
    }
    if state.core.garbage_stores + state.core.garbage_projects > 0 {
        state.effects.add(Effect::GarbageLeft);
    }
    Ok(())
}

/// Sweeps the first ended store. Returns the rows it took, at most `budget`.
fn sweep_store(state: &mut State, budget: usize) -> Result<usize, Fault> {
    let from = garbage::store_key(state.core.garbage_from);
    let ended = state.rows.list(Table::Row, &from, &end_of(b"G"), 1)?;
    let (key, value) =
        ended.first().ok_or_else(|| Fault::corrupt("an ended store has no row", &from))?;
    let store = StoreId(number_at(key, 1)?);
    let StoreGarbage { cursor } = StoreGarbage::decode(value)?;
    state.core.garbage_from = store;

    let messages_max = (budget - 1) / MESSAGE_ROWS_MAX;
    let from = message::key(store, cursor);
    let to = message::store_end(b'M', store);
    let messages = state.rows.list(Table::Row, &from, &to, messages_max)?;
    for (key, value) in &messages {
        let position = Position(number_at(key, 9)?);
        sweep_message(state, store, position, &MessageRow::decode(value)?)?;
    }
    match messages.last() {
        Some((key, _)) if messages.len() == messages_max => {
            let cursor = Position(number_at(key, 9)? + 1);
            let row = StoreGarbage { cursor }.encode();
            state.rows.put(Table::Row, garbage::store_key(store), row);
        }
        Some(_) | None => {
            state.rows.delete(Table::Row, garbage::store_key(store));
            state.core.garbage_stores -= 1;
            state.core.garbage_from = StoreId(store.0 + 1);
        }
    }
    Ok(messages.len() * MESSAGE_ROWS_MAX + 1)
}

/// Deletes all rows a message can have. Some of its timers may have fired already.
fn sweep_message(
    state: &mut State,
    store: StoreId,
    position: Position,
    row: &MessageRow,
) -> Result<(), Fault> {
    state.rows.delete(Table::Row, message::key(store, position));
    state.rows.delete_once(Table::Body, message::body_key(row.id));
    if row.moved_from.is_some() {
        state.rows.delete(Table::Row, message::moved_key(store, row.id));
    }
    match row.state {
        MessageState::Ready => {
            state.rows.delete(Table::Index, message::ready_key(store, position));
        }
        MessageState::Parked => {} // In no index but that of its key.
        MessageState::Delayed { until } => {
            state.remove_timer(&Timer::Delay { due: until, store, position });
        }
        MessageState::Reserved { until, .. } => {
            state.remove_timer(&Timer::Lapse { due: until, store, position });
        }
    }
    if let Some(key) = &row.ordering_key {
        // It is named by one of the two; which one no longer matters to anybody.
        state.rows.delete(Table::Row, message::head_key(store, key));
        state.rows.delete(Table::Index, message::parked_key(store, key, position));
    }
    let run = Timer::Expiry { due: row.expires_at, store, first: row.run };
    if expiry::find(state, &run)?.is_some() {
        state.remove_timer(&run);
    }
    Ok(())
}

/// Sweeps the first ended project: its queues end as if deleted, its tokens and retry keys go.
fn sweep_project(state: &mut State, budget: usize) -> Result<usize, Fault> {
    let ended = state.rows.list(Table::Row, b"X", &end_of(b"X"), 1)?;
    let (key, value) =
        ended.first().ok_or_else(|| Fault::corrupt("an ended project has no row", b"X"))?;
    let number = number_at(key, 1)?;
    let mut garbage = ProjectGarbage::decode(value)?;
    let project = ProjectId::new(&*garbage.project);

    let mut left = budget - 1;
    let done = sweep_queues(state, &project, &mut garbage, number, &mut left)?
        && sweep_tokens(state, &project, &mut garbage, number, &mut left)?
        && sweep_retries(state, &mut garbage, number, &mut left)?;
    let key = garbage::project_key(number);
    if done {
        state.rows.delete(Table::Row, key);
        state.core.garbage_projects -= 1;
    } else {
        state.rows.put(Table::Row, key, garbage.encode());
    }
    Ok(budget - left)
}

/// Returns whether none are left.
fn sweep_queues(
    state: &mut State,
    project: &ProjectId,
    garbage: &mut ProjectGarbage,
    number: u64,
    left: &mut usize,
) -> Result<bool, Fault> {
    let max = *left / QUEUE_ROWS_MAX;
    let to = end_of(&queue::prefix(number));
    let rows = state.rows.list(Table::Row, &garbage.queues_from, &to, max)?;
    for (key, value) in &rows {
        let name = std::str::from_utf8(&key[9..])
            .map_err(|_| Fault::corrupt("a queue's name is not text", key))?;
        store::end(state, &QueueRow::decode(value)?);
        state.rows.delete(Table::Row, key.clone());
        let (project, queue) = (project.clone(), QueueName::new(name));
        state.effects.add(Effect::QueueDeleted { project, queue });
    }
    *left -= rows.len() * QUEUE_ROWS_MAX;
    Ok(pass(&mut garbage.queues_from, rows, max))
}

fn sweep_tokens(
    state: &mut State,
    project: &ProjectId,
    garbage: &mut ProjectGarbage,
    number: u64,
    left: &mut usize,
) -> Result<bool, Fault> {
    let max = *left / PAIR_ROWS;
    let to = end_of(&number_key(b'Z', number));
    let rows = state.rows.list(Table::Row, &garbage.tokens_from, &to, max)?;
    for (key, value) in &rows {
        let token: TokenId = project::decode_token(value)?.id;
        state.rows.delete(Table::Row, key.clone());
        let owner_key = project::owner_key(&token);
        // A live project may have taken the id over.
        let owner = read(&state.rows, Table::Row, &owner_key, TokenOwner::decode)?;
        if owner.is_some_and(|owner| owner.number == number) {
            state.rows.delete(Table::Row, owner_key);
            state.effects.add(Effect::TokenRevoked { project: project.clone(), token });
        }
    }
    *left -= rows.len() * PAIR_ROWS;
    Ok(pass(&mut garbage.tokens_from, rows, max))
}

fn sweep_retries(
    state: &mut State,
    garbage: &mut ProjectGarbage,
    number: u64,
    left: &mut usize,
) -> Result<bool, Fault> {
    let max = *left / PAIR_ROWS;
    let to = end_of(&retry::prefix(number));
    let rows = state.rows.list(Table::Row, &garbage.retries_from, &to, max)?;
    for (key, value) in &rows {
        let text = std::str::from_utf8(&key[9..])
            .map_err(|_| Fault::corrupt("a retry key is not text", key))?;
        let due = RetryRow::decode(value)?.expires_at;
        state.remove_timer(&Timer::Retry { due, number, key: text.into() });
        state.rows.delete(Table::Row, key.clone());
    }
    *left -= rows.len() * PAIR_ROWS;
    Ok(pass(&mut garbage.retries_from, rows, max))
}

/// Moves a cursor behind what was swept. Returns whether that was all.
fn pass(from: &mut Vec<u8>, rows: Vec<(Vec<u8>, Vec<u8>)>, max: usize) -> bool {
    let all = rows.len() < max;
    if let Some((mut last, _)) = rows.into_iter().next_back() {
        last.push(0);
        *from = last;
    }
    all
}

fn tell() -> Outcome {
    Outcome::Done
}
