//! Operations in the words of the log, and the log's answers in those of clients.
//!
//! Not here: when what is asked.

use bessemer_model::{
    Command, Handle, Millis, NewMessage, OrderingKey, Outcome, ProjectId, QueueName, Role, TokenId,
    TokenRecord,
};

use crate::event::{Answer, Got, Held, Op, QueueNumber, Tenant, Uid, uid_in_body};
use crate::model::Told;

pub(crate) fn project(tenant: Tenant) -> ProjectId {
    ProjectId::new(format!("{tenant:024}"))
}

pub(crate) fn name_of(queue: QueueNumber) -> QueueName {
    QueueName::new(format!("queue-{queue}"))
}

pub(crate) fn held_of(queue: QueueNumber, got: &Got) -> Held {
    Held { queue, message: got.message, reservation: got.reservation }
}

/// What an operation is in the words of the log. Not of a look, which is in no log.
pub(crate) fn command_of(op: &Op) -> Command {
    let ack = |held: &Held| Command::AckMessage {
        queue: name_of(held.queue),
        handle: Handle { message: held.message, reservation: Some(held.reservation) },
    };
    let post = |queue: QueueNumber, uids: &[Uid], delay: Millis, key: Option<u64>| {
        let messages = uids.iter().map(|uid| NewMessage {
            body: uid.to_be_bytes().to_vec(),
            delay,
            expiration: None,
            ordering_key: key.map(|key| OrderingKey::new(format!("key-{key}"))),
        });
        Command::PostMessages { queue: name_of(queue), messages: messages.collect() }
    };
    match op {
        Op::Post { queue, uids, delay, key, .. } => post(*queue, uids, *delay, *key),
        Op::Reserve { queue, count, timeout, .. } => Command::ReserveMessages {
            queue: name_of(*queue),
            count: *count,
            timeout: Some(*timeout),
            delete: false,
        },
        Op::Ack(held) => ack(held),
        Op::Touch { held, timeout } => Command::TouchMessage {
            queue: name_of(held.queue),
            message: held.message,
            reservation: held.reservation,
            timeout: Some(*timeout),
        },
        Op::Release { held, delay } => Command::ReleaseMessage {
            queue: name_of(held.queue),
            message: held.message,
            reservation: held.reservation,
            delay: *delay,
        },
        Op::Swap { held, to, uid } => Command::Transaction {
            commands: vec![ack(held), post(*to, &[*uid], Millis::ZERO, None)],
        },
        Op::Mint { token, .. } => Command::CreateToken {
            token: TokenRecord {
                id: TokenId::new(format!("{token:016x}")),
                secret_hash: [0; 32],
                role: Role::Member,
                name: token.to_string().into(),
                expires_at: None,
            },
        },
        Op::Revoke { token } => Command::RevokeToken { id: TokenId::new(format!("{token:016x}")) },
        Op::Look { .. } => Command::Tick,
    }
}

pub(crate) fn answer_of(op: &Op, told: Told) -> Answer {
    match (op, told) {
        (_, Err(rejection)) => Answer::Refused(rejection),
        (_, Ok(Outcome::Posted { ids })) => Answer::Posted(ids),
        (_, Ok(Outcome::Reserved { messages })) => {
            let got = messages.iter().map(|one| Got {
                message: one.id,
                uid: one.body.as_deref().and_then(uid_in_body),
                reserved_count: one.reserved_count,
                reservation: one.reservation,
            });
            Answer::Reserved(got.collect())
        }
        (_, Ok(Outcome::Deleted { count })) => Answer::Acked(count),
        (_, Ok(Outcome::Touched { reservation })) => Answer::Touched(reservation),
        (_, Ok(Outcome::Released)) => Answer::Released,
        (_, Ok(Outcome::TokenCreated { .. })) => Answer::Minted,
        (Op::Revoke { .. }, Ok(_)) => Answer::Revoked,
        (_, Ok(Outcome::Transacted { outcomes })) => match &outcomes[..] {
            [_, Outcome::Posted { ids }] => Answer::Swapped(ids[0]),
            _ => Answer::Nonsense(format!("{outcomes:?}")),
        },
        (_, Ok(outcome)) => Answer::Nonsense(format!("{outcome:?}")),
    }
}
