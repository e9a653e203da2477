//! Refusals of both doors, one row each: a status, and nothing changed.
//!
//! `Server::refuses` compares all that can be seen of the project before and after each row.

use std::sync::atomic::Ordering;

use bessemer_gateway::HttpOptions;
use bessemer_harness::ADMIN;
use bessemer_model::{Quota, Role};
use bessemer_service::{Caller, NewToken};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::client::{Server, read_answer, request};
use crate::native::problem;

const Q: &str = "/3/projects/p/queues/q";
const V1: &str = "/v1/projects/p";
const FORGED: &str = "0123456789abcdef0123456789abcdef";
/// One more than the largest number of 64 bits.
const TOO_LARGE: &str = "18446744073709551616";

/// A server with one reserved and one free message in `q`; the reserved one's id and reservation.
async fn held() -> (Server, String, String) {
    let server = Server::start().await;
    server.post("q", "held").await;
    let (id, reservation) = server.reserve("q", "{}").await;
    server.post("q", "free").await;
    (server, id, reservation)
}

/// The comparison behind every row below can fail.
#[tokio::test]
async fn every_change_is_seen() {
    let server = Server::start().await;
    let mut before = server.seen().await;
    for (method, rest, body) in [
        ("PUT", "/q", "{}"),
        ("PUT", "/q", r#"{"queue":{"message_timeout":30}}"#),
        ("POST", "/q/messages", r#"{"messages":[{"body":"a"},{"body":"b","delay":9}]}"#),
        ("POST", "/q/reservations", "{}"),
        ("DELETE", "/q/messages", "{}"),
        ("DELETE", "/q", ""),
    ] {
        assert!(server.iron(method, rest, body).await.status < 300);
        let after = server.seen().await;
        assert_ne!(after, before, "{method} {rest}");
        before = after;
    }
}

#[tokio::test]
async fn a_query_that_is_no_text_is_refused() {
    let (server, ..) = held().await;
    for query in ["prefix=%FF", "previous=%C3", "%ED%A0%80=1", "oauth=%FF"] {
        server.refuses(400, "GET", &format!("/3/projects/p/queues?{query}"), "").await;
        server.refuses(400, "GET", &format!("{V1}/queues?{query}"), "").await;
    }
    let listed = server.iron("GET", "?prefix=%71&x=%EF%BF%BD&y=%zz", "").await;
    assert_eq!(listed.json(), json!({"queues": [{"name": "q"}]}), "what is text is taken");
}
