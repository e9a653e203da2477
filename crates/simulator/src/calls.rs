//! One operation of a client as a call of the service, and what its answer says.
//!
//! Not here: which operation comes next (`client.rs`), what its answer is worth (the judge).

use std::sync::Arc;

use bessemer_history::event::{Answer, Got, Held, Op};
use bessemer_model::{Command, Handle, Millis, NewMessage, OrderingKey, Outcome, Rejection};
use bessemer_model::{ProjectId, ReservedMessage, Role, TokenId};
use bessemer_service::{
    Caller, Freshness, NewToken, Release, Reserve, Service, ServiceError, Touch, Undo,
};

use crate::queues::{body_of, project_of, project_of_queue, queue_name, uid_of};

/// An answer as the door would write it.
pub struct Reply {
    pub answer: Answer,
    /// What is taken back unless the answer reaches its client.
    pub undo: Option<Undo>,
    /// Id and text of a token that was minted.
    pub token: Option<(TokenId, String)>,
}

impl Reply {
    pub fn of(answer: Answer) -> Reply {
        Reply { answer, undo: None, token: None }
    }
}

/// Everything a call needs to know.
pub struct Ask {
    pub op: Op,
    /// What the client shows; the operator's token, or one of a project.
    pub token: String,
    /// Idempotency key.
    pub key: Option<String>,
    /// The id that the log gave to the token of a `Revoke`, and the project it is of.
    pub revoked: Option<(ProjectId, TokenId)>,
}

/// Does what `ask` says, inside the node.
pub async fn call(service: Arc<Service>, ask: Ask) -> Reply {
    let caller = match service.authenticate(Some(&ask.token)).await {
        Ok(caller) => caller,
        Err(error) => return Reply::of(refused(error)),
    };
    done(&service, &caller, &ask).await.unwrap_or_else(|error| Reply::of(refused(error)))
}

async fn done(service: &Service, caller: &Caller, ask: &Ask) -> Result<Reply, ServiceError> {
    let key = ask.key.as_deref();
    let answer = match &ask.op {
        Op::Post { queue, .. } => {
            let (project, name) = (project_of_queue(*queue), queue_name(*queue));
            let ids = service.post(caller, &project, name, messages_of(&ask.op), key).await?;
            Answer::Posted(ids)
        }
        Op::Reserve { queue, count, timeout, wait } => {
            let (project, name) = (project_of_queue(*queue), queue_name(*queue));
            let asked =
                Reserve { count: *count, timeout: Some(*timeout), delete: false, wait: *wait };
            let delivery = service.reserve(caller, &project, &name, asked, key).await?;
            let answer = Answer::Reserved(delivery.messages.into_iter().map(got_of).collect());
            return Ok(Reply { answer, undo: delivery.undo, token: None });
        }
        Op::Ack(held) => {
            let project = project_of_queue(held.queue);
            service.ack(caller, &project, queue_name(held.queue), handle_of(held), key).await?;
            Answer::Acked(1)
        }
        Op::Touch { held, timeout } => {
            let project = project_of_queue(held.queue);
            let (message, reservation) = (held.message, held.reservation);
            let touch = Touch { message, reservation, timeout: Some(*timeout) };
            let queue = queue_name(held.queue);
            Answer::Touched(service.touch(caller, &project, queue, touch, key).await?)
        }
        Op::Release { held, delay } => {
            let project = project_of_queue(held.queue);
            let (message, reservation) = (held.message, held.reservation);
            let release = Release { message, reservation, delay: *delay };
            service.release(caller, &project, queue_name(held.queue), release, key).await?;
            Answer::Released
        }
        Op::Look { queue, message } => {
            let (project, name) = (project_of_queue(*queue), queue_name(*queue));
            let found =
                service.message(caller, &project, &name, *message, Freshness::Current).await;
            match found {
                Ok(_) => Answer::Seen(true),
                Err(ServiceError::Rejected(Rejection::MessageMissing { .. })) => {
                    Answer::Seen(false)
                }
                Err(error) => return Err(error),
            }
        }
        Op::Swap { held, to, uid } => {
            let post = Op::Post {
                queue: *to,
                uids: vec![*uid],
                delay: Millis::ZERO,
                key: None,
                keyed: false,
            };
            let commands = vec![
                Command::AckMessage { queue: queue_name(held.queue), handle: handle_of(held) },
                Command::PostMessages { queue: queue_name(*to), messages: messages_of(&post) },
            ];
            let project = project_of_queue(held.queue);
            let outcomes = service.transact(caller, &project, commands, key).await?;
            match &outcomes[..] {
                [Outcome::Deleted { count: 1 }, Outcome::Posted { ids }] if ids.len() == 1 => {
                    Answer::Swapped(ids[0])
                }
                _ => Answer::Nonsense(format!("{outcomes:?}")),
            }
        }
        Op::Mint { tenant, token } => {
            let name = token.to_string().into();
            let new = NewToken { name, role: Role::Member, expires_at: None };
            let minted = service.create_token(caller, &project_of(*tenant), new, key).await?;
            let token = Some((minted.id, minted.token));
            return Ok(Reply { answer: Answer::Minted, undo: None, token });
        }
        Op::Revoke { .. } => {
            let (project, id) = ask.revoked.clone().expect("a revoke names its token");
            service.revoke_token(caller, &project, id, key).await?;
            Answer::Revoked
        }
    };
    Ok(Reply::of(answer))
}

fn refused(error: ServiceError) -> Answer {
    match error {
        ServiceError::Unauthorized => Answer::Unauthorized,
        ServiceError::Forbidden => Answer::Forbidden,
        ServiceError::Rejected(rejection) => Answer::Refused(rejection),
        ServiceError::NotDone(_) => Answer::NotDone,
        ServiceError::Unknown => Answer::Unknown,
        other @ (ServiceError::TooManyWaiters { .. }
        | ServiceError::WaitOutOfRange { .. }
        | ServiceError::Membership(_)
        | ServiceError::Damaged(_)) => Answer::Nonsense(format!("{other:?}")),
    }
}

fn handle_of(held: &Held) -> Handle {
    Handle { message: held.message, reservation: Some(held.reservation) }
}

/// The messages of a post.
fn messages_of(op: &Op) -> Vec<NewMessage> {
    let Op::Post { uids, delay, key, .. } = op else { unreachable!("only posts have messages") };
    let message = |uid: &u64| NewMessage {
        body: body_of(*uid),
        delay: *delay,
        expiration: None,
        ordering_key: key.map(|key| OrderingKey::new(format!("key-{key}"))),
    };
    uids.iter().map(message).collect()
}

fn got_of(message: ReservedMessage) -> Got {
    Got {
        message: message.id,
        uid: message.body.as_deref().and_then(uid_of),
        reserved_count: message.reserved_count,
        reservation: message.reservation,
    }
}
