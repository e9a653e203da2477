//! Messages of `/3`: reserve, look, delete, touch, release. Source: ironmq-v3.md 4.2 to 4.8.

use std::borrow::Cow;
use std::fmt;

use bessemer_model::limits::{DELETE_COUNT_MAX, RESERVE_COUNT_MAX};
use bessemer_model::{Handle, MessageId, Millis, Rejection, ReservationId, ReservedMessage};
use bessemer_service::{Freshness, MessageView, Release, Reserve, ServiceError, Touch};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::errors::Msg;
use super::shapes::{Whole, given, parse};
use crate::call::Call;
use crate::json::{Capped, present};
use crate::reply::Reply;
use crate::respond::Refusal;

/// The reservation and the message no message ever has: what is no id names nothing.
const NO_RESERVATION: ReservationId = ReservationId(0);
const NO_MESSAGE: MessageId = MessageId(0);

/// A message as `/3` shows it; `reservation_id` from reserve alone.
#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    /// Bytes that are not UTF-8 (posted by another door) are shown with replacement characters.
    body: Cow<'a, str>,
    reserved_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation_id: Option<String>,
}

fn show_view(message: &MessageView) -> Shown<'_> {
    Shown {
        id: message.id.to_string(),
        body: String::from_utf8_lossy(&message.body),
        reserved_count: message.reserved_count,
        reservation_id: None,
    }
}

fn show_reserved(message: &ReservedMessage) -> Shown<'_> {
    Shown {
        id: message.id.to_string(),
        // A repeated outcome of a message that is gone meanwhile has no body any more.
        body: String::from_utf8_lossy(message.body.as_deref().unwrap_or_default()),
        reserved_count: message.reserved_count,
        reservation_id: Some(message.reservation.to_string()),
    }
}

#[derive(Serialize)]
struct Messages<'a> {
    messages: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct One<'a> {
    message: Shown<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReserveBody {
    n: Whole,
    timeout: Whole,
    wait: Whole,
    delete: Option<bool>,
}

pub(super) async fn reserve(mut call: Call) -> Result<Reply, Refusal> {
    // Taken, so that what may wait for long holds no body.
    let body: ReserveBody = parse(&std::mem::take(&mut call.body))?;
    let ask = Reserve {
        count: body.n.count().unwrap_or(1),
        timeout: body.timeout.seconds(),
        delete: body.delete.unwrap_or(false),
        wait: body.wait.seconds().unwrap_or(Millis::ZERO),
    };
    let (project, queue) = (call.project(), call.queue());
    let got = call.service.reserve(&call.caller, &project, &queue, ask, call.key()).await?;
    let reply = Reply::ok(&Messages { messages: got.messages.iter().map(show_reserved).collect() });
    call.guard(got.undo);
    Ok(reply)
}

pub(super) async fn get(call: Call) -> Result<Reply, Refusal> {
    let (project, queue) = (call.project(), call.queue());
    let found = call
        .service
        .message(&call.caller, &project, &queue, call.message(), Freshness::Current)
        .await?;
    Ok(Reply::ok(&One { message: show_view(&found) }))
}

