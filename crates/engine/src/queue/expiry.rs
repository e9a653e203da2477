//! Expiry: messages that end at the same time and came one after another share one timer, a run.
//!
//! Not here: settling a run that is due (`settle.rs`).
//! Invariants: expiries are rounded up to `EXPIRY_BUCKET`; a run counts its live messages and goes
//! with the last of them, so runs never outnumber messages; no message of another run comes between
//! two of one run, so settling it reads no rows but its own.

use bessemer_model::limits::EXPIRY_BUCKET;
use bessemer_model::{Millis, Position, StoreId};
use bessemer_seam::kv::Table;

use crate::fault::Fault;
use crate::state::State;
use crate::tables::message::MessageRow;
use crate::tables::queue::{ExpiryTail, QueueRow};
use crate::tables::read;
use crate::tables::timer::{ExpiryRun, Timer};

/// The time at which a message that should live until `until` is removed.
pub(crate) fn bucket(until: Millis) -> Millis {
    match until.0.checked_next_multiple_of(EXPIRY_BUCKET.0) {
        Some(rounded) => Millis(rounded),
        None => Millis(u64::MAX),
    }
}

/// The youngest message of the queue joins the newest run, or begins one. Returns the run's name.
pub(crate) fn join(
    state: &mut State,
    queue: &mut QueueRow,
    position: Position,
    due: Millis,
) -> Result<Position, Fault> {
    let store = queue.store;
    if let Some(tail) = queue.tail
        && tail.due == due
    {
        let timer = Timer::Expiry { due, store, first: tail.first };
        if let Some(run) = find(state, &timer)? {
            let run = ExpiryRun { last: position, live: run.live + 1, ..run };
            state.put_timer(&timer, run.encode());
            return Ok(tail.first);
        }
    }
    let run = ExpiryRun { last: position, live: 1, cursor: position };
    state.insert_timer(&Timer::Expiry { due, store, first: position }, run.encode());
    queue.tail = Some(ExpiryTail { due, first: position });
    Ok(position)
}

/// A message of a run has left.
pub(crate) fn leave(state: &mut State, store: StoreId, row: &MessageRow) -> Result<(), Fault> {
    let timer = Timer::Expiry { due: row.expires_at, store, first: row.run };
    match find(state, &timer)? {
        Some(run) if run.live == 1 => state.remove_timer(&timer),
        Some(run) => {
            let run = ExpiryRun { live: run.live - 1, ..run };
            state.put_timer(&timer, run.encode());
        }
        // The run was settled while the message was held.
        None if row.expires_at <= state.now() => {}
        None => return Err(Fault::corrupt("a message's expiry is missing", timer.key())),
    }
    Ok(())
}

/// The run under this timer, if it still has messages.
pub(crate) fn find(state: &State, timer: &Timer) -> Result<Option<ExpiryRun>, Fault> {
    read(&state.rows, Table::Index, &timer.key(), ExpiryRun::decode)
}
