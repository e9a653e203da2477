//! Versioned bytes of a request.
//!
//! Not here: whether the request is allowed; bounds are checked where a command is applied.
//! Numbers of the commands are part of the format: never reused, never renumbered.

use bessemer_model::{
    Command, DeadLetterPatch, Handle, Held, MessageId, Millis, NewMessage, OrderingKey, ProjectId,
    QueueName, QueuePatch, Quota, QuotaPatch, Request, ReservationId, RetryKey, Role, TokenId,
    TokenRecord,
};

use crate::bytes::{Reader, Writer};
use crate::fault::DecodeError;

/// Request format. 1 was the first.
const REQUEST_VERSION: u8 = 1;

const INIT_GROUP: u8 = 1;
const TICK: u8 = 2;
const SWEEP: u8 = 3;
const CREATE_PROJECT: u8 = 4;
const UPDATE_QUOTA: u8 = 5;
const DELETE_PROJECT: u8 = 6;
const CREATE_TOKEN: u8 = 7;
const REVOKE_TOKEN: u8 = 8;
const PUT_QUEUE: u8 = 9;
const DELETE_QUEUE: u8 = 10;
const POST_MESSAGES: u8 = 11;
const RESERVE_MESSAGES: u8 = 12;
const ACK_MESSAGE: u8 = 13;
const ACK_MESSAGES: u8 = 14;
const TOUCH_MESSAGE: u8 = 15;
const RELEASE_MESSAGE: u8 = 16;
const CLEAR_QUEUE: u8 = 17;
const TRANSACTION: u8 = 18;
const UNDO_RESERVE: u8 = 19;

/// Encodes a request. A transaction inside a transaction keeps none of its commands: it is
/// refused whatever it holds, and so decoding never recurses.
pub fn encode_request(request: &Request) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64 + body_bytes(&request.command));
    writer.u8(REQUEST_VERSION);
    writer.text(request.project.as_str());
    match &request.retry {
        None => writer.u8(0),
        Some(retry) => {
            writer.u8(1);
            writer.text(&retry.key);
            writer.raw(&retry.request_hash);
        }
    }
    put_command(&mut writer, &request.command, false);
    writer.finish()
}

/// Decodes a request. Total: any bytes give a request or an error.
pub fn decode_request(bytes: &[u8]) -> Result<Request, DecodeError> {
    let mut reader = Reader::new("request", bytes);
    reader.version(REQUEST_VERSION)?;
    let project = ProjectId::new(reader.text()?);
    let retry = if reader.flag()? {
        Some(RetryKey { key: reader.text()?.into(), request_hash: reader.array()? })
    } else {
        None
    };
    let command = take_command(&mut reader, false)?;
    reader.end()?;
    Ok(Request { project, retry, command })
}

fn body_bytes(command: &Command) -> usize {
    match command {
        Command::PostMessages { messages, .. } => {
            messages.iter().map(|message| message.body.len() + 32).sum()
        }
        Command::Transaction { commands } => commands.iter().map(body_bytes).sum(),
        _ => 64,
    }
}

fn put_command(writer: &mut Writer, command: &Command, inner: bool) {
    match command {
        Command::InitGroup { cluster_version, secret } => {
            writer.u8(INIT_GROUP);
            writer.var(u64::from(*cluster_version));
            writer.raw(secret);
        }
        Command::Tick => writer.u8(TICK),
        Command::Sweep => writer.u8(SWEEP),
        Command::CreateProject { name, quota } => {
            writer.u8(CREATE_PROJECT);
            writer.text(name);
            put_quota(writer, quota);
        }
        Command::UpdateQuota { patch } => {
            writer.u8(UPDATE_QUOTA);
            put_quota_patch(writer, patch);
        }
        Command::DeleteProject => writer.u8(DELETE_PROJECT),
        Command::CreateToken { token } => {
            writer.u8(CREATE_TOKEN);
            put_token(writer, token);
        }
        Command::RevokeToken { id } => {
            writer.u8(REVOKE_TOKEN);
            writer.text(id.as_str());
        }
        Command::PutQueue { queue, patch } => {
            writer.u8(PUT_QUEUE);
            writer.text(queue.as_str());
            put_patch(writer, patch);
        }
        Command::DeleteQueue { queue } => {
            writer.u8(DELETE_QUEUE);
            writer.text(queue.as_str());
        }
        Command::PostMessages { queue, messages } => {
            writer.u8(POST_MESSAGES);
            writer.text(queue.as_str());
            writer.var(messages.len() as u64);
            for message in messages {
                put_message(writer, message);
            }
        }
        Command::ReserveMessages { queue, count, timeout, delete } => {
            writer.u8(RESERVE_MESSAGES);
            writer.text(queue.as_str());
            writer.var(u64::from(*count));
            writer.option_var(timeout.map(|timeout| timeout.0));
            writer.u8(u8::from(*delete));
        }
        Command::AckMessage { queue, handle } => {
            writer.u8(ACK_MESSAGE);
            writer.text(queue.as_str());
            put_handle(writer, handle);
        }
        Command::AckMessages { queue, handles } => {
            writer.u8(ACK_MESSAGES);
            writer.text(queue.as_str());
            writer.var(handles.len() as u64);
            for handle in handles {
                put_handle(writer, handle);
            }
        }
        Command::TouchMessage { queue, message, reservation, timeout } => {
            writer.u8(TOUCH_MESSAGE);
            writer.text(queue.as_str());
            writer.fixed(message.0);
            writer.raw(&reservation.0.to_be_bytes());
            writer.option_var(timeout.map(|timeout| timeout.0));
        }
        Command::ReleaseMessage { queue, message, reservation, delay } => {
            writer.u8(RELEASE_MESSAGE);
            writer.text(queue.as_str());
            writer.fixed(message.0);
            writer.raw(&reservation.0.to_be_bytes());
            writer.var(delay.0);
        }
        Command::UndoReserve { queue, held } => {
            writer.u8(UNDO_RESERVE);
            writer.text(queue.as_str());
            writer.var(held.len() as u64);
            for held in held {
                writer.fixed(held.message.0);
                writer.raw(&held.reservation.0.to_be_bytes());
            }
        }
        Command::ClearQueue { queue } => {
            writer.u8(CLEAR_QUEUE);
            writer.text(queue.as_str());
        }
        Command::Transaction { commands } => {
            writer.u8(TRANSACTION);
            let commands = if inner { &[] } else { commands.as_slice() };
            writer.var(commands.len() as u64);
            for command in commands {
                put_command(writer, command, true);
            }
        }
    }
}

