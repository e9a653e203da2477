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
async fn wrong_types_and_numbers_leave_a_reservation_alone() {
    let (server, id, reservation) = held().await;
    let max = u64::MAX.to_string();
    for (verb, field) in [("touch", "timeout"), ("release", "delay")] {
        let iron = format!("{Q}/messages/{id}/{verb}");
        let native = format!("{V1}/queues/q/messages/{id}/{verb}");
        for body in ["{", "[]", "x", "null", "5"] {
            server.refuses(400, "POST", &iron, body).await;
            server.refuses(400, "POST", &native, body).await;
        }
        for wrong in ["5", "[]", "{}", "true"] {
            let body = format!(r#"{{"reservation_id":{wrong}}}"#);
            server.refuses(400, "POST", &iron, &body).await;
            server.refuses(400, "POST", &native, &body).await;
        }
        for wrong in [r#""x""#, "-1", "1.5", "[]", "{}", "true", TOO_LARGE, &max] {
            let body =
                |unit| format!(r#"{{"reservation_id":"{reservation}","{field}{unit}":{wrong}}}"#);
            server.refuses(400, "POST", &iron, &body("")).await;
            server.refuses(400, "POST", &native, &body("_ms")).await;
        }
    }
    let body = json!({"reservation_id": reservation}).to_string();
    let released = server.iron("POST", &format!("/q/messages/{id}/release"), &body).await;
    assert_eq!(released.status, 200, "it was held all the time: {released:?}");
}

#[tokio::test]
async fn a_malformed_delete_never_clears_and_odd_numbers_are_refused() {
    let (server, id, reservation) = held().await;
    for body in
        ["{", "[]", "x", "null", "5", r#"{"ids":"#, r#"{"ids":[}"#, r#"{"ids":{}}"#, "{} {}"]
    {
        server.refuses(400, "DELETE", &format!("{Q}/messages"), body).await;
        server.refuses(400, "DELETE", &format!("{Q}/messages/{id}"), body).await;
        server.refuses(400, "POST", &format!("{V1}/queues/q/acks"), body).await;
    }
    for n in ["-1", "101", "1.5", "x", "4294967297", TOO_LARGE, "%C3%A9"] {
        server.refuses(400, "GET", &format!("{Q}/messages?n={n}"), "").await;
        server.refuses(400, "GET", &format!("{V1}/queues/q/messages?count={n}"), "").await;
        server.refuses(400, "GET", &format!("/3/projects/p/queues?per_page={n}"), "").await;
    }
    for (field, value) in
        [("n", TOO_LARGE), ("n", "-1"), ("timeout", TOO_LARGE), ("wait", TOO_LARGE)]
    {
        let body = format!(r#"{{"{field}":{value}}}"#);
        server.refuses(400, "POST", &format!("{Q}/reservations"), &body).await;
    }
    let body = format!(r#"{{"messages":[{{"body":"a","delay":{TOO_LARGE}}}]}}"#);
    server.refuses(400, "POST", &format!("{Q}/messages"), &body).await;
    let body = json!({"reservation_id": reservation}).to_string();
    assert_eq!(server.iron("DELETE", &format!("/q/messages/{id}"), &body).await.status, 200);
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
async fn names_of_no_bytes_and_of_too_many_are_refused_everywhere() {
    let (server, ..) = held().await;
    let (queue, project, token) = ("n".repeat(256), "n".repeat(65), "n".repeat(65));
    let messages = r#"{"messages":[{"body":"a"}]}"#;
    let transaction = |queue: &str| {
        json!({"commands": [
            {"post": {"queue": "q", "messages": [{"body": "a"}]}},
            {"post": {"queue": queue, "messages": [{"body": "a"}]}}]})
        .to_string()
    };
    for (status, method, path, body) in [
        (400, "POST", "/3/projects/p/queues//messages".to_owned(), messages),
        (400, "POST", "/3/projects/p/queues//webhook".to_owned(), "a"),
        (404, "POST", "/3/projects//queues/q/messages".to_owned(), messages),
        (400, "POST", format!("{V1}/queues//messages"), messages),
        (404, "PUT", "/v1/projects//queues/q".to_owned(), "{}"),
        (404, "DELETE", format!("{V1}/tokens/"), ""),
        (400, "POST", format!("/3/projects/p/queues/{queue}/messages"), messages),
        (400, "POST", format!("/3/projects/p/queues/{queue}/webhook"), "a"),
        (400, "PUT", format!("{V1}/queues/{queue}"), "{}"),
        (400, "POST", format!("{V1}/queues/{queue}/messages"), messages),
        (400, "POST", format!("{V1}/transactions"), &transaction("")),
        (400, "POST", format!("{V1}/transactions"), &transaction(&queue)),
        // No project and no token has such a name.
        (404, "POST", format!("/3/projects/{project}/queues/q/messages"), messages),
        (404, "PUT", format!("/v1/projects/{project}/queues/q"), "{}"),
        (404, "DELETE", format!("{V1}/tokens/{token}"), ""),
    ] {
        server.refuses(status, method, &path, body).await;
    }
    for query in ["previous", "prefix"] {
        let path = format!("/3/projects/p/queues?{query}={queue}");
        assert_eq!(server.call("GET", &path, "").await.status, 200, "no queue is there: {query}");
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

/// A small limit refuses them as bytes, a large one as too many; either way before the log.
#[tokio::test]
async fn a_hundred_thousand_tiny_entries_are_refused_at_every_limit() {
    let many = |entry: &str| vec![entry; 100_000].join(",");
    let messages = format!(r#"{{"messages":[{}]}}"#, many(r#"{"body":""}"#));
    let commands = format!(r#"{{"commands":[{}]}}"#, many(r#"{"clear":{"queue":"q"}}"#));
    let one = format!(r#"{{"commands":[{{"post":{{"queue":"q",{}}}]}}"#, &messages[1..]);
    let ids = format!(r#"{{"ids":[{}]}}"#, many("1"));
    for (request_bytes_max, status) in [(256 << 10, 413), (8 << 20, 400)] {
        let options = HttpOptions { request_bytes_max, ..HttpOptions::default() };
        let server = Server::with(options, Quota::default()).await;
        server.post("q", "a").await;
        let proposals = server.world.node.proposals.load(Ordering::SeqCst);
        for (method, path, body) in [
            ("POST", format!("{Q}/messages"), &messages),
            ("POST", format!("{V1}/queues/q/messages"), &messages),
            ("POST", format!("{V1}/transactions"), &commands),
            ("POST", format!("{V1}/transactions"), &one),
            ("DELETE", format!("{Q}/messages"), &ids),
        ] {
            // The ids alone are smaller than the smaller limit.
            let status = if body == &ids { 400 } else { status };
            server.refuses(status, method, &path, body).await;
        }
        assert_eq!(server.world.node.proposals.load(Ordering::SeqCst), proposals);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400_and_changes_nothing() {
    let (server, ..) = held().await;
    let head = format!("Host: x\r\nAuthorization: OAuth {ADMIN}\r\n");
    let chunk = "1d\r\n{\"messages\":[{\"body\":\"abc\"}]}\r\n";
    for (path, rest) in [
        ("messages", format!("Transfer-Encoding: chunked\r\n\r\n{chunk}")),
        ("messages", format!("Transfer-Encoding: chunked\r\n\r\n{}", &chunk[..9])),
        ("messages", format!("Transfer-Encoding: chunked\r\n\r\n{chunk}zz\r\n")),
        ("messages", format!("Content-Length: 30\r\n\r\n{}", &chunk[4..33])),
        ("webhook", "Content-Length: 2\r\n\r\na".to_owned()),
    ] {
        let before = server.seen().await;
        let mut stream = server.connect().await;
        let bytes = format!("POST {Q}/{path} HTTP/1.1\r\n{head}{rest}");
        stream.write_all(bytes.as_bytes()).await.expect("written");
        stream.shutdown().await.expect("half closed");
        let answer = read_answer(&mut stream).await.expect("an answer");
        assert_eq!(answer.status, 400, "{rest}: {answer:?}");
        assert!(answer.msg().contains("broke off"), "{answer:?}");
        assert_eq!(server.seen().await, before, "{rest}");
    }
}

/// Every verb of a project on both doors; `/3` in words, `/v1` with a code.
#[tokio::test]
async fn an_unknown_project_is_404_on_every_verb() {
    let server = Server::start().await;
    let post = r#"{"messages":[{"body":"a"}]}"#;
    let held = r#"{"reservation_id":"x"}"#;
    for (method, rest, body) in [
        ("GET", "", ""),
        ("PUT", "/q", "{}"),
        ("PUT", "/q", r#"{"queue":{"type":"unicast"}}"#),
        ("PATCH", "/q", "{}"),
        ("GET", "/q", ""),
        ("DELETE", "/q", ""),
        ("POST", "/q/messages", post),
        ("POST", "/q/webhook", "a"),
        ("GET", "/q/messages", ""),
        ("DELETE", "/q/messages", "{}"),
        ("DELETE", "/q/messages", r#"{"ids":["1"]}"#),
        ("POST", "/q/reservations", "{}"),
        ("POST", "/q/reservations", r#"{"wait":1}"#),
        ("GET", "/q/messages/1", ""),
        ("DELETE", "/q/messages/1", "{}"),
        ("POST", "/q/messages/1/touch", held),
        ("POST", "/q/messages/1/touch", "{}"),
        ("POST", "/q/messages/1/release", held),
    ] {
        let answer = server.call(method, &format!("/3/projects/none/queues{rest}"), body).await;
        assert_eq!(answer.status, 404, "{method} {rest}: {answer:?}");
        assert!(answer.msg().contains("Project none not found"), "{method} {rest}: {answer:?}");
    }
    for (method, rest, body) in [
        ("GET", "", ""),
        ("PATCH", "", r#"{"quota":{"queues_max":1}}"#),
        ("DELETE", "", ""),
        ("GET", "/tokens", ""),
        ("POST", "/tokens", r#"{"role":"owner"}"#),
        ("DELETE", "/tokens/0123456789abcdef", ""),
        ("POST", "/transactions", r#"{"commands":[{"clear":{"queue":"q"}}]}"#),
        ("GET", "/queues", ""),
        ("PUT", "/queues/q", "{}"),
        ("GET", "/queues/q", ""),
        ("DELETE", "/queues/q", ""),
        ("POST", "/queues/q/messages", post),
        ("GET", "/queues/q/messages", ""),
        ("GET", "/queues/q/messages/1", ""),
        ("POST", "/queues/q/messages/1/touch", held),
        ("POST", "/queues/q/messages/1/release", held),
        ("POST", "/queues/q/reservations", "{}"),
        ("POST", "/queues/q/reservations", r#"{"wait_ms":1000}"#),
        ("POST", "/queues/q/acks", r#"{"messages":[{"id":"1"}]}"#),
        ("POST", "/queues/q/clear", ""),
    ] {
        let answer = server.call(method, &format!("/v1/projects/none{rest}"), body).await;
        assert_eq!(problem(&answer, 404), "ProjectMissing", "{method} {rest}");
    }
    let listed = server.call("GET", "/v1/projects", "").await.json();
    assert_eq!(listed["projects"].as_array().expect("a list").len(), 1, "none was made");
}

/// Each wrong reservation against each verb that takes one.
#[tokio::test]
async fn a_reservation_of_another_message_time_or_project_is_403_everywhere() {
    let server = Server::start().await;
    let other = server.world.node.create_project("other", Quota::default());
    // The first message of a queue of that name in both.
    server.world.node.post(&other, "q", &["theirs"]);
    let path = "/3/projects/other/queues/q/reservations";
    let theirs = server.call("POST", path, "{}").await.json()["messages"][0].clone();
    server.post("q", "held").await;
    let (_, stale) = server.reserve("q", r#"{"timeout":1}"#).await;
    server.world.node.pass(1000);
    let (id, current) = server.reserve("q", "{}").await;
    server.post("q", "neighbor").await;
    let (_, foreign) = server.reserve("q", "{}").await;
    let free = server.post("q", "free").await;

    for reservation in [&stale, &foreign, FORGED, theirs["reservation_id"].as_str().expect("text")]
    {
        let body = json!({"reservation_id": reservation});
        let handles = json!([{"id": free}, {"id": id, "reservation_id": reservation}]);
        let of_command = json!({"queue": "q", "id": id, "reservation_id": reservation});
        let commands = |command: Value| {
            let before = json!({"post": {"queue": "new", "messages": [{"body": "a"}]}});
            json!({"commands": [before, command]})
        };
        for (method, path, body) in [
            ("DELETE", format!("{Q}/messages/{id}"), body.clone()),
            ("POST", format!("{Q}/messages/{id}/touch"), body.clone()),
            ("POST", format!("{Q}/messages/{id}/release"), body.clone()),
            ("DELETE", format!("{Q}/messages"), json!({"ids": handles})),
            ("POST", format!("{V1}/queues/q/messages/{id}/touch"), body.clone()),
            ("POST", format!("{V1}/queues/q/messages/{id}/release"), body),
            ("POST", format!("{V1}/queues/q/acks"), json!({"messages": handles})),
            (
                "POST",
                format!("{V1}/transactions"),
                commands(json!({"ack": {"queue": "q", "messages": handles}})),
            ),
            ("POST", format!("{V1}/transactions"), commands(json!({"touch": of_command}))),
            ("POST", format!("{V1}/transactions"), commands(json!({"release": of_command}))),
        ] {
            server.refuses(403, method, &path, &body.to_string()).await;
        }
    }
    let body = json!({"reservation_id": current}).to_string();
    assert_eq!(server.iron("DELETE", &format!("/q/messages/{id}"), &body).await.status, 200);
    let theirs_id = theirs["id"].as_str().expect("an id");
    let body = json!({"reservation_id": theirs["reservation_id"]}).to_string();
    server.refuses(404, "DELETE", &format!("{Q}/messages/{theirs_id}"), &body).await;
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

#[tokio::test]
async fn one_waiter_too_many_is_403_on_one_door_and_429_on_the_other() {
    let quota = Quota { waiters_max: 0, ..Quota::default() };
    let server = Server::with(HttpOptions::default(), quota).await;
    server.iron("PUT", "/q", "").await;
    let iron = server.refuses(403, "POST", &format!("{Q}/reservations"), r#"{"wait":1}"#).await;
    assert!(iron.msg().contains("limit of 0 waiting long polls"), "{iron:?}");
    let path = format!("{V1}/queues/q/reservations");
    let native = server.refuses(429, "POST", &path, r#"{"wait_ms":1000}"#).await;
    assert_eq!(problem(&native, 429), "TooManyWaiters");
    assert_eq!(server.iron("POST", "/q/reservations", "{}").await.status, 200, "without waiting");
}
