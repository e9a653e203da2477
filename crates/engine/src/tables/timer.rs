//! Timers: everything that happens at a time, in the order in which it is due.
//!
//! Not here: what happens (`settle.rs`). In `Index`: `T` due, kind, subject → nothing, or the run
//! of an expiry. Ordered by due, then kind, then subject: at the same millisecond reservations
//! lapse first, then delays end, then retry keys, then messages expire.
//! Invariant: no timer is due before the log time.

use bessemer_model::{Millis, Position, StoreId};

use crate::bytes::{Reader, Writer};
use crate::fault::DecodeError;

const VERSION: u8 = 1;

const LAPSE: u8 = 1;
const DELAY: u8 = 2;
const RETRY: u8 = 3;
const EXPIRY: u8 = 4;

/// What is to happen, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Timer {
    /// A reservation ends.
    Lapse { due: Millis, store: StoreId, position: Position },
    /// A delayed message's time comes.
    Delay { due: Millis, store: StoreId, position: Position },
    /// The outcome of a keyed request is forgotten.
    Retry { due: Millis, number: u64, key: Box<str> },
    /// A run of messages expires; `first` names the run.
    Expiry { due: Millis, store: StoreId, first: Position },
}

/// A run of messages that expire together: those between two positions that name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ExpiryRun {
    pub last: Position,
    /// Messages of the run that are still there; never 0.
    pub live: u64,
    /// Settled up to here.
    pub cursor: Position,
}

impl Timer {
    pub fn due(&self) -> Millis {
        match self {
            Timer::Lapse { due, .. }
            | Timer::Delay { due, .. }
            | Timer::Retry { due, .. }
            | Timer::Expiry { due, .. } => *due,
        }
    }

    pub fn key(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(32);
        writer.u8(b'T');
        writer.fixed(self.due().0);
        match self {
            Timer::Lapse { store, position, .. } => {
                writer.u8(LAPSE);
                writer.fixed(store.0);
                writer.fixed(position.0);
            }
            Timer::Delay { store, position, .. } => {
                writer.u8(DELAY);
                writer.fixed(store.0);
                writer.fixed(position.0);
            }
            Timer::Retry { number, key, .. } => {
                writer.u8(RETRY);
                writer.fixed(*number);
                writer.raw(key.as_bytes());
            }
            Timer::Expiry { store, first, .. } => {
                writer.u8(EXPIRY);
                writer.fixed(store.0);
                writer.fixed(first.0);
            }
        }
        writer.finish()
    }

    pub fn decode(key: &[u8]) -> Result<Timer, DecodeError> {
        let mut reader = Reader::new("timer key", key);
        if reader.u8()? != b'T' {
            return Err(reader.malformed());
        }
        let due = Millis(reader.fixed()?);
        let kind = reader.u8()?;
        let subject = reader.fixed()?;
        let store = StoreId(subject);
        let timer = match kind {
            LAPSE => Timer::Lapse { due, store, position: Position(reader.fixed()?) },
            DELAY => Timer::Delay { due, store, position: Position(reader.fixed()?) },
            RETRY => {
                let text = std::str::from_utf8(reader.rest()).map_err(|_| reader.malformed())?;
                Timer::Retry { due, number: subject, key: text.into() }
            }
            EXPIRY => Timer::Expiry { due, store, first: Position(reader.fixed()?) },
            other => return Err(reader.unknown(other)),
        };
        reader.end()?;
        Ok(timer)
    }
}

/// The first key any timer due at `due` or later can have.
pub(crate) fn from(due: Millis) -> Vec<u8> {
    crate::tables::number_key(b'T', due.0)
}

/// The key before which all timers end.
pub(crate) fn end() -> Vec<u8> {
    vec![b'T' + 1]
}

impl ExpiryRun {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(24);
        writer.u8(VERSION);
        writer.var(self.last.0);
        writer.var(self.live);
        writer.var(self.cursor.0);
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<ExpiryRun, DecodeError> {
        let mut reader = Reader::new("expiry row", bytes);
        reader.version(VERSION)?;
        let run = ExpiryRun {
            last: Position(reader.var()?),
            live: reader.var()?,
            cursor: Position(reader.var()?),
        };
        reader.end()?;
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_read_back_and_are_ordered_by_due_then_kind() {
        let (store, position) = (StoreId(u64::MAX), Position(u64::MAX));
        let timers = [
            Timer::Retry { due: Millis(4), number: 1, key: "late".into() },
            Timer::Lapse { due: Millis(5), store, position },
            Timer::Delay { due: Millis(5), store: StoreId(0), position },
            Timer::Retry { due: Millis(5), number: 0, key: "".into() },
            Timer::Expiry { due: Millis(5), store: StoreId(0), first: Position(0) },
            Timer::Lapse { due: Millis(256), store: StoreId(0), position: Position(0) },
        ];
        for pair in timers.windows(2) {
            assert!(pair[0].key() < pair[1].key());
        }
        for timer in timers {
            assert!(timer.key() >= from(timer.due()) && timer.key() < end());
            assert_eq!(Timer::decode(&timer.key()), Ok(timer));
        }
    }
}
