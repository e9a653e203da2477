//! Asks a cluster: the next node when one does not answer, one exit code per kind of bad news.
//!
//! Not here: paths and bodies of requests (`commands`).
//! Invariants: a request that changes something carries an idempotency key, so that asking the
//! next node can never do it twice; a request is sent to each node at most once.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::Value;

use super::connection::{Call, CallError, Connection, Reply};
use crate::exit::{Exit, ended};
use crate::world::tokio_runtime::random_hex;

/// Longer than the node's own `request_wait_ms_max`, so that the node answers first.
const PATIENCE: Duration = Duration::from_secs(15);

/// A sequence of requests by one caller.
pub struct Session {
    nodes: Vec<Connection>,
    /// Index of the node that answered last.
    current: usize,
    authorization: String,
    patience: Duration,
}

impl Session {
    /// `addresses` are `host:port`, at least one.
    pub fn new(addresses: &[String], token: &str) -> Session {
        assert!(!addresses.is_empty(), "a target has at least one node");
        Session {
            nodes: addresses.iter().map(Connection::new).collect(),
            current: 0,
            authorization: format!("Bearer {token}"),
            patience: PATIENCE,
        }
    }

    /// Adds `extra` to the longest wait for an answer, for requests that wait on the node.
    pub fn wait_longer(&mut self, extra: Duration) {
        self.patience = PATIENCE + extra;
    }

    /// Sends the request and gives the answer's JSON (`null` when it is empty), or the error with
    /// its exit code.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let reply = self.reply(method, path, body).await?;
        if reply.status.is_success() {
            return Ok(serde_json::from_slice(&reply.body).unwrap_or(Value::Null));
        }
        Err(refusal(&reply))
    }

    /// The same, with the answer as it came.
    pub async fn reply(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Reply> {
        let call = Call {
            retry_key: (method != Method::GET).then(random_hex::<16>),
            method,
            path: path.to_owned(),
            authorization: Some(self.authorization.clone()),
            body: body.map(|body| Bytes::from(body.to_string())).unwrap_or_default(),
            patience: self.patience,
        };
        let mut lost = None;
        let mut last = String::new();
        for step in 0..self.nodes.len() {
            let index = (self.current + step) % self.nodes.len();
            match self.nodes[index].call(&call).await {
                // Certainly not done here; another node may do it, or has it done already.
                Ok(reply)
                    if not_done(&reply) && (step + 1 < self.nodes.len() || lost.is_some()) =>
                {
                    last = refusal(&reply).to_string();
                }
                Ok(reply) => {
                    self.current = index;
                    return Ok(reply);
                }
                Err(CallError::NotSent(why)) => last = why,
                Err(CallError::Lost(why)) => lost = Some(why),
            }
        }
        Err(match lost {
            Some(why) => {
                ended(Exit::Unknown, format!("{why}; the request may or may not have been applied"))
            }
            None => ended(Exit::Unreachable, format!("no node answers: {last}")),
        })
    }
}

fn not_done(reply: &Reply) -> bool {
    reply.status == StatusCode::SERVICE_UNAVAILABLE
}

/// The error an answer with a status other than 2xx stands for.
pub fn refusal(reply: &Reply) -> anyhow::Error {
    let exit = match reply.status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Exit::Usage,
        StatusCode::UNAUTHORIZED => Exit::Unauthorized,
        StatusCode::FORBIDDEN => Exit::Forbidden,
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Exit::NotDone,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT => Exit::Unknown,
        _ => Exit::Failure,
    };
    ended(exit, message(reply))
}

/// The sentence for the person who asked: `detail` of a problem document, or `msg`.
fn message(reply: &Reply) -> String {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    let text = ["detail", "msg", "title"].iter().find_map(|key| body.get(key)?.as_str());
    match text {
        Some(text) => text.to_owned(),
        None => format!("the node answered {} without a reason", reply.status),
    }
}

/// `text` as one segment of a path: everything but letters, digits and `-._~` is escaped.
pub fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_escaped() {
        assert_eq!(segment("a-b_c.d~1"), "a-b_c.d~1");
        assert_eq!(segment("a/b +ü?"), "a%2Fb%20%2B%C3%BC%3F");
    }

    #[test]
    fn refusals_carry_the_reason_and_a_code() {
        for (status, body, exit, text) in [
            (404, r#"{"msg":"Queue not found"}"#, Exit::NotFound, "Queue not found"),
            (
                403,
                r#"{"title":"x","detail":"Reservation timed out"}"#,
                Exit::Forbidden,
                "Reservation timed out",
            ),
            (503, "", Exit::NotDone, "the node answered 503 Service Unavailable without a reason"),
            (500, r#"{"msg":"unknown"}"#, Exit::Unknown, "unknown"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = refusal(&Reply { status, body: Bytes::from(body) });
            assert_eq!(crate::exit::code_of(&error), exit);
            assert_eq!(error.to_string(), text);
        }
    }

    #[tokio::test]
    async fn a_dead_node_is_passed_over_and_none_is_an_error() {
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = dead.local_addr().unwrap().to_string();
        drop(dead);
        let mut session = Session::new(&[address], "t");
        let error = session.ask(Method::GET, "/", None).await.unwrap_err();
        assert_eq!(crate::exit::code_of(&error), Exit::Unreachable);
    }
}