pub(super) async fn peek(call: Call) -> Result<Reply, Refusal> {
    let count = call.query.number("n", 1, RESERVE_COUNT_MAX)?;
    let (project, queue) = (call.project(), call.queue());
    let found =
        call.service.peek(&call.caller, &project, &queue, count, Freshness::Current).await?;
    Ok(Reply::ok(&Messages { messages: found.iter().map(show_view).collect() }))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct HandleBody {
    reservation_id: Option<String>,
    timeout: Whole<true>,
    delay: Whole<true>,
}

/// A given text that is no reservation id is one that never was.
fn reservation(text: Option<String>) -> Option<ReservationId> {
    given(text).map(|text| text.parse().unwrap_or(NO_RESERVATION))
}

/// `DELETE …/messages/{id}`, table 4.5.
pub(super) async fn delete_one(call: Call) -> Result<Reply, Refusal> {
    let body: HandleBody = parse(&call.body)?;
    let handle = Handle { message: call.message(), reservation: reservation(body.reservation_id) };
    call.service.ack(&call.caller, &call.project(), call.queue(), handle, call.key()).await?;
    Ok(Reply::ok(&Msg { msg: "Deleted" }))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DeleteBody {
    /// `Some(None)` is an explicit null: nothing to delete, and never "clear".
    #[serde(deserialize_with = "present")]
    ids: Option<Option<Capped<Entry, DELETE_COUNT_MAX>>>,
    /// The Node client's other name for the same list.
    #[serde(deserialize_with = "present")]
    reservation_ids: Option<Option<Capped<Entry, DELETE_COUNT_MAX>>>,
}

/// An entry of a batch delete: an id, or an object with one.
struct Entry(Handle);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        #[derive(Deserialize)]
        struct Long {
            id: Id,
            #[serde(default)]
            reservation_id: Option<String>,
        }
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message id, or an object with one")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
                Ok(Entry(Handle { message: message(text), reservation: None }))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Entry, E> {
                Ok(Entry(Handle { message: MessageId(number), reservation: None }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                let long = Long::deserialize(MapAccessDeserializer::new(map))?;
                let reservation = reservation(long.reservation_id);
                Ok(Entry(Handle { message: long.id.0, reservation }))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// A message id as text or as a number.
struct Id(MessageId);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message id")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id(message(text)))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id(MessageId(number)))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

fn message(text: &str) -> MessageId {
    text.parse().unwrap_or(NO_MESSAGE)
}

/// `DELETE …/messages`: a batch when the body has a list of ids, otherwise everything (4.6).
pub(super) async fn delete_many(call: Call) -> Result<Reply, Refusal> {
    let body: DeleteBody = parse(&call.body)?;
    let (project, queue) = (call.project(), call.queue());
    let Some(entries) = body.ids.or(body.reservation_ids) else {
        call.service.clear(&call.caller, &project, queue, call.key()).await?;
        return Ok(Reply::ok(&Msg { msg: "Cleared" }));
    };
    let entries = entries.unwrap_or_default();
    let handles = entries.0.into_iter().map(|Entry(handle)| handle).collect();
    call.service.ack_all(&call.caller, &project, queue, handles, call.key()).await?;
    Ok(Reply::ok(&Msg { msg: "Deleted" }))
}

#[derive(Serialize)]
struct Touched {
    reservation_id: String,
    msg: &'static str,
}

/// Asks with the reservation a touch or a release must name. Without one, what is missing comes
/// first: role, queue, message, and only then the reservation.
async fn holding<T>(
    named: Option<String>,
    ask: impl AsyncFnOnce(ReservationId) -> Result<T, ServiceError>,
) -> Result<T, Refusal> {
    let named = reservation(named);
    match ask(named.unwrap_or(NO_RESERVATION)).await {
        Err(ServiceError::Rejected(Rejection::ReservationStale { message })) if named.is_none() => {
            Err(Rejection::ReservationRequired { message }.into())
        }
        result => Ok(result?),
    }
}

pub(super) async fn touch(call: Call) -> Result<Reply, Refusal> {
    let body: HandleBody = parse(&call.body)?;
    let (message, timeout) = (call.message(), body.timeout.seconds());
    let touched = holding(body.reservation_id, async |reservation| {
        let ask = Touch { message, reservation, timeout };
        call.service.touch(&call.caller, &call.project(), call.queue(), ask, call.key()).await
    });
    let touched = touched.await?;
    Ok(Reply::ok(&Touched { reservation_id: touched.to_string(), msg: "Touched" }))
}

pub(super) async fn release(call: Call) -> Result<Reply, Refusal> {
    let body: HandleBody = parse(&call.body)?;
    let message = call.message();
    let delay = body.delay.seconds().unwrap_or(Millis::ZERO);
    let released = holding(body.reservation_id, async |reservation| {
        let ask = Release { message, reservation, delay };
        call.service.release(&call.caller, &call.project(), call.queue(), ask, call.key()).await
    });
    released.await?;
    Ok(Reply::ok(&Msg { msg: "Released" }))
}