fn take_command(reader: &mut Reader<'_>, inner: bool) -> Result<Command, DecodeError> {
    Ok(match reader.u8()? {
        INIT_GROUP => {
            Command::InitGroup { cluster_version: reader.var32()?, secret: reader.array()? }
        }
        TICK => Command::Tick,
        SWEEP => Command::Sweep,
        CREATE_PROJECT => {
            Command::CreateProject { name: reader.text()?.into(), quota: take_quota(reader)? }
        }
        UPDATE_QUOTA => Command::UpdateQuota { patch: take_quota_patch(reader)? },
        DELETE_PROJECT => Command::DeleteProject,
        CREATE_TOKEN => Command::CreateToken { token: take_token(reader)? },
        REVOKE_TOKEN => Command::RevokeToken { id: TokenId::new(reader.text()?) },
        PUT_QUEUE => Command::PutQueue { queue: take_queue(reader)?, patch: take_patch(reader)? },
        DELETE_QUEUE => Command::DeleteQueue { queue: take_queue(reader)? },
        POST_MESSAGES => {
            let queue = take_queue(reader)?;
            Command::PostMessages { queue, messages: take_list(reader, take_message)? }
        }
        RESERVE_MESSAGES => Command::ReserveMessages {
            queue: take_queue(reader)?,
            count: reader.var32()?,
            timeout: reader.option_var()?.map(Millis),
            delete: reader.flag()?,
        },
        ACK_MESSAGE => {
            Command::AckMessage { queue: take_queue(reader)?, handle: take_handle(reader)? }
        }
        ACK_MESSAGES => {
            let queue = take_queue(reader)?;
            Command::AckMessages { queue, handles: take_list(reader, take_handle)? }
        }
        TOUCH_MESSAGE => Command::TouchMessage {
            queue: take_queue(reader)?,
            message: MessageId(reader.fixed()?),
            reservation: take_reservation(reader)?,
            timeout: reader.option_var()?.map(Millis),
        },
        RELEASE_MESSAGE => Command::ReleaseMessage {
            queue: take_queue(reader)?,
            message: MessageId(reader.fixed()?),
            reservation: take_reservation(reader)?,
            delay: Millis(reader.var()?),
        },
        UNDO_RESERVE => {
            let queue = take_queue(reader)?;
            Command::UndoReserve { queue, held: take_list(reader, take_held)? }
        }
        CLEAR_QUEUE => Command::ClearQueue { queue: take_queue(reader)? },
        TRANSACTION if inner => {
            if reader.var()? != 0 {
                return Err(reader.malformed());
            }
            Command::Transaction { commands: Vec::new() }
        }
        TRANSACTION => Command::Transaction {
            commands: take_list(reader, |reader| take_command(reader, true))?,
        },
        other => return Err(reader.unknown(other)),
    })
}

fn take_list<T>(
    reader: &mut Reader<'_>,
    mut take: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.var()?;
    // Items are larger in memory than on the wire: grow beyond this as they really come.
    let mut items = Vec::with_capacity(reader.room(count).min(1024));
    for _ in 0..count {
        items.push(take(reader)?);
    }
    Ok(items)
}

fn take_queue(reader: &mut Reader<'_>) -> Result<QueueName, DecodeError> {
    reader.text().map(QueueName::new)
}

fn take_reservation(reader: &mut Reader<'_>) -> Result<ReservationId, DecodeError> {
    Ok(ReservationId(u128::from_be_bytes(reader.array()?)))
}

