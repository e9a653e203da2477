//! Posting to `/3`, by messages or as a webhook. Source: ironmq-v3.md 4.1 and 4.9.

use bessemer_model::limits::POST_COUNT_MAX;
use bessemer_model::rejection::Counted;
use bessemer_model::{MessageId, Millis, NewMessage};
use serde::{Deserialize, Serialize};

use super::push_headers::PushHeaders;
use super::shapes::{Object, Whole, parse};
use crate::call::Call;
use crate::json::Capped;
use crate::reply::Reply;
use crate::respond::Refusal;

#[derive(Deserialize, Default)]
#[serde(default)]
struct PostBody {
    messages: Option<Capped<Object<PostMessage>, POST_COUNT_MAX>>,
}

/// `push_headers` are checked and dropped: they mean nothing on a pull queue. `timeout`,
/// `expires_in`, `id` and the like are from older versions and ignored.
#[derive(Deserialize, Default)]
#[serde(default)]
struct PostMessage {
    body: Option<String>,
    delay: Whole,
    push_headers: Option<Object<PushHeaders>>,
}

#[derive(Serialize)]
struct Posted {
    ids: Vec<String>,
    msg: &'static str,
}

#[derive(Serialize)]
struct Hooked {
    id: String,
    ids: Vec<String>,
    msg: &'static str,
}

pub(super) async fn post(call: Call) -> Result<Reply, Refusal> {
    let body: PostBody = parse(&call.body)?;
    let asked = body.messages.ok_or_else(|| Refusal::Bad("messages is required".into()))?;
    let asked = asked.some(Counted::Messages)?;
    let mut messages = Vec::with_capacity(asked.len());
    for (number, Object(message)) in asked.into_iter().enumerate() {
        let wrong = |why: &str| Refusal::Bad(format!("messages[{number}]: {why}"));
        let body = message.body.ok_or_else(|| wrong("body is required"))?;
        if let Some(Object(headers)) = message.push_headers {
            headers.check().map_err(wrong)?;
        }
        let delay = message.delay.seconds().unwrap_or(Millis::ZERO);
        messages.push(new_message(body.into_bytes(), delay));
    }
    let ids = append(&call, messages).await?;
    let ids = ids.iter().map(MessageId::to_string).collect();
    Ok(Reply::created(&Posted { ids, msg: "Messages put on queue." }))
}

/// The raw body is the message, whatever its type says, as long as it is text: a body is a JSON
/// string wherever this API shows it (decision 0010).
pub(super) async fn webhook(call: Call) -> Result<Reply, Refusal> {
    if std::str::from_utf8(&call.body).is_err() {
        let why = "The request body is not UTF-8, which this API cannot show; encode it, or post \
                   it to /v1 as body_base64";
        return Err(Refusal::Bad(why.into()));
    }
    let message = new_message(call.body.to_vec(), Millis::ZERO);
    let ids = append(&call, vec![message]).await?;
    let ids: Vec<String> = ids.iter().map(MessageId::to_string).collect();
    let id = ids.first().cloned().unwrap_or_default();
    Ok(Reply::ok(&Hooked { id, ids, msg: "Message put on queue." }))
}

fn new_message(body: Vec<u8>, delay: Millis) -> NewMessage {
    NewMessage { body, delay, expiration: None, ordering_key: None }
}

async fn append(call: &Call, messages: Vec<NewMessage>) -> Result<Vec<MessageId>, Refusal> {
    let (project, queue) = (call.project(), call.queue());
    Ok(call.service.post(&call.caller, &project, queue, messages, call.key()).await?)
}
