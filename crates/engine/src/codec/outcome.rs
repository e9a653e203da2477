//! Versioned bytes of an outcome, as kept for keyed retries.
//!
//! Not here: message bodies. An outcome is stored with ids alone, and those of a post as a run, so
//! that a kept outcome stays small whatever was posted.

use bessemer_model::limits::POST_COUNT_MAX;
use bessemer_model::{
    MessageId, Outcome, ProjectId, QueueSettings, ReservationId, ReservedMessage, TokenId,
};

use crate::bytes::{Reader, Writer};
use crate::codec::request::{put_quota, take_quota};
use crate::fault::DecodeError;
use crate::tables::queue::{put_settings, take_settings};

const DONE: u8 = 1;
const PROJECT_CREATED: u8 = 2;
const TOKEN_CREATED: u8 = 3;
const QUEUE_PUT: u8 = 4;
const QUEUE_DELETED: u8 = 5;
const POSTED: u8 = 6;
const RESERVED: u8 = 7;
const DELETED: u8 = 8;
const TOUCHED: u8 = 9;
const RELEASED: u8 = 10;
const CLEARED: u8 = 11;
const TRANSACTED: u8 = 12;
const QUOTA_UPDATED: u8 = 13;

/// Appends `outcome`. An outcome of a transaction never holds another transaction's.
pub(crate) fn put_outcome(writer: &mut Writer, outcome: &Outcome) {
    match outcome {
        Outcome::Done => writer.u8(DONE),
        Outcome::ProjectCreated { id } => {
            writer.u8(PROJECT_CREATED);
            writer.text(id.as_str());
        }
        Outcome::QuotaUpdated { quota } => {
            writer.u8(QUOTA_UPDATED);
            put_quota(writer, quota);
        }
        Outcome::TokenCreated { id } => {
            writer.u8(TOKEN_CREATED);
            writer.text(id.as_str());
        }
        Outcome::QueuePut { settings, created } => {
            writer.u8(QUEUE_PUT);
            put_settings(writer, settings);
            writer.u8(u8::from(*created));
        }
        Outcome::QueueDeleted => writer.u8(QUEUE_DELETED),
        Outcome::Posted { ids } => {
            writer.u8(POSTED);
            put_run(writer, ids);
        }
        Outcome::Reserved { messages } => {
            writer.u8(RESERVED);
            writer.var(messages.len() as u64);
            for message in messages {
                writer.fixed(message.id.0);
                writer.var(u64::from(message.reserved_count));
                writer.raw(&message.reservation.0.to_be_bytes());
            }
        }
        Outcome::Deleted { count } => {
            writer.u8(DELETED);
            writer.var(u64::from(*count));
        }
        Outcome::Touched { reservation } => {
            writer.u8(TOUCHED);
            writer.raw(&reservation.0.to_be_bytes());
        }
        Outcome::Released => writer.u8(RELEASED),
        Outcome::Cleared => writer.u8(CLEARED),
        Outcome::Transacted { outcomes } => {
            writer.u8(TRANSACTED);
            writer.var(outcomes.len() as u64);
            for outcome in outcomes {
                put_outcome(writer, outcome);
            }
        }
    }
}

/// Ids of one post follow each other: their number and the first say all.
fn put_run(writer: &mut Writer, ids: &[MessageId]) {
    assert!(ids.len() <= POST_COUNT_MAX, "a post was checked to be no longer");
    writer.var(ids.len() as u64);
    if let Some(first) = ids.first() {
        let run = ids.iter().zip(first.0..).all(|(id, expected)| id.0 == expected);
        assert!(run, "ids of one post follow each other");
        writer.fixed(first.0);
    }
}

