//! Ordering keys: of the messages of a key, only the oldest may be reserved.
//!
//! Not here: messages without a key.
//! Invariants: `H` names the oldest message of a key and exists while the key has messages; all
//! others of the key are in `K`. Every step costs a constant number of rows, however many wait.

use bessemer_model::{OrderingKey, Position, ProjectId, StoreId};
use bessemer_seam::kv::{KvRead, Table};

use crate::fault::Fault;
use crate::state::{OpenQueue, State};
use crate::tables::message::{self, MessageState};
use crate::tables::number_at;

/// The youngest message of the key comes in. Returns whether it is also the oldest.
pub(crate) fn join(
    state: &mut State,
    store: StoreId,
    key: &OrderingKey,
    position: Position,
) -> Result<bool, Fault> {
    match head(&state.rows, store, key)? {
        None => {
            let place = position.0.to_be_bytes().to_vec();
            state.rows.insert(Table::Row, message::head_key(store, key), place);
            Ok(true)
        }
        Some(head) => {
            assert!(head < position, "who arrives is the youngest of its key");
            let key = message::parked_key(store, key, position);
            state.rows.insert(Table::Index, key, Vec::new());
            Ok(false)
        }
    }
}

/// A message of the key has left: if it was the oldest, the next one takes its place.
pub(crate) fn leave(
    state: &mut State,
    project: &ProjectId,
    queue: &mut OpenQueue,
    key: &OrderingKey,
    position: Position,
) -> Result<(), Fault> {
    let store = queue.row.store;
    let head_key = message::head_key(store, key);
    let head = head(&state.rows, store, key)?
        .ok_or_else(|| Fault::corrupt("an ordering key has no oldest message", &head_key))?;
    if head != position {
        assert!(head < position, "the head is the oldest of its key");
        state.rows.delete(Table::Index, message::parked_key(store, key, position));
        return Ok(());
    }
    // Nothing of the key is before the head, so this reads over no dead rows.
    let from = message::parked_key(store, key, position);
    let to = message::parked_key(store, key, Position(u64::MAX));
    let parked = state.rows.list(Table::Index, &from, &to, 1)?;
    let Some((next_key, _)) = parked.into_iter().next() else {
        state.rows.delete(Table::Row, head_key);
        return Ok(());
    };
    let next = Position(number_at(&next_key, message::parked_position_at(&next_key))?);
    state.rows.delete(Table::Index, next_key);
    state.rows.put(Table::Row, head_key, next.0.to_be_bytes().to_vec());
    let mut row = state.message(store, next)?;
    match row.state {
        MessageState::Parked => {
            row.state = MessageState::Ready;
            state.save_message(store, next, &row);
            state.put_ready(project, queue, next);
        }
        MessageState::Delayed { .. } => {} // It blocks its key until its time comes.
        MessageState::Ready | MessageState::Reserved { .. } => {
            return Err(Fault::corrupt(
                "a message was free before the oldest of its key left",
                message::key(store, next),
            ));
        }
    }
    Ok(())
}

/// Position of the oldest message of the key.
pub(crate) fn head(
    rows: &dyn KvRead,
    store: StoreId,
    key: &OrderingKey,
) -> Result<Option<Position>, Fault> {
    match rows.get(Table::Row, &message::head_key(store, key))? {
        Some(bytes) => Ok(Some(Position(number_at(&bytes, 0)?))),
        None => Ok(None),
    }
}
