//! `/v1`: the native JSON API.

use std::sync::atomic::Ordering;

use bessemer_model::{NodeId, Quota};
use bessemer_seam::consensus::MembershipChange;
use serde_json::{Value, json};

use crate::client::{Answer, Server};

/// Checks a problem document and gives its code.
pub fn problem(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    let code = problem["code"].as_str().expect("a code").to_owned();
    assert_eq!(problem["type"], format!("errors/{code}"));
    assert_eq!(problem["status"], status);
    assert!(problem["title"].is_string());
    assert!(!problem["detail"].as_str().expect("a detail").is_empty());
    code
}

async fn v1(server: &Server, method: &str, rest: &str, body: Value) -> Answer {
    server.v1(method, rest, &body.to_string()).await
}

#[tokio::test]
async fn a_project_from_creation_to_deletion() {
    let server = Server::start().await;
    let body = json!({"name": "shop", "quota": {"queues_max": 1}}).to_string();
    let created = server.call("POST", "/v1/projects", &body).await;
    assert_eq!(created.status, 201, "{created:?}");
    let id = created.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(id.len(), 24);
    assert_eq!(created.json()["quota"]["queues_max"], 1);
    let defaults = Quota::default();
    assert_eq!(created.json()["quota"]["bytes_max"], defaults.bytes_max);

    let path = format!("/v1/projects/{id}");
    let made = server.call("PUT", &format!("{path}/queues/a"), "").await;
    assert_eq!(made.json()["created"], true);
    let full = server.call("PUT", &format!("{path}/queues/b"), "").await;
    assert_eq!(problem(&full, 403), "OverQuota");
    let raised = server.call("PATCH", &path, r#"{"quota":{"queues_max":2}}"#).await;
    assert_eq!(raised.json()["quota"]["queues_max"], 2);
    assert_eq!(server.call("PUT", &format!("{path}/queues/b"), "").await.status, 200);

    let shown = server.call("GET", &path, "").await;
    assert_eq!(shown.json()["name"], "shop");
    assert_eq!(shown.json()["usage"]["queues"], 2);
    let listed = server.call("GET", "/v1/projects", "").await;
    let projects = listed.json()["projects"].as_array().expect("a list").clone();
    assert!(projects.contains(&json!({"id": id, "name": "shop"})), "{listed:?}");

    assert_eq!(server.call("DELETE", &path, "").await.status, 200);
    assert_eq!(problem(&server.call("GET", &path, "").await, 404), "ProjectMissing");
    assert_eq!(problem(&server.call("DELETE", &path, "").await, 404), "ProjectMissing");
}

#[tokio::test]
async fn a_project_is_made_under_a_given_id() {
    let server = Server::start().await;
    let create = async |id: &str, name: &str| {
        let body = json!({"id": id, "name": name}).to_string();
        server.call("POST", "/v1/projects", &body).await
    };
    // As Alpakka's tests have them, and the longest.
    for id in ["-1923456", "a", &"p".repeat(64)] {
        let created = create(id, "given").await;
        assert_eq!((created.status, &created.json()["id"]), (201, &json!(id)), "{created:?}");
        let path = format!("/3/projects/{id}/queues/q");
        assert_eq!(server.call("PUT", &path, "").await.status, 200);
        assert_eq!(problem(&create(id, "again").await, 409), "ProjectExists");
        assert_eq!(server.call("GET", &path, "").await.status, 200, "the queue is still there");
    }
    for id in ["", &"p".repeat(65)] {
        assert_eq!(problem(&create(id, "given").await, 400), "LengthOutOfRange");
    }
    let body = r#"{"id":"keyed","name":"given"}"#;
    for _ in 0..2 {
        let key = [("Idempotency-Key", "k")];
        let created = server.call_with("POST", "/v1/projects", &key, body).await;
        assert_eq!((created.status, &created.json()["id"]), (201, &json!("keyed")));
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_bounds_its_bearer() {
    let server = Server::start().await;
    let created = v1(&server, "POST", "/tokens", json!({"role": "member", "name": "ci"})).await;
    assert_eq!(created.status, 201, "{created:?}");
    let token = created.json()["token"].as_str().expect("shown").to_owned();
    let id = created.json()["id"].as_str().expect("an id").to_owned();
    assert!(token.starts_with(&format!("bsm_{id}_")), "{token}");
    let listed = server.v1("GET", "/tokens", "").await;
    let expected = json!({"tokens": [{"id": id, "role": "member", "name": "ci"}]});
    assert_eq!(listed.json(), expected, "without the secret");

    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let as_member = async |method: &str, path: &str, body: &str| {
        server.call_with(method, &format!("/v1/projects/{path}"), &headers, body).await
    };
    assert_eq!(as_member("PUT", "p/queues/q", "").await.status, 200);
    assert_eq!(problem(&as_member("DELETE", "p/queues/q", "").await, 403), "Forbidden");
    assert_eq!(problem(&as_member("GET", "other/queues/q", "").await, 403), "Forbidden");
    let body = r#"{"role":"owner"}"#;
    assert_eq!(problem(&as_member("POST", "p/tokens", body).await, 403), "Forbidden");

    assert_eq!(server.v1("DELETE", &format!("/tokens/{id}"), "").await.status, 200);
    let after = as_member("GET", "p/queues/q", "").await;
    assert_eq!(problem(&after, 401), "Unauthorized");
    assert_eq!(after.header("www-authenticate"), Some("Bearer"));
    let again = server.v1("DELETE", &format!("/tokens/{id}"), "").await;
    assert_eq!(problem(&again, 404), "TokenMissing");
    let query =
        server.raw(b"GET /v1/projects?oauth=the+operator's+token HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(problem(&query.await, 401), "Unauthorized", "no token in an address");
}

#[tokio::test]
async fn queue_settings_are_merged_and_dead_letters_removed_by_null() {
    let server = Server::start().await;
    let body = json!({"message_timeout_ms": 1500, "dead_letter": {"queue": "dlq"}});
    let put = v1(&server, "PUT", "/queues/q", body).await;
    assert_eq!(
        put.json(),
        json!({"name": "q", "message_timeout_ms": 1500, "message_expiration_ms": 604_800_000,
            "dead_letter": {"queue": "dlq", "max_reservations": 10}, "created": true})
    );
    let put = v1(&server, "PUT", "/queues/q", json!({"dead_letter": null})).await;
    assert_eq!(put.json()["message_timeout_ms"], 1500);
    assert_eq!(put.json()["created"], false);
    assert!(put.json().get("dead_letter").is_none());
    let seconds = server.iron("GET", "/q", "").await;
    assert_eq!(seconds.json()["queue"]["message_timeout"], 2, "rounded up, never to nothing");
    let got = server.v1("GET", "/queues/q?stale=true", "").await;
    assert_eq!(got.header("bessemer-stale"), Some("true"));
    assert_eq!(
        got.json(),
        json!({"name": "q", "message_timeout_ms": 1500, "message_expiration_ms": 604_800_000,
            "size": 0, "reserved": 0, "delayed": 0, "total": 0})
    );
    assert_eq!(server.v1("GET", "/queues/q", "").await.header("bessemer-stale"), None);
    let listed = server.v1("GET", "/queues?prefix=q", "").await;
    assert_eq!(listed.json(), json!({"queues": [{"name": "q"}]}));
    let odd = v1(&server, "PUT", "/queues/q", json!({"message_timeout": 60})).await;
    assert_eq!(problem(&odd, 400), "RequestMalformed");
    let odd = v1(&server, "PUT", "/queues/q", json!({"message_timeout_ms": 0})).await;
    assert_eq!(problem(&odd, 400), "TimeOutOfRange");
}

#[tokio::test]
async fn messages_with_keys_delays_and_any_bytes() {
    let server = Server::start().await;
    let body = json!({"messages": [
        {"body": "a1", "ordering_key": "a"},
        {"body": "a2", "ordering_key": "a"},
        {"body_base64": "//4=", "delay_ms": 500},
        {"body": "brief", "expiration_ms": 1000, "delay_ms": 0}]});
    let posted = v1(&server, "POST", "/queues/q/messages", body).await;
    assert_eq!(posted.status, 201, "{posted:?}");
    let ids = posted.json()["ids"].clone();
    let peeked = server.v1("GET", "/queues/q/messages?count=10", "").await;
    let expected = json!({"messages": [
        {"id": ids[0], "body": "a1", "reserved_count": 0},
        {"id": ids[3], "body": "brief", "reserved_count": 0}]});
    assert_eq!(peeked.json(), expected);
    server.world.node.pass(2000);

    let reserved = v1(&server, "POST", "/queues/q/reservations", json!({"count": 10})).await;
    let messages = reserved.json()["messages"].as_array().expect("a list").clone();
    assert_eq!(messages.len(), 2, "one of the key, one of any bytes; the brief one is gone");
    assert_eq!(messages[1]["body_base64"], "//4=");
    assert!(messages[1].get("body").is_none());
    let acks: Vec<Value> = messages
        .iter()
        .map(|message| json!({"id": message["id"], "reservation_id": message["reservation_id"]}))
        .collect();
    let acked = v1(&server, "POST", "/queues/q/acks", json!({"messages": acks})).await;
    assert_eq!(acked.json(), json!({"deleted": 2}));
    let again = v1(&server, "POST", "/queues/q/acks", json!({"messages": acks})).await;
    assert_eq!(problem(&again, 404), "MessageMissing");

    let next = v1(&server, "POST", "/queues/q/reservations", json!({"timeout_ms": 5000})).await;
    let message = next.json()["messages"][0].clone();
    assert_eq!(message["body"], "a2", "the next of the key");
    let id = message["id"].as_str().expect("an id");
    let touch = format!("/queues/q/messages/{id}/touch");
    let body = json!({"reservation_id": message["reservation_id"], "timeout_ms": 5000});
    let touched = v1(&server, "POST", &touch, body).await;
    let body = json!({"reservation_id": touched.json()["reservation_id"], "delay_ms": 0});
    let release = format!("/queues/q/messages/{id}/release");
    assert_eq!(v1(&server, "POST", &release, body.clone()).await.status, 200);
    assert_eq!(problem(&v1(&server, "POST", &release, body).await, 403), "ReservationStale");
    let got = server.v1("GET", &format!("/queues/q/messages/{id}"), "").await;
    assert_eq!(got.json(), json!({"id": id, "body": "a2", "reserved_count": 2}));
    assert_eq!(server.v1("POST", "/queues/q/clear", "").await.status, 200);
    let got = server.v1("GET", &format!("/queues/q/messages/{id}"), "").await;
    assert_eq!(problem(&got, 404), "MessageMissing");
}

#[tokio::test]
async fn a_transaction_is_applied_whole_or_not_at_all() {
    let server = Server::start().await;
    let id = server.post("in", "work").await;
    let (_, reservation) = server.reserve("in", "{}").await;
    let with = |reservation: &str| {
        json!({"commands": [
            {"post": {"queue": "out", "messages": [{"body": "result"}]}},
            {"put_queue": {"queue": "log", "settings": {"message_timeout_ms": 2000}}},
            {"ack": {"queue": "in", "messages": [{"id": id, "reservation_id": reservation}]}}]})
    };
    let stale = v1(&server, "POST", "/transactions", with(&"0".repeat(32))).await;
    assert_eq!(problem(&stale, 403), "ReservationStale");
    assert_eq!(server.iron("GET", "/out", "").await.status, 404, "nothing was applied");
    let done = v1(&server, "POST", "/transactions", with(&reservation)).await;
    assert_eq!(done.status, 200, "{done:?}");
    let outcomes = done.json()["outcomes"].clone();
    assert_eq!(outcomes[0]["post"]["ids"].as_array().expect("ids").len(), 1);
    assert_eq!(outcomes[1]["put_queue"]["message_timeout_ms"], 2000);
    assert_eq!(outcomes[2]["ack"], json!({"deleted": 1}));
    assert_eq!((server.size("in").await, server.size("out").await), (0, 1));

    let commands = json!({"commands": [
        {"reserve": {"queue": "out"}}, {"clear": {"queue": "out"}}, {"delete_queue": {"queue": "log"}}]});
    let done = v1(&server, "POST", "/transactions", commands).await;
    assert_eq!(done.json()["outcomes"][0]["reserve"]["messages"][0]["body"], "result");
    assert_eq!(server.iron("GET", "/log", "").await.status, 404);
    let none = v1(&server, "POST", "/transactions", json!({"commands": []})).await;
    assert_eq!(problem(&none, 400), "CountOutOfRange");
    let odd = v1(&server, "POST", "/transactions", json!({"commands": [{"tick": {}}]})).await;
    assert_eq!(problem(&odd, 400), "RequestMalformed");
    let no_name = json!({"commands": [{"post": {"queue": "", "messages": [{"body": "a"}]}}]});
    let no_name = v1(&server, "POST", "/transactions", no_name).await;
    assert_eq!(problem(&no_name, 400), "LengthOutOfRange");
}

#[tokio::test]
async fn keys_make_every_change_safe_to_repeat() {
    let server = Server::start().await;
    let keyed = async |method: &str, rest: &str, body: &str, key: &str| {
        let path = format!("/v1/projects/p{rest}");
        server.call_with(method, &path, &[("Idempotency-Key", key)], body).await
    };
    let post = r#"{"messages":[{"body":"a"}]}"#;
    let first = keyed("POST", "/queues/q/messages", post, "post").await;
    assert_eq!(keyed("POST", "/queues/q/messages", post, "post").await.json(), first.json());
    let other = keyed("POST", "/queues/q/messages", r#"{"messages":[{"body":"b"}]}"#, "post").await;
    assert_eq!(problem(&other, 422), "RetryKeyMismatch");

    let reserve = keyed("POST", "/queues/q/reservations", "{}", "reserve").await;
    let again = keyed("POST", "/queues/q/reservations", "{}", "reserve").await;
    assert_eq!(again.json(), reserve.json(), "the same message under the same reservation");
    let message = &reserve.json()["messages"][0];
    let ack = json!({"messages": [
        {"id": message["id"], "reservation_id": message["reservation_id"]}]})
    .to_string();
    let first = keyed("POST", "/queues/q/acks", &ack, "ack").await;
    assert_eq!(first.json(), json!({"deleted": 1}));
    assert_eq!(keyed("POST", "/queues/q/acks", &ack, "ack").await.json(), json!({"deleted": 1}));
    let gone = keyed("POST", "/queues/q/reservations", "{}", "reserve").await;
    assert!(gone.json()["messages"][0].get("body").is_none(), "the body went with the message");

    let token = r#"{"role":"reader"}"#;
    let first = keyed("POST", "/tokens", token, "token").await;
    assert_eq!(keyed("POST", "/tokens", token, "token").await.json(), first.json());
    assert_eq!(keyed("DELETE", "/queues/q", "", "delete").await.status, 200);
    assert_eq!(keyed("DELETE", "/queues/q", "", "delete").await.status, 200, "as the first time");
    assert_eq!(server.v1("DELETE", "/queues/q", "").await.status, 404);
}

#[tokio::test]
async fn the_cluster_is_shown_and_changed_for_its_operator() {
    let server = Server::start().await;
    let status = server.call("GET", "/v1/cluster", "").await.json();
    assert_eq!(
        (&status["me"], &status["leader"], &status["term"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(status["chain"].as_str().expect("hex").len(), 64);
    let expected = json!([{"node": 1, "peer_address": "127.0.0.1:1",
        "http_address": "127.0.0.1:2", "voter": true, "matched": status["applied"]}]);
    assert_eq!(status["members"], expected);

    let join = r#"{"node":2,"peer_address":"h:1","http_address":"h:2"}"#;
    assert_eq!(server.call("POST", "/v1/cluster/join", join).await.status, 200);
    let replace = r#"{"old":2,"new":3,"peer_address":"h:3","http_address":"h:4"}"#;
    assert_eq!(server.call("POST", "/v1/cluster/replace", replace).await.status, 200);
    assert_eq!(server.call("POST", "/v1/cluster/transfer", r#"{"node":3}"#).await.status, 200);
    let last = server.call("POST", "/v1/cluster/leave", r#"{"node":1}"#).await;
    assert_eq!(problem(&last, 409), "MembershipUnchanged");
    let (peer_address, http_address) = ("h:1".to_owned(), "h:2".to_owned());
    let asked = server.world.node.membership();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[0], MembershipChange::Join { node: NodeId(2), peer_address, http_address });
    let odd = server.call("POST", "/v1/cluster/leave", "{}").await;
    assert_eq!(problem(&odd, 400), "RequestMalformed");
    server.world.node.no_leader.store(true, Ordering::SeqCst);
    let early = server.call("POST", "/v1/cluster/transfer", r#"{"node":3}"#).await;
    assert_eq!(problem(&early, 503), "NoLeader");
    assert_eq!(early.header("retry-after"), Some("1"));
    assert_eq!(server.world.node.membership().len(), 4, "nothing more was asked");
}

#[tokio::test]
async fn bad_requests_are_problems_too() {
    let server = Server::start().await;
    for (method, path, body, status, code) in [
        ("GET", "/v1", "", 404, "RouteMissing"),
        ("GET", "/v1/odd", "", 404, "RouteMissing"),
        ("PATCH", "/v1/projects/p/queues/q", "", 405, "MethodNotAllowed"),
        ("PUT", "/v1/projects/p/queues/q", "{", 400, "RequestMalformed"),
        ("PUT", "/v1/projects/p/queues/q", "[]", 400, "RequestMalformed"),
        ("PUT", "/v1/projects/p/queues/%FF", "", 400, "RequestMalformed"),
        ("PUT", "/v1/projects/none/queues/q", "", 404, "ProjectMissing"),
        ("POST", "/v1/projects/p/queues/q/messages", "", 400, "RequestMalformed"),
        (
            "POST",
            "/v1/projects/p/queues/q/messages",
            r#"{"messages":[{}]}"#,
            400,
            "RequestMalformed",
        ),
        (
            "POST",
            "/v1/projects/p/queues/q/messages",
            r#"{"messages":[{"body_base64":"?"}]}"#,
            400,
            "RequestMalformed",
        ),
        ("POST", "/v1/projects/p/queues/none/reservations", "", 404, "QueueMissing"),
        ("POST", "/v1/projects/p/queues/q/reservations", r#"{"count":0}"#, 400, "CountOutOfRange"),
        (
            "POST",
            "/v1/projects/p/queues/q/reservations",
            r#"{"wait_ms":30001}"#,
            400,
            "WaitOutOfRange",
        ),
        ("POST", "/v1/projects/p/tokens", r#"{"role":"king"}"#, 400, "RequestMalformed"),
        ("GET", "/v1/projects?per_page=101", "", 400, "RequestMalformed"),
    ] {
        let answer = server.call(method, path, body).await;
        assert_eq!(problem(&answer, status), code, "{method} {path} {body}");
    }
    let big = format!(r#"{{"messages":[{{"body":"{}"}}]}}"#, "x".repeat(300_000));
    let answer = server.v1("POST", "/queues/q/messages", &big).await;
    assert_eq!(problem(&answer, 413), "RequestTooLarge");
}
