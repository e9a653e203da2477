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

/// Source: ironmq-v3.md 6.3, and 4.1 for the refusal.
#[tokio::test]
async fn push_headers_are_checked_and_dropped() {
    let server = Server::start().await;
    let many = |count: usize| -> Value { (0..count).map(|n| (format!("X-{n}"), "v")).collect() };
    let one = |name: &str, value: &str| json!({name: value});
    let path = format!("{Q}/messages");
    for refused in [
        many(6),
        one("", "v"),
        one(&"n".repeat(65), "v"),
        one("X", ""),
        one("X", &"v".repeat(1025)),
        one("Content-Type", "text/xml"),
        one("content-type", "text/xml"),
        one("User-Agent", "x"),
        one("Iron-Message-Id", "x"),
        one("Iron-Reservation-Id", "x"),
        one("Iron-Subscriber-Name", "x"),
        one("IRON-SUBSCRIBER-MESSAGE-URL", "x"),
        json!({"X": 5}),
        json!({"X": null}),
        json!(["X"]),
        json!("X: v"),
        json!(5),
    ] {
        let messages = json!([{"body": "a"}, {"body": "b", "push_headers": refused}]);
        let body = json!({"messages": messages}).to_string();
        server.refuses(400, "POST", &path, &body).await;
    }
    for taken in [
        json!(null),
        json!({}),
        json!([]),
        many(5),
        one(&"n".repeat(64), &"v".repeat(1024)),
        one("X-Content-Type", "v"),
    ] {
        let body = json!({"messages": [{"body": "a", "push_headers": taken}]}).to_string();
        assert_eq!(server.call("POST", &path, &body).await.status, 201, "{body}");
    }
    let peeked = server.iron("GET", "/q/messages", "").await;
    assert!(peeked.json()["messages"][0].get("push_headers").is_none());
}

#[tokio::test]
async fn a_post_of_nothing_makes_no_queue() {
    let server = Server::start().await;
    let answer = server.refuses(400, "POST", &format!("{Q}/messages"), r#"{"messages":[]}"#).await;
    assert!(answer.msg().contains("1 to 1000"), "{answer:?}");
    let path = format!("{V1}/queues/q/messages");
    let answer = server.refuses(400, "POST", &path, r#"{"messages":[]}"#).await;
    assert_eq!(problem(&answer, 400), "CountOutOfRange");
    let body = r#"{"commands":[{"post":{"queue":"q","messages":[]}}]}"#;
    let answer = server.refuses(400, "POST", &format!("{V1}/transactions"), body).await;
    assert_eq!(problem(&answer, 400), "CountOutOfRange");
}

/// A post by webhook takes any text, JSON or not, and refuses what this API could not show.
#[tokio::test]
async fn a_webhook_takes_text_and_nothing_else() {
    let server = Server::start().await;
    let path = format!("{Q}/webhook");
    for body in ["{", "[1,", "\u{0}", "caf\u{e9}"] {
        assert_eq!(server.call("POST", &path, body).await.status, 200, "{body}");
    }
    let shown = server.iron("GET", "/q/messages?n=10", "").await.json();
    let bodies: Vec<&Value> =
        shown["messages"].as_array().expect("a list").iter().map(|one| &one["body"]).collect();
    assert_eq!(bodies, ["{", "[1,", "\u{0}", "caf\u{e9}"]);
    assert_eq!(server.call("POST", &path, "").await.status, 200, "an empty one is a message, too");
    for bytes in [&b"\xff"[..], b"ab\xc3", b"\xed\xa0\x80"] {
        let mut sent = request("POST", &path, &[("Content-Length", &bytes.len().to_string())], "");
        let double = b"Content-Length: 0\r\n";
        let at = sent.windows(double.len()).position(|part| part == double).expect("a length");
        sent.drain(at..at + double.len());
        sent.extend_from_slice(bytes);
        let answer = server.refuses_raw(400, &sent).await;
        assert!(answer.msg().contains("body_base64"), "it says what to do: {answer:?}");
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

/// What is missing comes before what was not named, and the role before both.
#[tokio::test]
async fn touch_and_release_without_a_reservation_say_first_what_is_missing() {
    let (server, id, _) = held().await;
    let new = NewToken { name: "".into(), role: Role::Reader, expires_at: None };
    let project = &server.world.project;
    let reader = server.world.service.create_token(&Caller::Admin, project, new, None).await;
    let reader = format!("OAuth {}", reader.expect("minted").token);
    for verb in ["touch", "release"] {
        for (status, path) in [
            (404, format!("/3/projects/none/queues/q/messages/{id}/{verb}")),
            (404, format!("/3/projects/p/queues/none/messages/{id}/{verb}")),
            (404, format!("{Q}/messages/1999999999999999999/{verb}")),
            (404, format!("{Q}/messages/x/{verb}")),
            (400, format!("{Q}/messages/{id}/{verb}")),
        ] {
            for body in ["", "{}", r#"{"reservation_id":""}"#, r#"{"reservation_id":null}"#] {
                server.refuses(status, "POST", &path, body).await;
            }
        }
        let path = format!("{Q}/messages/{id}/{verb}");
        let as_reader = request("POST", &path, &[("Authorization", &reader)], "{}");
        server.refuses_raw(403, &as_reader).await;
    }
}
