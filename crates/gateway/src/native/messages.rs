//! Messages of `/v1`: post, reserve, ack, touch, release, look, clear.

use bessemer_model::Millis;
use bessemer_model::limits::RESERVE_COUNT_MAX;
use bessemer_service::{Freshness, Release, Reserve, Touch};
use serde::Deserialize;

use super::shapes::{
    Acked, Done, Handles, NewMessages, Posted, ShownMessage, ShownMessages, Touched, parse,
    reservation_id,
};
use crate::call::Call;
use crate::reply::Reply;
use crate::respond::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PostBody {
    messages: NewMessages,
}

pub(super) async fn post(call: Call) -> Result<Reply, Refusal> {
    let body: PostBody = parse(&call.body)?;
    let messages = body.messages.read()?;
    let (project, queue) = (call.project(), call.queue());
    let ids = call.service.post(&call.caller, &project, queue, messages, call.key()).await?;
    Ok(Reply::created(&Posted { ids: ids.iter().map(ToString::to_string).collect() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReserveBody {
    #[serde(default = "one")]
    count: u32,
    timeout_ms: Option<u64>,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    delete: bool,
}

fn one() -> u32 {
    1
}

pub(super) async fn reserve(mut call: Call) -> Result<Reply, Refusal> {
    // Taken, so that what may wait for long holds no body.
    let body: ReserveBody = parse(&std::mem::take(&mut call.body))?;
    let ask = Reserve {
        count: body.count,
        timeout: body.timeout_ms.map(Millis),
        delete: body.delete,
        wait: Millis(body.wait_ms),
    };
    let (project, queue) = (call.project(), call.queue());
    let got = call.service.reserve(&call.caller, &project, &queue, ask, call.key()).await?;
    let messages = got.messages.iter().map(ShownMessage::of_reserved).collect();
    let reply = Reply::ok(&ShownMessages { messages });
    call.guard(got.undo);
    Ok(reply)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckBody {
    messages: Handles,
}

pub(super) async fn ack(call: Call) -> Result<Reply, Refusal> {
    let body: AckBody = parse(&call.body)?;
    let handles = body.messages.read();
    let (project, queue) = (call.project(), call.queue());
    let deleted = call.service.ack_all(&call.caller, &project, queue, handles, call.key()).await?;
    Ok(Reply::ok(&Acked { deleted }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TouchBody {
    reservation_id: String,
    timeout_ms: Option<u64>,
}

pub(super) async fn touch(call: Call) -> Result<Reply, Refusal> {
    let body: TouchBody = parse(&call.body)?;
    let ask = Touch {
        message: call.message(),
        reservation: reservation_id(&body.reservation_id),
        timeout: body.timeout_ms.map(Millis),
    };
    let id =
        call.service.touch(&call.caller, &call.project(), call.queue(), ask, call.key()).await?;
    Ok(Reply::ok(&Touched { reservation_id: id.to_string() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseBody {
    reservation_id: String,
    #[serde(default)]
    delay_ms: u64,
}

pub(super) async fn release(call: Call) -> Result<Reply, Refusal> {
    let body: ReleaseBody = parse(&call.body)?;
    let ask = Release {
        message: call.message(),
        reservation: reservation_id(&body.reservation_id),
        delay: Millis(body.delay_ms),
    };
    call.service.release(&call.caller, &call.project(), call.queue(), ask, call.key()).await?;
    Ok(Reply::ok(&Done {}))
}

pub(super) async fn clear(call: Call) -> Result<Reply, Refusal> {
    call.service.clear(&call.caller, &call.project(), call.queue(), call.key()).await?;
    Ok(Reply::ok(&Done {}))
}

pub(super) async fn peek(call: Call) -> Result<Reply, Refusal> {
    let count = call.query.number("count", 1, RESERVE_COUNT_MAX)?;
    let freshness = call.freshness();
    let (project, queue) = (call.project(), call.queue());
    let found = call.service.peek(&call.caller, &project, &queue, count, freshness).await?;
    let messages = found.iter().map(ShownMessage::of_view).collect();
    Ok(Reply::ok(&ShownMessages { messages }).stale(freshness == Freshness::Stale))
}

pub(super) async fn get(call: Call) -> Result<Reply, Refusal> {
    let freshness = call.freshness();
    let (project, queue, message) = (call.project(), call.queue(), call.message());
    let found = call.service.message(&call.caller, &project, &queue, message, freshness).await?;
    Ok(Reply::ok(&ShownMessage::of_view(&found)).stale(freshness == Freshness::Stale))
}