pub(crate) fn put_quota(writer: &mut Writer, quota: &Quota) {
    writer.var(quota.bytes_max);
    writer.var(quota.messages_max);
    writer.var(quota.queues_max);
    writer.var(quota.retry_keys_max);
    writer.var(quota.tokens_max);
    writer.var(quota.waiters_max);
}

pub(crate) fn take_quota(reader: &mut Reader<'_>) -> Result<Quota, DecodeError> {
    Ok(Quota {
        bytes_max: reader.var()?,
        messages_max: reader.var()?,
        queues_max: reader.var()?,
        retry_keys_max: reader.var()?,
        tokens_max: reader.var()?,
        waiters_max: reader.var()?,
    })
}

fn put_quota_patch(writer: &mut Writer, patch: &QuotaPatch) {
    writer.option_var(patch.bytes_max);
    writer.option_var(patch.messages_max);
    writer.option_var(patch.queues_max);
    writer.option_var(patch.retry_keys_max);
    writer.option_var(patch.tokens_max);
    writer.option_var(patch.waiters_max);
}

fn take_quota_patch(reader: &mut Reader<'_>) -> Result<QuotaPatch, DecodeError> {
    Ok(QuotaPatch {
        bytes_max: reader.option_var()?,
        messages_max: reader.option_var()?,
        queues_max: reader.option_var()?,
        retry_keys_max: reader.option_var()?,
        tokens_max: reader.option_var()?,
        waiters_max: reader.option_var()?,
    })
}

pub(crate) fn put_token(writer: &mut Writer, token: &TokenRecord) {
    writer.text(token.id.as_str());
    writer.raw(&token.secret_hash);
    writer.u8(match token.role {
        Role::Reader => 1,
        Role::Member => 2,
        Role::Owner => 3,
    });
    writer.text(&token.name);
    writer.option_var(token.expires_at.map(|at| at.0));
}

pub(crate) fn take_token(reader: &mut Reader<'_>) -> Result<TokenRecord, DecodeError> {
    Ok(TokenRecord {
        id: TokenId::new(reader.text()?),
        secret_hash: reader.array()?,
        role: match reader.u8()? {
            1 => Role::Reader,
            2 => Role::Member,
            3 => Role::Owner,
            other => return Err(reader.unknown(other)),
        },
        name: reader.text()?.into(),
        expires_at: reader.option_var()?.map(Millis),
    })
}

fn put_patch(writer: &mut Writer, patch: &QueuePatch) {
    writer.option_var(patch.message_timeout.map(|timeout| timeout.0));
    writer.option_var(patch.message_expiration.map(|expiration| expiration.0));
    match &patch.dead_letter {
        None => writer.u8(0),
        Some(DeadLetterPatch::Remove) => writer.u8(1),
        Some(DeadLetterPatch::Set { queue, max_reservations }) => {
            writer.u8(2);
            writer.option_text(queue.as_ref().map(QueueName::as_str));
            writer.option_var(max_reservations.map(u64::from));
        }
    }
}

fn take_patch(reader: &mut Reader<'_>) -> Result<QueuePatch, DecodeError> {
    Ok(QueuePatch {
        message_timeout: reader.option_var()?.map(Millis),
        message_expiration: reader.option_var()?.map(Millis),
        dead_letter: match reader.u8()? {
            0 => None,
            1 => Some(DeadLetterPatch::Remove),
            2 => {
                let queue = reader.option_text()?.map(QueueName::new);
                let max_reservations = if reader.flag()? { Some(reader.var32()?) } else { None };
                Some(DeadLetterPatch::Set { queue, max_reservations })
            }
            other => return Err(reader.unknown(other)),
        },
    })
}

fn put_message(writer: &mut Writer, message: &NewMessage) {
    writer.slice(&message.body);
    writer.var(message.delay.0);
    writer.option_var(message.expiration.map(|expiration| expiration.0));
    writer.option_text(message.ordering_key.as_ref().map(OrderingKey::as_str));
}

fn take_message(reader: &mut Reader<'_>) -> Result<NewMessage, DecodeError> {
    Ok(NewMessage {
        body: reader.slice()?.to_vec(),
        delay: Millis(reader.var()?),
        expiration: reader.option_var()?.map(Millis),
        ordering_key: reader.option_text()?.map(OrderingKey::new),
    })
}

fn put_handle(writer: &mut Writer, handle: &Handle) {
    writer.fixed(handle.message.0);
    match handle.reservation {
        None => writer.u8(0),
        Some(reservation) => {
            writer.u8(1);
            writer.raw(&reservation.0.to_be_bytes());
        }
    }
}

fn take_held(reader: &mut Reader<'_>) -> Result<Held, DecodeError> {
    Ok(Held { message: MessageId(reader.fixed()?), reservation: take_reservation(reader)? })
}

fn take_handle(reader: &mut Reader<'_>) -> Result<Handle, DecodeError> {
    let message = MessageId(reader.fixed()?);
    let reservation = if reader.flag()? { Some(take_reservation(reader)?) } else { None };
    Ok(Handle { message, reservation })
}
