//! Queues: settings, counters, and which store holds their messages.
//!
//! Not here: messages. `Q` project number, name → row; `S` store → whose it is.
//! Invariants: size = ready + parked + delayed + reserved messages of the store; bytes = their
//! bodies; `S` exists exactly for the store of a live queue.

use bessemer_model::{DeadLetter, Millis, Position, ProjectId, QueueName, QueueSettings, StoreId};

use crate::bytes::{Reader, Writer};
use crate::fault::DecodeError;
use crate::tables::{bytes_key, number_key};

const VERSION: u8 = 1;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct QueueRow {
    pub store: StoreId,
    pub settings: QueueSettings,
    /// Messages that ever came into the queue, by post or as dead letters. Never falls.
    pub total: u64,
    /// Messages in the queue now.
    pub size: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    pub reserved: u64,
    pub delayed: u64,
    /// No ready message is before this position: where a cold window begins to read.
    pub ready_from: Position,
    /// The run of messages that expire together which the youngest message is of.
    pub tail: Option<ExpiryTail>,
}

/// Names the run of messages a new one joins if it expires with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ExpiryTail {
    pub due: Millis,
    /// First position of the run, which names its row.
    pub first: Position,
}

/// Whose store it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoreOwner {
    pub number: u64,
    pub project: ProjectId,
    pub queue: QueueName,
}

pub(crate) fn key(number: u64, queue: &QueueName) -> Vec<u8> {
    bytes_key(b'Q', number, queue.as_str().as_bytes())
}

/// Begins every key of the project's queues; the name follows.
pub(crate) fn prefix(number: u64) -> Vec<u8> {
    number_key(b'Q', number)
}

pub(crate) fn store_key(store: StoreId) -> Vec<u8> {
    number_key(b'S', store.0)
}

impl QueueRow {
    /// An empty queue over a new store.
    pub fn new(store: StoreId, settings: QueueSettings) -> QueueRow {
        QueueRow {
            store,
            settings,
            total: 0,
            size: 0,
            bytes: 0,
            reserved: 0,
            delayed: 0,
            ready_from: Position(0),
            tail: None,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(80);
        writer.u8(VERSION);
        writer.fixed(self.store.0);
        put_settings(&mut writer, &self.settings);
        for amount in [self.total, self.size, self.bytes, self.reserved, self.delayed] {
            writer.var(amount);
        }
        writer.var(self.ready_from.0);
        match self.tail {
            None => writer.u8(0),
            Some(tail) => {
                writer.u8(1);
                writer.var(tail.due.0);
                writer.var(tail.first.0);
            }
        }
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<QueueRow, DecodeError> {
        let mut reader = Reader::new("queue row", bytes);
        reader.version(VERSION)?;
        let row = QueueRow {
            store: StoreId(reader.fixed()?),
            settings: take_settings(&mut reader)?,
            total: reader.var()?,
            size: reader.var()?,
            bytes: reader.var()?,
            reserved: reader.var()?,
            delayed: reader.var()?,
            ready_from: Position(reader.var()?),
            tail: if reader.flag()? {
                Some(ExpiryTail { due: Millis(reader.var()?), first: Position(reader.var()?) })
            } else {
                None
            },
        };
        reader.end()?;
        Ok(row)
    }
}

pub(crate) fn put_settings(writer: &mut Writer, settings: &QueueSettings) {
    writer.var(settings.message_timeout.0);
    writer.var(settings.message_expiration.0);
    match &settings.dead_letter {
        None => writer.u8(0),
        Some(dead_letter) => {
            writer.u8(1);
            writer.text(dead_letter.queue.as_str());
            writer.var(u64::from(dead_letter.max_reservations));
        }
    }
}

pub(crate) fn take_settings(reader: &mut Reader<'_>) -> Result<QueueSettings, DecodeError> {
    Ok(QueueSettings {
        message_timeout: Millis(reader.var()?),
        message_expiration: Millis(reader.var()?),
        dead_letter: if reader.flag()? {
            Some(DeadLetter {
                queue: QueueName::new(reader.text()?),
                max_reservations: reader.var32()?,
            })
        } else {
            None
        },
    })
}

impl StoreOwner {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.fixed(self.number);
        writer.text(self.project.as_str());
        writer.text(self.queue.as_str());
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<StoreOwner, DecodeError> {
        let mut reader = Reader::new("store row", bytes);
        reader.version(VERSION)?;
        let owner = StoreOwner {
            number: reader.fixed()?,
            project: ProjectId::new(reader.text()?),
            queue: QueueName::new(reader.text()?),
        };
        reader.end()?;
        Ok(owner)
    }
}