fn take_run(reader: &mut Reader<'_>) -> Result<Vec<MessageId>, DecodeError> {
    let count = reader.var()?;
    if count > POST_COUNT_MAX as u64 {
        return Err(reader.malformed());
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    let first = reader.fixed()?;
    let end = first.checked_add(count).ok_or(reader.malformed())?;
    Ok((first..end).map(MessageId).collect())
}

/// Reads one outcome. `inner` outcomes may not be a transaction's.
pub(crate) fn take_outcome(reader: &mut Reader<'_>, inner: bool) -> Result<Outcome, DecodeError> {
    Ok(match reader.u8()? {
        DONE => Outcome::Done,
        PROJECT_CREATED => Outcome::ProjectCreated { id: ProjectId::new(reader.text()?) },
        QUOTA_UPDATED => Outcome::QuotaUpdated { quota: take_quota(reader)? },
        TOKEN_CREATED => Outcome::TokenCreated { id: TokenId::new(reader.text()?) },
        QUEUE_PUT => {
            let settings: QueueSettings = take_settings(reader)?;
            Outcome::QueuePut { settings, created: reader.flag()? }
        }
        QUEUE_DELETED => Outcome::QueueDeleted,
        POSTED => Outcome::Posted { ids: take_run(reader)? },
        RESERVED => {
            let count = reader.var()?;
            let mut messages = Vec::new();
            for _ in 0..count {
                messages.push(take_reserved(reader)?);
            }
            Outcome::Reserved { messages }
        }
        DELETED => Outcome::Deleted { count: reader.var32()? },
        TOUCHED => Outcome::Touched { reservation: take_reservation(reader)? },
        RELEASED => Outcome::Released,
        CLEARED => Outcome::Cleared,
        TRANSACTED if !inner => {
            let count = reader.var()?;
            let mut outcomes = Vec::new();
            for _ in 0..count {
                outcomes.push(take_outcome(reader, true)?);
            }
            Outcome::Transacted { outcomes }
        }
        other => return Err(reader.unknown(other)),
    })
}

fn take_reserved(reader: &mut Reader<'_>) -> Result<ReservedMessage, DecodeError> {
    Ok(ReservedMessage {
        id: MessageId(reader.fixed()?),
        body: None,
        reserved_count: reader.var32()?,
        reservation: take_reservation(reader)?,
    })
}

fn take_reservation(reader: &mut Reader<'_>) -> Result<ReservationId, DecodeError> {
    Ok(ReservationId(u128::from_be_bytes(reader.array()?)))
}

#[cfg(test)]
mod tests {
    use bessemer_model::{Millis, Quota};

    use super::*;

    #[test]
    fn every_outcome_reads_back_without_bodies() {
        let reserved = ReservedMessage {
            id: MessageId(9),
            body: None,
            reserved_count: 3,
            reservation: ReservationId(7),
        };
        let settings = QueueSettings { message_timeout: Millis(5), ..QueueSettings::default() };
        let outcomes = vec![
            Outcome::Done,
            Outcome::ProjectCreated { id: ProjectId::new("p") },
            Outcome::QuotaUpdated { quota: Quota { bytes_max: u64::MAX, ..Quota::default() } },
            Outcome::TokenCreated { id: TokenId::new("t") },
            Outcome::QueuePut { settings, created: true },
            Outcome::QueueDeleted,
            Outcome::Posted { ids: vec![MessageId(1), MessageId(2)] },
            Outcome::Posted { ids: vec![] },
            Outcome::Reserved { messages: vec![reserved] },
            Outcome::Deleted { count: 4 },
            Outcome::Touched { reservation: ReservationId(8) },
            Outcome::Released,
            Outcome::Cleared,
        ];
        let whole = Outcome::Transacted { outcomes };
        let mut writer = Writer::default();
        put_outcome(&mut writer, &whole);
        let bytes = writer.finish();
        let mut reader = Reader::new("outcome", &bytes);
        assert_eq!(take_outcome(&mut reader, false), Ok(whole));
        assert_eq!(reader.end(), Ok(()));
    }
    #[test]
    fn ids_of_a_post_take_no_room_each() {
        let post = |count: u64| Outcome::Posted { ids: (7..7 + count).map(MessageId).collect() };
        let encoded = |outcome: &Outcome| {
            let mut writer = Writer::default();
            put_outcome(&mut writer, outcome);
            writer.finish()
        };
        let most = post(POST_COUNT_MAX as u64);
        let mut bytes = encoded(&most);
        assert_eq!(take_outcome(&mut Reader::new("outcome", &bytes), false), Ok(most));
        assert_eq!(bytes.len(), encoded(&post(1)).len() + 1, "a longer number, and no more");
        // One more than any post has, and a run beyond the last number.
        bytes[1] += 1;
        assert!(take_outcome(&mut Reader::new("outcome", &bytes), false).is_err());
        let mut bytes = encoded(&post(1));
        bytes[2..].fill(0xff);
        assert!(take_outcome(&mut Reader::new("outcome", &bytes), false).is_err());
    }
}
