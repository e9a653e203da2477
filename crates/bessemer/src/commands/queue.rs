//! `bessemer queue`: messages and queues from the shell.
//!
//! Not here: what the verbs mean (README, `docs/`). Bodies are text, or bytes as base64.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::output::{field, rows, show, table};
use crate::client::access::Access;
use crate::client::session::{Session, segment};
use crate::exit::{Exit, ended};

#[derive(Debug, clap::Subcommand)]
pub enum QueueCommand {
    /// Appends messages; makes the queue if it is missing. Shows their ids.
    Post(PostArgs),
    /// Reserves messages, oldest first.
    Reserve(ReserveArgs),
    /// Acknowledges a reserved message, or deletes a free one.
    Ack {
        queue: String,
        message: String,
        /// The reservation it is held under.
        #[arg(long)]
        reservation_id: Option<String>,
    },
    /// Lengthens a reservation; shows its new id.
    Touch {
        queue: String,
        message: String,
        #[arg(long)]
        reservation_id: String,
        /// Seconds from now; the queue's setting if not given.
        #[arg(long)]
        timeout_secs: Option<u64>,
    },
    /// Gives a reserved message back, to its old place.
    Release {
        queue: String,
        message: String,
        #[arg(long)]
        reservation_id: String,
        /// Seconds until it can be reserved again.
        #[arg(long)]
        delay_secs: Option<u64>,
    },
    /// Shows messages that could be reserved now, without reserving them.
    Peek {
        queue: String,
        #[arg(short = 'n', long, default_value_t = 1)]
        count: u32,
    },
    /// Shows one message, whatever its state.
    Get { queue: String, message: String },
    /// Shows a queue: settings, size.
    Info { queue: String },
    /// Shows the queues of the project by name, a page at a time.
    List {
        /// Only names that begin so.
        #[arg(long)]
        prefix: Option<String>,
        /// Begins after this name.
        #[arg(long)]
        previous: Option<String>,
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
        per_page: Option<u32>,
    },
    /// Makes a queue, or changes the given settings of it.
    Create(CreateArgs),
    /// Removes every message of a queue, reserved and delayed ones too.
    Clear { queue: String },
    /// Removes a queue and its messages.
    Delete { queue: String },
}

#[derive(Debug, clap::Args)]
pub struct PostArgs {
    queue: String,
    /// One message each; `-` reads one from standard input.
    #[arg(required_unless_present = "file")]
    body: Vec<String>,
    /// Posts each line of a file as a message; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    file: Option<PathBuf>,
    /// Cannot be reserved before this much time has passed.
    #[arg(long)]
    delay_ms: Option<u64>,
    /// Life of the messages; the queue's setting if not given.
    #[arg(long)]
    expiration_ms: Option<u64>,
    /// Each waits until all older messages of the same key are gone.
    #[arg(long)]
    ordering_key: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct ReserveArgs {
    queue: String,
    /// How many at most, 1 to 100.
    #[arg(short = 'n', long, default_value_t = 1)]
    count: u32,
    /// Seconds they are held; the queue's setting if not given.
    #[arg(long)]
    timeout_secs: Option<u64>,
    /// Seconds to wait for a message when there is none.
    #[arg(long)]
    wait_secs: Option<u64>,
    /// Removes them at once: they are lost if this program is.
    #[arg(long)]
    delete: bool,
}

#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    queue: String,
    /// Seconds a reservation lasts by default.
    #[arg(long)]
    message_timeout_secs: Option<u64>,
    /// Seconds a message lives by default.
    #[arg(long)]
    message_expiration_secs: Option<u64>,
    /// Takes the messages that were reserved too often.
    #[arg(long)]
    dead_letter_queue: Option<String>,
    /// How often is too often.
    #[arg(long)]
    max_reservations: Option<u32>,
}

/// Messages, and bytes of bodies, in one request; more are posted in several.
const POST_COUNT: usize = 100;
const POST_BYTES: usize = 64 << 10;

