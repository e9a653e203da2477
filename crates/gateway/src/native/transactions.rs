//! Transactions of `/v1`: queue commands of one project, whole or not at all.

use bessemer_model::limits::TRANSACTION_COUNT_MAX;
use bessemer_model::{Command, Millis, Outcome, QueueName};
use serde::{Deserialize, Serialize};

use super::shapes::{
    Acked, Done, Handles, NewMessages, PatchBody, Posted, ShownMessage, ShownMessages, ShownQueue,
    ShownSettings, Touched, message_id, parse, reservation_id,
};
use crate::call::Call;
use crate::json::Capped;
use crate::reply::Reply;
use crate::respond::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    commands: Capped<CommandBody, TRANSACTION_COUNT_MAX>,
}

/// One command, by its name.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum CommandBody {
    PutQueue(PutQueueBody),
    DeleteQueue(QueueBody),
    Clear(QueueBody),
    Post(PostBody),
    Reserve(ReserveBody),
    Ack(AckBody),
    Touch(TouchBody),
    Release(ReleaseBody),
}

/// `settings` as in `PUT …/queues/{queue}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutQueueBody {
    queue: String,
    settings: PatchBody,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueBody {
    queue: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PostBody {
    queue: String,
    messages: NewMessages,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReserveBody {
    queue: String,
    #[serde(default = "one")]
    count: u32,
    timeout_ms: Option<u64>,
    #[serde(default)]
    delete: bool,
}

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckBody {
    queue: String,
    messages: Handles,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TouchBody {
    queue: String,
    id: String,
    reservation_id: String,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseBody {
    queue: String,
    id: String,
    reservation_id: String,
    #[serde(default)]
    delay_ms: u64,
}

impl CommandBody {
    fn read(self) -> Result<Command, Refusal> {
        Ok(match self {
            CommandBody::PutQueue(body) => {
                Command::PutQueue { queue: QueueName::new(body.queue), patch: body.settings.read() }
            }
            CommandBody::DeleteQueue(body) => {
                Command::DeleteQueue { queue: QueueName::new(body.queue) }
            }
            CommandBody::Clear(body) => Command::ClearQueue { queue: QueueName::new(body.queue) },
            CommandBody::Post(body) => Command::PostMessages {
                queue: QueueName::new(body.queue),
                messages: body.messages.read()?,
            },
            CommandBody::Reserve(body) => Command::ReserveMessages {
                queue: QueueName::new(body.queue),
                count: body.count,
                timeout: body.timeout_ms.map(Millis),
                delete: body.delete,
            },
            CommandBody::Ack(body) => Command::AckMessages {
                queue: QueueName::new(body.queue),
                handles: body.messages.read(),
            },
            CommandBody::Touch(body) => Command::TouchMessage {
                queue: QueueName::new(body.queue),
                message: message_id(&body.id),
                reservation: reservation_id(&body.reservation_id),
                timeout: body.timeout_ms.map(Millis),
            },
            CommandBody::Release(body) => Command::ReleaseMessage {
                queue: QueueName::new(body.queue),
                message: message_id(&body.id),
                reservation: reservation_id(&body.reservation_id),
                delay: Millis(body.delay_ms),
            },
        })
    }

    fn queue(&self) -> String {
        match self {
            CommandBody::PutQueue(body) => body.queue.clone(),
            CommandBody::DeleteQueue(body) | CommandBody::Clear(body) => body.queue.clone(),
            CommandBody::Post(body) => body.queue.clone(),
            CommandBody::Reserve(body) => body.queue.clone(),
            CommandBody::Ack(body) => body.queue.clone(),
            CommandBody::Touch(body) => body.queue.clone(),
            CommandBody::Release(body) => body.queue.clone(),
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    outcomes: Vec<ShownOutcome<'a>>,
}

/// The outcome of a command, under the command's name.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ShownOutcome<'a> {
    PutQueue(ShownQueue<'a>),
    DeleteQueue(Done),
    Clear(Done),
    Post(Posted),
    Reserve(ShownMessages),
    Ack(Acked),
    Touch(Touched),
    Release(Done),
}

fn show<'a>(queue: &'a str, outcome: &Outcome) -> ShownOutcome<'a> {
    match outcome {
        Outcome::QueuePut { settings, created } => ShownOutcome::PutQueue(ShownQueue {
            name: queue,
            settings: ShownSettings::of(settings),
            created: Some(*created),
            counts: None,
        }),
        Outcome::QueueDeleted => ShownOutcome::DeleteQueue(Done {}),
        Outcome::Cleared => ShownOutcome::Clear(Done {}),
        Outcome::Posted { ids } => {
            ShownOutcome::Post(Posted { ids: ids.iter().map(ToString::to_string).collect() })
        }
        Outcome::Reserved { messages } => ShownOutcome::Reserve(ShownMessages {
            messages: messages.iter().map(ShownMessage::of_reserved).collect(),
        }),
        Outcome::Deleted { count } => ShownOutcome::Ack(Acked { deleted: *count }),
        Outcome::Touched { reservation } => {
            ShownOutcome::Touch(Touched { reservation_id: reservation.to_string() })
        }
        Outcome::Released => ShownOutcome::Release(Done {}),
        Outcome::Done
        | Outcome::ProjectCreated { .. }
        | Outcome::QuotaUpdated { .. }
        | Outcome::TokenCreated { .. }
        | Outcome::Transacted { .. } => panic!("no command of a transaction has this outcome"),
    }
}

pub(super) async fn transact(call: Call) -> Result<Reply, Refusal> {
    let body: Body = parse(&call.body)?;
    let queues: Vec<String> = body.commands.0.iter().map(CommandBody::queue).collect();
    let commands: Result<Vec<_>, Refusal> =
        body.commands.0.into_iter().map(CommandBody::read).collect();
    let project = call.project();
    let outcomes = call.service.transact(&call.caller, &project, commands?, call.key()).await?;
    let outcomes = queues.iter().zip(&outcomes).map(|(queue, one)| show(queue, one)).collect();
    Ok(Reply::ok(&Shown { outcomes }))
}
