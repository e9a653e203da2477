//! Idempotency keys across verbs, queues, doors and projects, and over their quota.

use bessemer_gateway::HttpOptions;
use bessemer_model::Quota;
use bessemer_model::limits::RETRY_KEY_LIFE;
use serde_json::json;

use crate::client::{Answer, Server, request};
use crate::native::problem;

const POST: &str = r#"{"messages":[{"body":"a"}]}"#;

async fn keyed(server: &Server, key: &str, method: &str, path: &str, body: &str) -> Answer {
    server.call_with(method, path, &[("Idempotency-Key", key)], body).await
}

async fn refused(server: &Server, status: u16, method: &str, path: &str, body: &str) -> Answer {
    let bytes = request(method, path, &[("Idempotency-Key", "k")], body);
    server.refuses_raw(status, &bytes).await
}

/// The key stands for one request: the verb, the queue and all it asks for, at whatever door.
#[tokio::test]
async fn a_key_is_good_for_one_request_alone() {
    let server = Server::start().await;
    let (iron, native) = ("/3/projects/p/queues", "/v1/projects/p");
    let first = keyed(&server, "k", "POST", &format!("{iron}/q/messages"), POST).await;
    assert_eq!(first.status, 201);
    for (method, rest, body) in [
        ("POST", "/other/messages", POST),
        ("POST", "/q/messages", r#"{"messages":[{"body":"a","delay":1}]}"#),
        ("POST", "/q/webhook", "b"),
        ("PUT", "/q", "{}"),
        ("DELETE", "/q", ""),
        ("DELETE", "/q/messages", "{}"),
        ("POST", "/q/reservations", "{}"),
    ] {
        refused(&server, 400, method, &format!("{iron}{rest}"), body).await;
    }
    let transaction = r#"{"commands":[{"post":{"queue":"q","messages":[{"body":"a"}]}}]}"#;
    for (method, rest, body) in [
        ("POST", "/queues/other/messages", POST),
        ("POST", "/queues/q/messages", r#"{"messages":[{"body":"a","ordering_key":"o"}]}"#),
        ("POST", "/queues/q/clear", ""),
        ("POST", "/queues/q/reservations", "{}"),
        ("POST", "/transactions", transaction),
        ("POST", "/tokens", r#"{"role":"reader"}"#),
    ] {
        let answer = refused(&server, 422, method, &format!("{native}{rest}"), body).await;
        assert_eq!(problem(&answer, 422), "RetryKeyMismatch", "{rest}");
    }
    let same = keyed(&server, "k", "POST", &format!("{native}/queues/q/messages"), POST).await;
    assert_eq!(same.json()["ids"], first.json()["ids"], "the same request by the other door");
    assert_eq!(server.size("q").await, 1);
    server.world.node.create_project("other", Quota::default());
    let theirs = keyed(&server, "k", "POST", "/3/projects/other/queues/q/messages", POST).await;
    assert_eq!(theirs.status, 201, "keys of projects are apart");
    server.world.node.pass(RETRY_KEY_LIFE.0);
    let late = keyed(&server, "k", "PUT", &format!("{iron}/q"), "{}").await;
    assert_eq!(late.status, 200, "a day later the key is free");
}

#[tokio::test]
async fn a_repeated_transaction_is_applied_once() {
    let server = Server::start().await;
    let body = json!({"commands": [
        {"post": {"queue": "q", "messages": [{"body": "a"}, {"body": "b"}]}},
        {"reserve": {"queue": "q"}}]})
    .to_string();
    let path = "/v1/projects/p/transactions";
    let first = keyed(&server, "k", "POST", path, &body).await;
    let again = keyed(&server, "k", "POST", path, &body).await;
    assert_eq!((first.status, first.json()), (200, again.json()));
    assert_eq!(server.size("q").await, 2);
}

/// A key over the quota is 429, but 403 where the API knows no other limit; known keys and
/// requests without one go on.
#[tokio::test]
async fn keys_over_their_quota_are_refused_and_all_else_goes_on() {
    let quota = Quota { retry_keys_max: 1, ..Quota::default() };
    let server = Server::with(HttpOptions::default(), quota).await;
    let (iron, native) = ("/3/projects/p/queues/q/messages", "/v1/projects/p/queues/q/messages");
    let first = keyed(&server, "first", "POST", iron, POST).await;
    assert_eq!(first.status, 201);
    let full = refused(&server, 403, "POST", iron, POST).await;
    assert!(full.msg().contains("limit of 1"), "{full:?}");
    assert_eq!(problem(&refused(&server, 429, "POST", native, POST).await, 429), "OverQuota");
    let again = keyed(&server, "first", "POST", iron, POST).await;
    assert_eq!(again.json(), first.json(), "a known key");
    assert_eq!(server.call("POST", iron, POST).await.status, 201, "no key");
}
