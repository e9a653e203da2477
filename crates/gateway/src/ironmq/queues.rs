//! Queues of `/3`. Source: ironmq-v3.md sections 3 and 8.

use bessemer_model::limits::{PER_PAGE_DEFAULT, PER_PAGE_MAX};
use bessemer_model::queue::DeadLetterPatch;
use bessemer_model::{ProjectId, QueueName, QueuePatch, QueueSettings, Rejection};
use bessemer_service::{Freshness, ListQueues, ServiceError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::errors::{Msg, seconds};
use super::shapes::{Object, Whole, given, parse};
use crate::call::Call;
use crate::reply::Reply;
use crate::respond::Refusal;

#[derive(Deserialize, Default)]
#[serde(default)]
struct PutBody {
    queue: Object<PutQueue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PutQueue {
    r#type: Option<String>,
    message_timeout: Whole,
    message_expiration: Whole,
    dead_letter: Option<Object<PutDeadLetter>>,
    push: Option<Value>,
    alerts: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PutDeadLetter {
    queue_name: Option<String>,
    max_reservations: Whole,
}

#[derive(Serialize)]
struct Wrapped<'a> {
    queue: Shown<'a>,
}

/// A queue as `/3` shows it. `size` and `total_messages` on GET alone.
#[derive(Serialize)]
struct Shown<'a> {
    project_id: &'a str,
    name: &'a str,
    r#type: &'static str,
    message_timeout: u64,
    message_expiration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<ShownDeadLetter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_messages: Option<u64>,
}

#[derive(Serialize)]
struct ShownDeadLetter<'a> {
    queue_name: &'a str,
    max_reservations: u32,
}

fn show<'a>(
    project: &'a ProjectId,
    queue: &'a QueueName,
    settings: &'a QueueSettings,
) -> Shown<'a> {
    Shown {
        project_id: project.as_str(),
        name: queue.as_str(),
        r#type: "pull",
        message_timeout: seconds(settings.message_timeout),
        message_expiration: seconds(settings.message_expiration),
        dead_letter: settings.dead_letter.as_ref().map(|dead| ShownDeadLetter {
            queue_name: dead.queue.as_str(),
            max_reservations: dead.max_reservations,
        }),
        size: None,
        total_messages: None,
    }
}

/// PUT and PATCH: create, or change what is given. PATCH creates too (13.1).
pub(super) async fn put(call: Call) -> Result<Reply, Refusal> {
    let body: PutBody = parse(&call.body)?;
    let asked = body.queue.0;
    check_kind(&call, &asked).await?;
    let patch = QueuePatch {
        message_timeout: asked.message_timeout.seconds(),
        message_expiration: asked.message_expiration.seconds(),
        dead_letter: asked.dead_letter.map(|asked| dead_letter(asked.0)),
    };
    let (project, queue) = (call.project(), call.queue());
    let put =
        call.service.put_queue(&call.caller, &project, queue.clone(), patch, call.key()).await;
    let (settings, _created) = put?;
    Ok(Reply::ok(&Wrapped { queue: show(&project, &queue, &settings) }))
}

/// `""` as the queue's name removes the setting; no name keeps it. Section 8.
fn dead_letter(asked: PutDeadLetter) -> DeadLetterPatch {
    match asked.queue_name {
        Some(name) if name.is_empty() => DeadLetterPatch::Remove,
        name => DeadLetterPatch::Set {
            queue: name.map(QueueName::new),
            max_reservations: asked.max_reservations.count(),
        },
    }
}

/// Refuses what only push queues have, and alerts; 403 where it would change a queue's type.
async fn check_kind(call: &Call, asked: &PutQueue) -> Result<(), Refusal> {
    let kind = given(asked.r#type.clone());
    let pushes = !is_empty(asked.push.as_ref());
    match kind.as_deref() {
        None | Some("pull") if pushes => Err(Refusal::Unsupported(
            "Push queues are not supported by this version: leave out push",
        )),
        None | Some("pull") if !is_empty(asked.alerts.as_ref()) => {
            Err(Refusal::Unsupported("Alerts are not supported by this version: leave out alerts"))
        }
        None | Some("pull") => Ok(()),
        Some("unicast" | "multicast") => {
            let (project, queue) = (call.project(), call.queue());
            let found = call.service.queue(&call.caller, &project, &queue, Freshness::Current);
            match found.await {
                Ok(_) => Err(Refusal::TypeFixed),
                Err(ServiceError::Rejected(Rejection::QueueMissing { .. })) => {
                    Err(Refusal::Unsupported(
                        "Push queues are not supported by this version: use type pull",
                    ))
                }
                Err(error) => Err(error.into()),
            }
        }
        Some(_) => Err(Refusal::Bad("type must be pull, unicast or multicast".into())),
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(entries)) => entries.is_empty(),
        Some(Value::Object(entries)) => entries.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => false,
    }
}

pub(super) async fn info(call: Call) -> Result<Reply, Refusal> {
    let (project, queue) = (call.project(), call.queue());
    let info = call.service.queue(&call.caller, &project, &queue, Freshness::Current).await?;
    let mut shown = show(&project, &queue, &info.settings);
    shown.size = Some(info.size);
    shown.total_messages = Some(info.total);
    Ok(Reply::ok(&Wrapped { queue: shown }))
}

pub(super) async fn remove(call: Call) -> Result<Reply, Refusal> {
    call.service.delete_queue(&call.caller, &call.project(), call.queue(), call.key()).await?;
    // With a full stop, as the hosted service (3.5).
    Ok(Reply::ok(&Msg { msg: "Deleted." }))
}

#[derive(Serialize)]
struct Listed<'a> {
    queues: Vec<Name<'a>>,
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

pub(super) async fn list(call: Call) -> Result<Reply, Refusal> {
    let page = ListQueues {
        previous: call.query.get("previous").unwrap_or("").to_owned(),
        prefix: call.query.get("prefix").unwrap_or("").to_owned(),
        per_page: call.query.number("per_page", PER_PAGE_DEFAULT, PER_PAGE_MAX)?,
    };
    let names =
        call.service.list_queues(&call.caller, &call.project(), &page, Freshness::Current).await?;
    let queues = names.iter().map(|name| Name { name: name.as_str() }).collect();
    Ok(Reply::ok(&Listed { queues }))
}
