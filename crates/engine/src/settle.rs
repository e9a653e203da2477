//! Settling: before its commands, each entry does what is due by its time.
//!
//! Not here: who asks for time to pass (the leader's `Tick`).
//! Invariants: timers are settled in the order of `tables/timer.rs`; log time never passes an
//! unsettled timer and never falls; one entry settles at most `TIMERS_PER_BATCH_MAX` timers and
//! rows of expiring runs.

use bessemer_model::limits::TIMERS_PER_BATCH_MAX;
use bessemer_model::{Millis, Position, StoreId};
use bessemer_seam::kv::Table;
use bessemer_seam::mutants::{self, Mutant};

use crate::fault::Fault;
use crate::queue::depart::{give_back, remove};
use crate::queue::{expiry, ordering};
use crate::state::{Place, State};
use crate::tables::message::{self, MessageRow, MessageState};
use crate::tables::retry::{self, RetryRow};
use crate::tables::timer::{ExpiryRun, Timer};
use crate::tables::{number_at, read};

/// Moves log time towards `stamp`, settling what comes due on the way. Returns the log time: the
/// stamp, or the deadline of the first timer there was no room for, and never less than before.
pub(crate) fn settle(state: &mut State, stamp: Millis) -> Result<Millis, Fault> {
    let falls = mutants::on(Mutant::LogTimeFalls);
    let target = if falls { stamp } else { stamp.max(state.now()) };
    let passes = mutants::on(Mutant::TimerPassedUnsettled);
    let mut budget = if passes { 1 } else { TIMERS_PER_BATCH_MAX };
    while let Some(timer) = state.first_timer()? {
        let on_time = timer.due() >= state.now() || passes;
        assert!(on_time, "log time never passes an unsettled timer");
        if timer.due() > target || passes && budget == 0 {
            break;
        }
        state.core.log_time = timer.due();
        if budget == 0 {
            return Ok(state.now());
        }
        let spent = fire(state, &timer, budget)?;
        assert!(0 < spent && spent <= budget, "settling makes progress within its bound");
        budget -= spent;
    }
    state.core.log_time = target;
    Ok(target)
}

/// Settles one timer, or a part of it. Returns what it took of `budget`.
fn fire(state: &mut State, timer: &Timer, budget: usize) -> Result<usize, Fault> {
    match timer {
        Timer::Lapse { store, position, .. } => lapse(state, timer, *store, *position)?,
        Timer::Delay { store, position, .. } => end_delay(state, timer, *store, *position)?,
        Timer::Retry { number, key, .. } => forget_retry(state, timer, *number, key)?,
        Timer::Expiry { due, store, first } => {
            return expire(state, timer, *due, *store, *first, budget);
        }
    }
    Ok(1)
}

fn lapse(
    state: &mut State,
    timer: &Timer,
    store: StoreId,
    position: Position,
) -> Result<(), Fault> {
    let Some(mut place) = state.place_of(store)? else {
        state.remove_timer(timer);
        return Ok(());
    };
    let row = state.message(store, position)?;
    if !matches!(row.state, MessageState::Reserved { until, .. } if until == timer.due()) {
        return Err(Fault::corrupt("a reservation lapses that is none", timer.key()));
    }
    give_back(state, &mut place, position, row, Millis::ZERO)?;
    state.save(&place);
    Ok(())
}

fn end_delay(
    state: &mut State,
    timer: &Timer,
    store: StoreId,
    position: Position,
) -> Result<(), Fault> {
    state.remove_timer(timer);
    let Some(mut place) = state.place_of(store)? else { return Ok(()) };
    let mut row = state.message(store, position)?;
    if row.state != (MessageState::Delayed { until: timer.due() }) {
        return Err(Fault::corrupt("a delay ends that is none", timer.key()));
    }
    place.queue.row.delayed -= 1;
    let waits = match &row.ordering_key {
        None => false,
        Some(key) => ordering::head(&state.rows, store, key)? != Some(position),
    };
    if waits {
        row.state = MessageState::Parked;
    } else {
        row.state = MessageState::Ready;
        state.put_ready(&place.project.id, &mut place.queue, position);
    }
    state.save_message(store, position, &row);
    state.save(&place);
    Ok(())
}

fn forget_retry(state: &mut State, timer: &Timer, number: u64, key: &str) -> Result<(), Fault> {
    state.remove_timer(timer);
    let row_key = retry::key(number, key);
    let row = read(&state.rows, Table::Row, &row_key, RetryRow::decode)?
        .ok_or_else(|| Fault::corrupt("a retry key is forgotten that is not kept", &row_key))?;
    state.rows.delete(Table::Row, row_key);
    if number == retry::OF_GROUP {
        state.core.retry_keys -= 1;
        return Ok(());
    }
    match state.find_project(&row.project)? {
        Some(mut project) if project.row.number == number => {
            project.row.usage.retry_keys -= 1;
            state.save_project(&project);
        }
        Some(_) | None => {} // The project has ended; nobody counts for it any more.
    }
    Ok(())
}

/// Expires up to `budget - 1` rows of a run.
fn expire(
    state: &mut State,
    timer: &Timer,
    due: Millis,
    store: StoreId,
    first: Position,
    budget: usize,
) -> Result<usize, Fault> {
    let Some(mut place) = state.place_of(store)? else {
        state.remove_timer(timer);
        return Ok(1);
    };
    let run = expiry::find(state, timer)?
        .ok_or_else(|| Fault::corrupt("an expiry has no run", timer.key()))?;
    let from = message::key(store, run.cursor);
    let to = message::key(store, Position(run.last.0 + 1));
    let rows = state.rows.list(Table::Row, &from, &to, budget)?;
    for (key, value) in &rows {
        let position = Position(number_at(key, 9)?);
        // Read again where removing one has changed another of its key.
        let row = MessageRow::decode(value)?;
        let row = if row.ordering_key.is_some() { state.message(store, position)? } else { row };
        if row.expires_at == due && row.run == first {
            expire_message(state, &mut place, position, &row)?;
        }
    }
    state.save(&place);
    let left = expiry::find(state, timer)?;
    match (rows.last(), left) {
        (Some((last, _)), Some(run)) if rows.len() == budget => {
            let run = ExpiryRun { cursor: Position(number_at(last, 9)? + 1), ..run };
            state.put_timer(timer, run.encode());
        }
        // Only messages that are held now are left of it; they vanish when they are given back.
        (Some(_) | None, Some(_)) => state.remove_timer(timer),
        (Some(_) | None, None) => {} // It went with its last message.
    }
    Ok(rows.len().max(1))
}

fn expire_message(
    state: &mut State,
    place: &mut Place,
    position: Position,
    row: &MessageRow,
) -> Result<(), Fault> {
    match row.state {
        MessageState::Ready | MessageState::Parked | MessageState::Delayed { .. } => {
            remove(state, place, position, row)
        }
        MessageState::Reserved { .. } => Ok(()), // It lives while it is held.
    }
}
