//! One request on its way through a door: who asks, what the path and query say, the body.
//!
//! Order: names of the path, token, body. So a stranger's body is never read.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::RawPathParams;
use axum::extract::rejection::RawPathParamsRejection;
use axum::response::Response;
use bessemer_model::{MessageId, ProjectId, QueueName};
use bessemer_service::{Caller, Freshness, Service, Undo};
use http::{HeaderMap, Request};

use crate::limits::{BodyReader, HeldBody};
use crate::metrics::DoorMetrics;
use crate::reply::Reply;
use crate::respond::{DoorKind, Refusal, refuse};
use crate::wire::Slot;

/// A message id no message ever has: what is no id names no message.
const NO_MESSAGE: MessageId = MessageId(0);

/// What all verbs of a door share.
#[derive(Clone)]
pub(crate) struct Door {
    pub kind: DoorKind,
    pub service: Arc<Service>,
    pub metrics: Arc<DoorMetrics>,
    pub bodies: Arc<BodyReader>,
    /// Finds the token of a request.
    pub bearer: fn(&HeaderMap, &Query) -> Option<String>,
}

/// A checked request.
pub(crate) struct Call {
    pub service: Arc<Service>,
    pub caller: Caller,
    pub query: Query,
    pub body: HeldBody,
    /// The `Idempotency-Key`, if any.
    pub key: Option<String>,
    names: Vec<(String, String)>,
    slot: Option<Slot>,
}

impl Door {
    /// A handler that runs `run` under the name `verb` (a fixed word: it labels metrics).
    pub fn on<F, Fut>(&self, verb: &'static str, run: F) -> impl Handler + use<F, Fut>
    where
        F: Fn(Call) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Reply, Refusal>> + Send + 'static,
    {
        let door = self.clone();
        move |names: Result<RawPathParams, RawPathParamsRejection>, request: Request<Body>| {
            let (door, run) = (door.clone(), run.clone());
            Box::pin(async move {
                let started = Instant::now();
                let result = match door.call(names, request).await {
                    Ok(call) => run(call).await,
                    Err(refusal) => Err(refusal),
                };
                door.answer(verb, started, result)
            }) as Answer
        }
    }

    /// The response to `result`, counted.
    fn answer(
        &self,
        verb: &'static str,
        started: Instant,
        result: Result<Reply, Refusal>,
    ) -> Response {
        let response = match result {
            Ok(reply) => reply.into_response(),
            Err(refusal) => refuse(self.kind, verb, &refusal),
        };
        self.metrics.answered(self.kind, verb, response.status().as_u16(), started.elapsed());
        response
    }

    /// The answer where there is no route, or no such verb.
    pub fn refusing(&self, verb: &'static str, refusal: fn() -> Refusal) -> impl Handler0 + use<> {
        let door = self.clone();
        move || std::future::ready(door.answer(verb, Instant::now(), Err(refusal())))
    }

    async fn call(
        &self,
        names: Result<RawPathParams, RawPathParamsRejection>,
        request: Request<Body>,
    ) -> Result<Call, Refusal> {
        let names = match &names {
            Ok(names) => {
                names.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
            }
            Err(_) => return Err(Refusal::Bad("The path is not UTF-8".into())),
        };
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or(""))?;
        let token = (self.bearer)(&parts.headers, &query);
        let caller = self.service.authenticate(token.as_deref()).await?;
        let key = idempotency_key(&parts.headers)?;
        let body = self.bodies.read(&parts.headers, body).await?;
        let slot = parts.extensions.get::<Slot>().cloned();
        Ok(Call { service: self.service.clone(), caller, query, body, key, names, slot })
    }
}

/// A boxed response to come.
pub(crate) type Answer = std::pin::Pin<Box<dyn Future<Output = Response> + Send>>;

/// What `Door::on` gives: an axum handler.
pub(crate) trait Handler:
    Fn(Result<RawPathParams, RawPathParamsRejection>, Request<Body>) -> Answer
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> Handler for T where
    T: Fn(Result<RawPathParams, RawPathParamsRejection>, Request<Body>) -> Answer
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What `Door::refusing` gives.
pub(crate) trait Handler0:
    Fn() -> std::future::Ready<Response> + Clone + Send + Sync + 'static
{
}

impl<T> Handler0 for T where T: Fn() -> std::future::Ready<Response> + Clone + Send + Sync + 'static {}

impl Call {
    /// The value of a name in the route; the route has it.
    pub fn name(&self, name: &str) -> &str {
        let found = self.names.iter().find(|(known, _)| known == name);
        &found.expect("the route has this name").1
    }

    pub fn project(&self) -> ProjectId {
        ProjectId::new(self.name("project"))
    }

    pub fn queue(&self) -> QueueName {
        QueueName::new(self.name("queue"))
    }

    /// The message the path names. What is no id is the id of no message.
    pub fn message(&self) -> MessageId {
        self.name("message").parse().unwrap_or(NO_MESSAGE)
    }

    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Keeps `undo` until the answer is written; dropped with the connection before that, it
    /// gives the messages back.
    pub fn guard(&self, undo: Option<Undo>) {
        match (&self.slot, undo) {
            (Some(slot), Some(undo)) => slot.hold(undo),
            // Without a connection to watch (a router called directly) the answer counts as read.
            (None, Some(undo)) => undo.delivered(),
            (_, None) => (),
        }
    }

    /// `Stale` when the query says `stale=true`.
    pub fn freshness(&self) -> Freshness {
        match self.query.get("stale") {
            Some("true" | "1") => Freshness::Stale,
            Some(_) | None => Freshness::Current,
        }
    }
}

/// The key that makes a request safe to send again; empty is none.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok("") => Ok(None),
        Ok(key) => Ok(Some(key.to_owned())),
        Err(_) => Err(Refusal::Bad("Idempotency-Key must be printable ASCII".into())),
    }
}

/// The query's pairs, decoded; unknown names are for nobody.
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// `+` is a space here, unlike in a path. What is not UTF-8 is refused, as in a path.
    pub fn parse(query: &str) -> Result<Query, Refusal> {
        if percent_encoding::percent_decode_str(query).decode_utf8().is_err() {
            return Err(Refusal::Bad("The query is not UTF-8".into()));
        }
        let pairs = form_urlencoded::parse(query.as_bytes());
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Ok(Query { pairs })
    }

    /// The first value of `name`; an empty one is not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// A whole number of 1..=`max`; 0 and "not given" take `default`.
    pub fn number(&self, name: &str, default: u32, max: u32) -> Result<u32, Refusal> {
        let Some(text) = self.get(name) else { return Ok(default) };
        match text.parse::<u32>() {
            Ok(0) => Ok(default),
            Ok(number) if number <= max => Ok(number),
            Ok(_) | Err(_) => {
                Err(Refusal::Bad(format!("{name} is {text:.32}; it must be 1 to {max}")))
            }
        }
    }
}
