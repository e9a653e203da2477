//! Stores: a queue begins one when it is made or cleared, and the old one ends.
//!
//! Not here: the removal of an ended store's rows (`group/sweep.rs`).

use bessemer_model::{Effect, Position, QueueName, QueueSettings, StoreId};
use bessemer_seam::kv::Table;

use crate::state::{OpenProject, OpenQueue, State};
use crate::tables::garbage::{self, StoreGarbage};
use crate::tables::queue::{self, QueueRow, StoreOwner};

/// Makes an empty queue and counts it. The caller saves queue and project.
pub(crate) fn make_queue(
    state: &mut State,
    project: &mut OpenProject,
    name: QueueName,
    settings: QueueSettings,
) -> OpenQueue {
    project.row.usage.queues += 1;
    let store = begin(state, project, &name);
    OpenQueue { name, row: QueueRow::new(store, settings) }
}

/// Begins a new store for a queue.
pub(crate) fn begin(state: &mut State, project: &OpenProject, queue: &QueueName) -> StoreId {
    let store = StoreId(state.core.next_store);
    state.core.next_store += 1;
    let owner = StoreOwner {
        number: project.row.number,
        project: project.id.clone(),
        queue: queue.clone(),
    };
    state.rows.insert(Table::Row, queue::store_key(store), owner.encode());
    store
}

/// Ends a store. Its timers find nobody from now on; its rows wait for `Sweep`.
pub(crate) fn end(state: &mut State, row: &QueueRow) {
    let store = row.store;
    state.rows.delete(Table::Row, queue::store_key(store));
    state.forget_store(store);
    // A message takes all its rows with it, so an empty store has none.
    if row.size > 0 {
        let garbage = StoreGarbage { cursor: Position(0) };
        state.rows.insert(Table::Row, garbage::store_key(store), garbage.encode());
        state.core.garbage_stores += 1;
        state.core.garbage_from = state.core.garbage_from.min(store);
        state.effects.add(Effect::GarbageLeft);
    }
}
