//! What must be refused, and must leave nothing behind.

use bessemer_gateway::HttpOptions;
use bessemer_model::{Failure, NotDone, Quota};
use serde_json::json;

use crate::client::Server;

#[tokio::test]
async fn malformed_json_and_wrong_types_are_400_with_a_reason() {
    let server = Server::start().await;
    server.iron("PUT", "/q", "").await;
    for (method, rest, body) in [
        ("PUT", "/new", "{"),
        ("PUT", "/new", "[]"),
        ("PUT", "/new", "null"),
        ("PUT", "/new", "x"),
        ("PUT", "/new", r#"{"queue":"x"}"#),
        ("PUT", "/new", r#"{"queue":{"message_timeout":"60"}}"#),
        ("PUT", "/new", r#"{"queue":{"message_timeout":-1}}"#),
        ("PUT", "/new", r#"{"queue":{"message_timeout":1.5}}"#),
        ("PUT", "/new", r#"{"queue":{"message_timeout":86401}}"#),
        ("PUT", "/new", r#"{"queue":{"message_expiration":2592001}}"#),
        ("PUT", "/new", r#"{"queue":{"message_timeout":18446744073709551616}}"#),
        ("PUT", "/new", r#"{"queue":{"message_timeout":18446744073709551615}}"#),
        ("POST", "/new/messages", ""),
        ("POST", "/new/messages", "{}"),
        ("POST", "/new/messages", r#"{"messages":null}"#),
        ("POST", "/new/messages", r#"{"messages":{}}"#),
        ("POST", "/new/messages", r#"{"messages":[{}]}"#),
        ("POST", "/new/messages", r#"{"messages":[[]]}"#),
        ("POST", "/new/messages", r#"{"messages":["a"]}"#),
        ("POST", "/new/messages", r#"{"messages":[{"body":null}]}"#),
        ("POST", "/new/messages", r#"{"messages":[{"body":5}]}"#),
        ("POST", "/new/messages", r#"{"messages":[{"body":{}}]}"#),
        ("POST", "/new/messages", r#"{"messages":[{"body":"a","delay":604801}]}"#),
        ("POST", "/new/messages", r#"{"messages":[{"body":"a","delay":-1}]}"#),
        ("POST", "/new/messages", r#"{"messages":[{"body":"\ud800"}]}"#),
        ("POST", "/q/reservations", r#"{"n":101}"#),
        ("POST", "/q/reservations", r#"{"n":99999999999}"#),
        ("POST", "/q/reservations", r#"{"n":"1"}"#),
        ("POST", "/q/reservations", r#"{"n":true}"#),
        ("POST", "/q/reservations", r#"{"timeout":86401}"#),
        ("POST", "/q/reservations", r#"{"delete":"yes"}"#),
        ("POST", "/q/reservations", r#"{"wait":31}"#),
        ("POST", "/q/reservations", r#"{"wait":-1}"#),
        ("DELETE", "/q/messages/1", r#"{"reservation_id":5}"#),
    ] {
        let answer = server.iron(method, rest, body).await;
        assert_eq!(answer.status, 400, "{method} {rest} {body}: {answer:?}");
        assert!(!answer.msg().is_empty());
    }
    assert_eq!(server.iron("GET", "/new", "").await.status, 404, "nothing was made");
}

#[tokio::test]
async fn deep_json_is_refused_or_ignored_and_breaks_nothing() {
    let server = Server::start().await;
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let known = format!(r#"{{"queue":{{"push":{}}}}}"#, deep(100_000));
    assert_eq!(server.iron("PUT", "/q", &known).await.status, 400);
    let unknown = format!(r#"{{"oauth":{}}}"#, deep(100_000));
    assert!([200, 400].contains(&server.iron("PUT", "/q", &unknown).await.status));
    assert_eq!(server.iron("PUT", "/q", "{}").await.status, 200, "the server lives");
}

#[tokio::test]
async fn names_that_are_too_long_or_no_text_are_refused() {
    let server = Server::start().await;
    assert_eq!(server.iron("PUT", &format!("/{}", "n".repeat(255)), "").await.status, 200);
    let long = server.iron("PUT", &format!("/{}", "n".repeat(256)), "").await;
    assert_eq!(long.status, 400);
    assert!(long.msg().contains("256 bytes"), "{long:?}");
    assert_eq!(server.iron("PUT", "/", "").await.status, 404, "no name, no queue");
    assert_eq!(server.iron("PUT", "/%FF%FE", "").await.status, 400);
    assert_eq!(server.iron("PUT", "/%C3%A9", "").await.status, 200);
    let body = json!({"queue": {"dead_letter": {"queue_name": "n".repeat(256)}}}).to_string();
    assert_eq!(server.iron("PUT", "/q", &body).await.status, 400);
}

#[tokio::test]
async fn bytes_that_are_no_utf8_are_refused() {
    let server = Server::start().await;
    for (path, body) in
        [("messages", &b"{\"messages\":[{\"body\":\"\xff\"}]}"[..]), ("webhook", b"\xff")]
    {
        let head = format!(
            "POST /3/projects/p/queues/q/{path}?oauth=the+operator's+token HTTP/1.1\r\n\
             Host: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = server.raw(&[head.as_bytes(), body].concat()).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    assert_eq!(server.iron("GET", "/q", "").await.status, 404);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_with_and_without_a_length() {
    let server = Server::start().await;
    let body = format!(r#"{{"messages":[{{"body":"{}"}}]}}"#, "x".repeat(256 << 10));
    let answer = server.iron("POST", "/q/messages", &body).await;
    assert_eq!(answer.status, 413);
    assert!(answer.msg().contains("262144 bytes"), "{answer:?}");
    let mut chunked =
        "POST /3/projects/p/queues/q/messages?oauth=the+operator's+token HTTP/1.1\r\n\
        Host: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_owned();
    for _ in 0..300 {
        chunked.push_str(&format!("400\r\n{}\r\n", "x".repeat(1024)));
    }
    chunked.push_str("0\r\n\r\n");
    assert_eq!(server.raw(chunked.as_bytes()).await.status, 413);
    let largest = format!(r#"{{"messages":[{{"body":"{}"}}]}}"#, "x".repeat((256 << 10) - 27));
    assert!(largest.len() <= 256 << 10);
    assert_eq!(server.iron("POST", "/q/messages", &largest).await.status, 201);
}

#[tokio::test]
async fn a_hundred_thousand_tiny_messages_are_refused_whole() {
    let options = HttpOptions { request_bytes_max: 4 << 20, ..HttpOptions::default() };
    let server = Server::with(options, Quota::default()).await;
    let body =
        |count: usize| format!(r#"{{"messages":[{}]}}"#, vec![r#"{"body":""}"#; count].join(","));
    let answer = server.iron("POST", "/q/messages", &body(100_000)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.msg().contains("1000"), "the bound is told: {answer:?}");
    assert_eq!(server.iron("GET", "/q", "").await.status, 404);
    assert_eq!(server.iron("POST", "/q/messages", &body(1000)).await.status, 201);
    assert_eq!(server.iron("POST", "/q/messages", &body(1001)).await.status, 400);
    assert_eq!(server.size("q").await, 1000);
}

#[tokio::test]
async fn a_full_quota_is_403_and_deletes_go_on() {
    let server =
        Server::with(HttpOptions::default(), Quota { messages_max: 1, ..Quota::default() }).await;
    let id = server.post("q", "a").await;
    let full = server.iron("POST", "/q/messages", r#"{"messages":[{"body":"b"}]}"#).await;
    assert_eq!(full.status, 403);
    assert!(full.msg().contains("limit of 1 messages"), "{full:?}");
    assert_eq!(server.iron("DELETE", &format!("/q/messages/{id}"), "").await.status, 200);
    server.post("q", "b").await;
}

#[tokio::test]
async fn not_done_is_503_and_unknown_is_500() {
    let server = Server::start().await;
    for why in [NotDone::NoLeader, NotDone::Overloaded, NotDone::DiskFull, NotDone::ShuttingDown] {
        server.world.node.fail_next(Failure::NotDone(why));
        let answer = server.iron("PUT", "/q", "").await;
        assert_eq!(answer.status, 503, "{why:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(answer.msg().contains("not taken"), "{answer:?}");
    }
    server.world.node.fail_next(Failure::Unknown);
    let answer = server.iron("PUT", "/q", "").await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("retry-after"), None);
    assert!(answer.msg().contains("unknown"), "{answer:?}");
}

#[tokio::test]
async fn a_malformed_key_is_refused() {
    let server = Server::start().await;
    let path = "/3/projects/p/queues/q";
    let long = "k".repeat(256);
    let answer = server.call_with("PUT", path, &[("Idempotency-Key", &long)], "").await;
    assert_eq!(answer.status, 400);
    let answer = server.call_with("PUT", path, &[("Idempotency-Key", "\u{e9}")], "").await;
    assert_eq!(answer.status, 400);
    let answer = server.call_with("PUT", path, &[("Idempotency-Key", "")], "").await;
    assert_eq!(answer.status, 200, "empty is none");
}
