//! One client of the bench: post, reserve, delete, again.
//!
//! Not here: what the figures mean. Speaks the IronMQ door, since its users do.
//! Invariant: a cycle counts only when all three requests succeeded and it ended in the measured
//! time; what a failed cycle leaves behind, a later reserve of any client takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::report::{Figures, Step};
use crate::client::connection::{Call, CallError, Connection};
use crate::world::tokio_runtime::random_hex;

/// A client that was refused does not hammer.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// What a client does over and over.
pub struct Work {
    pub queue_path: String,
    pub token: String,
    pub batch: usize,
    pub body_bytes: usize,
    pub patience: Duration,
}

pub struct Client {
    nodes: Vec<String>,
    /// Index of the node it talks to; moves on when the connection fails.
    at: usize,
    connection: Connection,
    post: Call,
    reserve: Call,
    delete: Call,
    batch: usize,
    figures: Figures,
}

#[derive(Deserialize)]
struct Reserved {
    messages: Vec<ReservedMessage>,
}

#[derive(Deserialize)]
struct ReservedMessage {
    id: String,
    reservation_id: String,
}

impl Client {
    pub fn new(nodes: &[String], number: usize, work: &Work) -> Client {
        let at = number % nodes.len();
        let call = |method: Method, path: String, body: Bytes| Call {
            method,
            path,
            authorization: Some(format!("OAuth {}", work.token)),
            retry_key: None,
            body,
            patience: work.patience,
        };
        let messages = format!("{}/messages", work.queue_path);
        let reservations = format!("{}/reservations", work.queue_path);
        let wanted = format!(r#"{{"n":{},"timeout":60}}"#, work.batch);
        Client {
            nodes: nodes.to_vec(),
            at,
            connection: Connection::new(&nodes[at]),
            post: call(Method::POST, messages.clone(), posted(work.batch, work.body_bytes)),
            reserve: call(Method::POST, reservations, Bytes::from(wanted)),
            delete: call(Method::DELETE, messages, Bytes::new()),
            batch: work.batch,
            figures: Figures::new(),
        }
    }

    /// Works until `end`; counts what ends while `measuring`.
    pub async fn run(mut self, measuring: Arc<AtomicBool>, end: Instant) -> Figures {
        while Instant::now() < end {
            let counts = measuring.load(Ordering::Relaxed);
            match self.cycle(counts).await {
                Ok(messages) if Instant::now() <= end => {
                    if counts {
                        self.figures.cycle(messages, messages < self.batch);
                    }
                }
                // It ended too late to count.
                Ok(_) => {}
                Err(error) => {
                    if counts {
                        self.figures.error(error.class);
                    }
                    if error.move_on {
                        self.at = (self.at + 1) % self.nodes.len();
                        self.connection = Connection::new(&self.nodes[self.at]);
                    }
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
        self.figures
    }

    /// One cycle; gives the number of messages it deleted.
    async fn cycle(&mut self, counts: bool) -> Result<usize, StepError> {
        let post = self.post.clone();
        self.step(Step::Post, &post, counts).await?;
        let reserve = self.reserve.clone();
        let answer = self.step(Step::Reserve, &reserve, counts).await?;
        let reserved: Reserved = serde_json::from_slice(&answer)
            .map_err(|_| StepError { class: "answer not understood", move_on: false })?;
        if reserved.messages.is_empty() {
            return Ok(0);
        }
        let mut delete = self.delete.clone();
        delete.body = ids(&reserved.messages);
        self.step(Step::Delete, &delete, counts).await?;
        Ok(reserved.messages.len())
    }

    async fn step(&mut self, step: Step, call: &Call, counts: bool) -> Result<Bytes, StepError> {
        let begun = Instant::now();
        let answer = self.connection.call(call).await;
        match answer {
            Ok(reply) if reply.status.is_success() => {
                if counts {
                    self.figures.step(step, begun.elapsed());
                }
                Ok(reply.body)
            }
            Ok(reply) => Err(StepError { class: class(reply.status), move_on: false }),
            Err(CallError::NotSent(_)) => Err(StepError { class: "not sent", move_on: true }),
            Err(CallError::Lost(_)) => Err(StepError { class: "connection lost", move_on: true }),
        }
    }
}

struct StepError {
    class: &'static str,
    move_on: bool,
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        500 => "500 unknown",
        503 => "503 not done",
        400..=499 => "4xx refused",
        _ => "other status",
    }
}

/// A post of `batch` bodies that differ from client to client, so that nothing compresses away.
fn posted(batch: usize, body_bytes: usize) -> Bytes {
    let mut body = String::with_capacity(body_bytes + 64);
    while body.len() < body_bytes {
        body.push_str(&random_hex::<32>());
    }
    body.truncate(body_bytes);
    let message = format!(r#"{{"body":"{body}"}}"#);
    let messages = vec![message; batch].join(",");
    Bytes::from(format!(r#"{{"messages":[{messages}]}}"#))
}

fn ids(messages: &[ReservedMessage]) -> Bytes {
    let ids: Vec<String> = messages
        .iter()
        .map(|m| format!(r#"{{"id":"{}","reservation_id":"{}"}}"#, m.id, m.reservation_id))
        .collect();
    Bytes::from(format!(r#"{{"ids":[{}]}}"#, ids.join(",")))
}