pub async fn run(command: &QueueCommand, access: &Access) -> anyhow::Result<()> {
    let target = access.target()?;
    let base = format!("/v1/projects/{}/queues", segment(target.project()?));
    let mut asking = Asking {
        session: Session::new(&target.addresses, target.token()?),
        base,
        json: access.json,
    };
    match command {
        QueueCommand::Post(args) => asking.post(args).await,
        QueueCommand::Reserve(args) => asking.reserve(args).await,
        QueueCommand::Ack { queue, message, reservation_id } => {
            let mut handle = Map::from_iter([("id".to_owned(), json!(message))]);
            put(&mut handle, "reservation_id", reservation_id);
            let body = json!({ "messages": [handle] });
            asking.send(queue, "/acks", body, |_| "acknowledged".to_owned()).await
        }
        QueueCommand::Touch { queue, message, reservation_id, timeout_secs } => {
            let mut body = held(reservation_id);
            put_ms(&mut body, "timeout_ms", *timeout_secs);
            let rest = format!("/messages/{}/touch", segment(message));
            asking.send(queue, &rest, body.into(), |a| field(a, "reservation_id")).await
        }
        QueueCommand::Release { queue, message, reservation_id, delay_secs } => {
            let mut body = held(reservation_id);
            put_ms(&mut body, "delay_ms", *delay_secs);
            let rest = format!("/messages/{}/release", segment(message));
            asking.send(queue, &rest, body.into(), |_| "released".to_owned()).await
        }
        QueueCommand::Peek { queue, count } => {
            let rest = format!("{}/messages?count={count}", segment(queue));
            asking
                .get(&rest, |a| {
                    table(&["id", "reserved_count", "body", "body_base64"], rows(a, "messages"))
                })
                .await
        }
        QueueCommand::Get { queue, message } => {
            let rest = format!("{}/messages/{}", segment(queue), segment(message));
            let body = |answer: &Value| match answer.get("body_base64") {
                None => field(answer, "body"),
                Some(_) => field(answer, "body_base64"),
            };
            asking.get(&rest, body).await
        }
        QueueCommand::Info { queue } => {
            asking.get(&segment(queue), |queue| format!("{queue:#}")).await
        }
        QueueCommand::List { prefix, previous, per_page } => {
            asking.list(prefix.as_deref(), previous.as_deref(), *per_page).await
        }
        QueueCommand::Create(args) => asking.create(args).await,
        QueueCommand::Clear { queue } => {
            asking.send(queue, "/clear", json!({}), |_| "cleared".to_owned()).await
        }
        QueueCommand::Delete { queue } => {
            let path = format!("{}/{}", asking.base, segment(queue));
            let answer = asking.session.ask(Method::DELETE, &path, None).await?;
            show(asking.json, &answer, |_| "deleted".to_owned());
            Ok(())
        }
    }
}

/// A session on the queues of one project.
struct Asking {
    session: Session,
    /// Path of the project's queues.
    base: String,
    json: bool,
}

