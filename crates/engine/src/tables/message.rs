//! Messages of a store, and the indexes over them.
//!
//! Not here: bodies, but for their key. `M` store, position → row; `I` store, id → position, for
//! moved messages alone (all others stand at their id's sequence); `H` store, ordering key →
//! position of its oldest message. In `Index`: `R` store, position of what can be reserved;
//! `K` store, ordering key, position of what waits behind a head.
//! Invariants: `R` exists exactly for rows in state `Ready`; a message with an ordering key is
//! named by exactly one of `H` and `K`, and by `H` exactly if it is the oldest of its key.

use bessemer_model::{MessageId, Millis, OrderingKey, Position, StoreId};

use crate::bytes::{Reader, Writer};
use crate::fault::DecodeError;
use crate::tables::number_key;

const VERSION: u8 = 1;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MessageRow {
    pub id: MessageId,
    pub body_bytes: u64,
    pub state: MessageState,
    pub reserved_count: u32,
    /// A multiple of `EXPIRY_BUCKET`.
    pub expires_at: Millis,
    /// First position of the run of messages it expires with.
    pub run: Position,
    pub ordering_key: Option<OrderingKey>,
    /// Where it stood in the queue it was a dead letter of.
    pub moved_from: Option<Position>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MessageState {
    /// Can be reserved.
    Ready,
    /// Waits behind an older message of its ordering key.
    Parked,
    /// Waits for its time; the head of its key may be delayed, too.
    Delayed { until: Millis },
    /// Held under `generation`; every touch number up to `touch` is valid.
    Reserved { until: Millis, generation: u64, touch: u16 },
}

pub(crate) fn key(store: StoreId, position: Position) -> Vec<u8> {
    place_key(b'M', store, position.0)
}

pub(crate) fn moved_key(store: StoreId, id: MessageId) -> Vec<u8> {
    place_key(b'I', store, id.0)
}

pub(crate) fn ready_key(store: StoreId, position: Position) -> Vec<u8> {
    place_key(b'R', store, position.0)
}

pub(crate) fn body_key(id: MessageId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

pub(crate) fn head_key(store: StoreId, ordering_key: &OrderingKey) -> Vec<u8> {
    let mut key = number_key(b'H', store.0);
    key.extend_from_slice(ordering_key.as_str().as_bytes());
    key
}

/// The length goes before the ordering key, so that no key is the beginning of another.
pub(crate) fn parked_key(
    store: StoreId,
    ordering_key: &OrderingKey,
    position: Position,
) -> Vec<u8> {
    let text = ordering_key.as_str().as_bytes();
    let mut key = number_key(b'K', store.0);
    key.push(u8::try_from(text.len()).expect("an ordering key was checked to be short"));
    key.extend_from_slice(text);
    key.extend_from_slice(&position.0.to_be_bytes());
    key
}

/// Where the number at the end of a parked key begins.
pub(crate) fn parked_position_at(key: &[u8]) -> usize {
    key.len().saturating_sub(8)
}

/// The key before which every `tag` key of `store` ends.
pub(crate) fn store_end(tag: u8, store: StoreId) -> Vec<u8> {
    number_key(tag, store.0 + 1)
}

fn place_key(tag: u8, store: StoreId, number: u64) -> Vec<u8> {
    let mut key = number_key(tag, store.0);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

impl MessageRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        writer.u8(VERSION);
        writer.fixed(self.id.0);
        writer.var(self.body_bytes);
        match self.state {
            MessageState::Ready => writer.u8(1),
            MessageState::Parked => writer.u8(2),
            MessageState::Delayed { until } => {
                writer.u8(3);
                writer.var(until.0);
            }
            MessageState::Reserved { until, generation, touch } => {
                writer.u8(4);
                writer.var(until.0);
                writer.var(generation);
                writer.var(u64::from(touch));
            }
        }
        writer.var(u64::from(self.reserved_count));
        writer.var(self.expires_at.0);
        writer.var(self.run.0);
        writer.option_text(self.ordering_key.as_ref().map(OrderingKey::as_str));
        writer.option_var(self.moved_from.map(|position| position.0));
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<MessageRow, DecodeError> {
        let mut reader = Reader::new("message row", bytes);
        reader.version(VERSION)?;
        let row = MessageRow {
            id: MessageId(reader.fixed()?),
            body_bytes: reader.var()?,
            state: take_state(&mut reader)?,
            reserved_count: reader.var32()?,
            expires_at: Millis(reader.var()?),
            run: Position(reader.var()?),
            ordering_key: reader.option_text()?.map(OrderingKey::new),
            moved_from: reader.option_var()?.map(Position),
        };
        reader.end()?;
        Ok(row)
    }
}

fn take_state(reader: &mut Reader<'_>) -> Result<MessageState, DecodeError> {
    Ok(match reader.u8()? {
        1 => MessageState::Ready,
        2 => MessageState::Parked,
        3 => MessageState::Delayed { until: Millis(reader.var()?) },
        4 => MessageState::Reserved {
            until: Millis(reader.var()?),
            generation: reader.var()?,
            touch: u16::try_from(reader.var()?).map_err(|_| reader.malformed())?,
        },
        other => return Err(reader.unknown(other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_every_state_read_back() {
        let states = [
            MessageState::Ready,
            MessageState::Parked,
            MessageState::Delayed { until: Millis(1 << 40) },
            MessageState::Reserved { until: Millis(9), generation: 1 << 47, touch: u16::MAX },
        ];
        for state in states {
            for (ordering_key, moved_from) in
                [(None, Some(Position(3))), (Some(OrderingKey::new("k")), None)]
            {
                let row = MessageRow {
                    id: MessageId::new(bessemer_model::GroupId(0), 77),
                    body_bytes: 1 << 20,
                    state,
                    reserved_count: u32::MAX,
                    expires_at: Millis(1000),
                    run: Position(70),
                    ordering_key,
                    moved_from,
                };
                assert_eq!(MessageRow::decode(&row.encode()), Ok(row));
            }
        }
    }

    #[test]
    fn parked_keys_of_two_ordering_keys_never_mix() {
        let (short, long) = (OrderingKey::new("a"), OrderingKey::new("aa"));
        let end = parked_key(StoreId(1), &short, Position(u64::MAX));
        assert!(parked_key(StoreId(1), &long, Position(0)) > end);
    }
}