impl Asking {
    async fn send(
        &mut self,
        queue: &str,
        rest: &str,
        body: Value,
        text: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<()> {
        let path = format!("{}/{}{rest}", self.base, segment(queue));
        let answer = self.session.ask(Method::POST, &path, Some(&body)).await?;
        show(self.json, &answer, text);
        Ok(())
    }

    async fn get(&mut self, rest: &str, text: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
        let path = format!("{}/{rest}", self.base);
        let answer = self.session.ask(Method::GET, &path, None).await?;
        show(self.json, &answer, text);
        Ok(())
    }

    async fn post(&mut self, args: &PostArgs) -> anyhow::Result<()> {
        let bodies = bodies(args)?;
        let path = format!("{}/{}/messages", self.base, segment(&args.queue));
        let mut ids = Vec::new();
        for chunk in chunks(&bodies) {
            let messages: Vec<Value> = chunk.iter().map(|body| message(body, args)).collect();
            let body = json!({ "messages": messages });
            let posted = self.session.ask(Method::POST, &path, Some(&body)).await;
            let answer = posted.with_context(|| {
                format!("{} of {} messages were posted before", ids.len(), bodies.len())
            })?;
            ids.extend(rows(&answer, "ids").iter().cloned());
        }
        show(self.json, &json!({ "ids": ids }), |answer| {
            let ids = rows(answer, "ids").iter().filter_map(Value::as_str);
            ids.collect::<Vec<_>>().join("\n")
        });
        Ok(())
    }

    async fn reserve(&mut self, args: &ReserveArgs) -> anyhow::Result<()> {
        let mut body = Map::from_iter([("count".to_owned(), json!(args.count))]);
        put_ms(&mut body, "timeout_ms", args.timeout_secs);
        put_ms(&mut body, "wait_ms", args.wait_secs);
        if args.delete {
            body.insert("delete".to_owned(), json!(true));
        }
        self.session.wait_longer(Duration::from_secs(args.wait_secs.unwrap_or(0)));
        self.send(&args.queue, "/reservations", body.into(), |answer| {
            let columns = ["id", "reservation_id", "reserved_count", "body", "body_base64"];
            table(&columns, rows(answer, "messages"))
        })
        .await
    }

    async fn list(
        &mut self,
        prefix: Option<&str>,
        previous: Option<&str>,
        per_page: Option<u32>,
    ) -> anyhow::Result<()> {
        let mut query = Vec::new();
        for (name, value) in [("prefix", prefix), ("previous", previous)] {
            if let Some(value) = value {
                query.push(format!("{name}={}", segment(value)));
            }
        }
        if let Some(per_page) = per_page {
            query.push(format!("per_page={per_page}"));
        }
        let path = format!("{}?{}", self.base, query.join("&"));
        let answer = self.session.ask(Method::GET, &path, None).await?;
        show(self.json, &answer, |answer| table(&["name"], rows(answer, "queues")));
        Ok(())
    }

    async fn create(&mut self, args: &CreateArgs) -> anyhow::Result<()> {
        let mut body = Map::new();
        put_ms(&mut body, "message_timeout_ms", args.message_timeout_secs);
        put_ms(&mut body, "message_expiration_ms", args.message_expiration_secs);
        let mut dead_letter = Map::new();
        put(&mut dead_letter, "queue", &args.dead_letter_queue);
        put(&mut dead_letter, "max_reservations", &args.max_reservations);
        if !dead_letter.is_empty() {
            body.insert("dead_letter".to_owned(), dead_letter.into());
        }
        let path = format!("{}/{}", self.base, segment(&args.queue));
        let answer = self.session.ask(Method::PUT, &path, Some(&body.into())).await?;
        show(self.json, &answer, |queue| format!("{queue:#}"));
        Ok(())
    }
}

fn put<T: serde::Serialize>(into: &mut Map<String, Value>, key: &str, value: &Option<T>) {
    if let Some(value) = value {
        into.insert(key.to_owned(), json!(value));
    }
}

fn put_ms(into: &mut Map<String, Value>, key: &str, seconds: Option<u64>) {
    put(into, key, &seconds.map(|seconds| seconds.saturating_mul(1000)));
}

fn held(reservation_id: &str) -> Map<String, Value> {
    Map::from_iter([("reservation_id".to_owned(), json!(reservation_id))])
}

fn message(body: &str, args: &PostArgs) -> Value {
    let mut message = Map::from_iter([("body".to_owned(), json!(body))]);
    put(&mut message, "delay_ms", &args.delay_ms);
    put(&mut message, "expiration_ms", &args.expiration_ms);
    put(&mut message, "ordering_key", &args.ordering_key);
    message.into()
}

/// Runs of `bodies` that fit into one request each; a larger body is alone.
fn chunks(bodies: &[String]) -> Vec<&[String]> {
    let mut runs = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (i, body) in bodies.iter().enumerate() {
        if i > from && (i - from == POST_COUNT || bytes + body.len() > POST_BYTES) {
            runs.push(&bodies[from..i]);
            (from, bytes) = (i, 0);
        }
        bytes += body.len();
    }
    runs.push(&bodies[from..]);
    runs
}

/// The bodies to post, in order.
fn bodies(args: &PostArgs) -> anyhow::Result<Vec<String>> {
    match &args.file {
        Some(path) => {
            let text = if path.as_os_str() == "-" {
                stdin()?
            } else {
                as_text(std::fs::read_to_string(path), &path.display().to_string())?
            };
            Ok(text.lines().map(str::to_owned).collect())
        }
        None if args.body == ["-"] => Ok(vec![stdin()?]),
        None => Ok(args.body.clone()),
    }
}

fn stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text).map(|_| text);
    as_text(read, "standard input")
}

fn as_text(read: std::io::Result<String>, what: &str) -> anyhow::Result<String> {
    read.map_err(|e| ended(Exit::Usage, format!("{what} cannot be read as text: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_all_in_order_and_within_bounds() {
        let bodies: Vec<String> =
            (0..450).map(|i| "x".repeat(if i == 300 { 3 * POST_BYTES } else { i * 7 })).collect();
        let runs = chunks(&bodies);
        assert_eq!(runs.concat(), bodies);
        for run in runs {
            assert!(!run.is_empty() && run.len() <= POST_COUNT);
            let bytes: usize = run.iter().map(String::len).sum();
            assert!(bytes <= POST_BYTES || run.len() == 1);
        }
        assert_eq!(chunks(&[]), vec![&[] as &[String]]);
    }
}
