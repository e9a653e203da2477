//! Queues of `/3`. Source: ironmq-v3.md sections 3 and 8.

use serde_json::json;

use crate::client::Server;

#[tokio::test]
async fn put_creates_with_defaults_and_merges_afterwards() {
    let server = Server::start().await;
    let created = server.iron("PUT", "/q", "").await;
    assert_eq!(created.status, 200);
    assert_eq!(
        created.json(),
        json!({"queue": {"project_id": "p", "name": "q", "type": "pull",
            "message_timeout": 60, "message_expiration": 604_800}})
    );
    let body = r#"{"queue":{"message_timeout":120}}"#;
    assert_eq!(server.iron("PUT", "/q", body).await.json()["queue"]["message_timeout"], 120);
    let body = r#"{"queue":{"message_expiration":3600}}"#;
    let merged = server.iron("PATCH", "/q", body).await;
    assert_eq!(merged.json()["queue"]["message_timeout"], 120, "what is not given stays");
    assert_eq!(merged.json()["queue"]["message_expiration"], 3600);
}

#[tokio::test]
async fn patch_on_a_missing_queue_creates_it() {
    let server = Server::start().await;
    assert_eq!(server.iron("PATCH", "/q", "{}").await.status, 200);
    assert_eq!(server.iron("GET", "/q", "").await.status, 200);
}

#[tokio::test]
async fn info_counts_reserved_and_delayed_messages() {
    let server = Server::start().await;
    let body = r#"{"messages":[{"body":"a"},{"body":"b"},{"body":"c","delay":60}]}"#;
    server.iron("POST", "/q/messages", body).await;
    server.reserve("q", "{}").await;
    let info = server.iron("GET", "/q", "").await;
    assert_eq!(info.status, 200);
    assert_eq!(info.json()["queue"]["size"], 3);
    assert_eq!(info.json()["queue"]["total_messages"], 3);
    assert!(info.json()["queue"].get("push").is_none());
}

#[tokio::test]
async fn a_missing_queue_is_404_with_the_exact_text() {
    let server = Server::start().await;
    for (method, rest, body) in [
        ("GET", "/q", "{}"),
        ("DELETE", "/q", "{}"),
        ("GET", "/q/messages", "{}"),
        ("DELETE", "/q/messages", "{}"),
        ("DELETE", "/q/messages", r#"{"ids":["1000000000000000001"]}"#),
        ("POST", "/q/reservations", "{}"),
        ("POST", "/q/reservations", r#"{"wait":1}"#),
        ("GET", "/q/messages/1000000000000000001", "{}"),
        ("DELETE", "/q/messages/1000000000000000001", "{}"),
        ("POST", "/q/messages/1000000000000000001/touch", "{}"),
        ("POST", "/q/messages/1000000000000000001/release", r#"{"reservation_id":"x"}"#),
    ] {
        let answer = server.iron(method, rest, body).await;
        assert_eq!(answer.status, 404, "{method} {rest}: {answer:?}");
        assert!(answer.head.starts_with("HTTP/1.1 404 Not Found\r\n"), "Go compares the phrase");
        assert_eq!(answer.json(), json!({"msg": "Queue not found"}));
    }
}

#[tokio::test]
async fn delete_says_deleted_with_a_full_stop() {
    let server = Server::start().await;
    server.iron("PUT", "/q", "").await;
    let answer = server.iron("DELETE", "/q", "").await;
    assert_eq!((answer.status, answer.msg().as_str()), (200, "Deleted."));
    assert_eq!(server.iron("DELETE", "/q", "").await.status, 404);
}

#[tokio::test]
async fn listing_pages_by_previous_and_prefix() {
    let server = Server::start().await;
    for name in ["a1", "a2", "b1", "B", "a%2Fx", "0"] {
        assert_eq!(server.iron("PUT", &format!("/{name}"), "").await.status, 200);
    }
    let names = async |query: &str| -> Vec<String> {
        let answer = server.iron("GET", query, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let list = answer.json()["queues"].as_array().expect("a list").clone();
        list.iter().map(|queue| queue["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names("").await, ["0", "B", "a/x", "a1", "a2", "b1"]);
    assert_eq!(names("?per_page=2").await, ["0", "B"]);
    assert_eq!(names("?per_page=2&previous=B").await, ["a/x", "a1"]);
    assert_eq!(names("?previous=a12").await, ["a2", "b1"], "previous need not exist");
    assert_eq!(names("?prefix=a").await, ["a/x", "a1", "a2"]);
    assert_eq!(names("?prefix=a&previous=a1").await, ["a2"]);
    assert_eq!(names("?prefix=z").await, Vec::<String>::new());
    assert_eq!(names("?previous=&prefix=&per_page=0&page=7").await.len(), 6);
    assert_eq!(names("?previous=0&per_page=30").await[0], "B", "as the iron CLI asks");
    assert_eq!(server.iron("GET", "?per_page=101", "").await.status, 400);
    assert_eq!(server.iron("GET", "?per_page=x", "").await.status, 400);
}

#[tokio::test]
async fn names_are_any_text_decoded_once() {
    let server = Server::start().await;
    for (path, name) in [
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a%252Fb", "a%2Fb"),
        ("a%2Fb", "a/b"),
        ("2014-01-01%2000:00:00%20+0000", "2014-01-01 00:00:00 +0000"),
        ("caf%C3%A9", "café"),
        ("x!*'();:@&=$,", "x!*'();:@&=$,"),
    ] {
        let answer = server.iron("PUT", &format!("/{path}"), "").await;
        assert_eq!(answer.json()["queue"]["name"], name, "{answer:?}");
    }
}

#[tokio::test]
async fn a_dead_letter_setting_is_made_changed_and_removed() {
    let server = Server::start().await;
    let put = async |setting: &str| {
        server.iron("PUT", "/q", &format!(r#"{{"queue":{{"dead_letter":{setting}}}}}"#)).await
    };
    assert_eq!(put(r#"{"max_reservations":3}"#).await.status, 400, "no queue was named yet");
    let made = put(r#"{"queue_name":"dlq"}"#).await;
    assert_eq!(
        made.json()["queue"]["dead_letter"],
        json!({"queue_name": "dlq", "max_reservations": 10})
    );
    let changed = put(r#"{"max_reservations":3}"#).await;
    assert_eq!(
        changed.json()["queue"]["dead_letter"],
        json!({"queue_name": "dlq", "max_reservations": 3})
    );
    let kept = put("null").await;
    assert_eq!(kept.json()["queue"]["dead_letter"]["max_reservations"], 3);
    assert_eq!(put(r#"{"max_reservations":1001}"#).await.status, 400);
    assert_eq!(put(r#"{"queue_name":"q"}"#).await.status, 400, "its own dead letters");
    // PHP sends an empty object as an empty list.
    for (queue, nothing) in [("q", "[]"), ("q", "{}"), ("new", "[]"), ("new", "{}")] {
        let body = format!(r#"{{"queue":{{"dead_letter":{nothing}}}}}"#);
        let before = server.seen().await;
        let answer = server.iron("PATCH", &format!("/{queue}"), &body).await;
        assert_eq!(answer.status, if queue == "q" { 200 } else { 400 }, "{queue} {nothing}");
        assert_eq!(server.seen().await, before, "nothing given, nothing changed");
    }
    let removed = put(r#"{"queue_name":""}"#).await;
    assert_eq!(removed.status, 200);
    assert!(removed.json()["queue"].get("dead_letter").is_none());
}

#[tokio::test]
async fn a_message_reserved_too_often_is_moved_with_its_count() {
    let server = Server::start().await;
    let setting = r#"{"queue":{"dead_letter":{"queue_name":"dlq","max_reservations":2}}}"#;
    server.iron("PUT", "/q", setting).await;
    let posted = server.post("q", "a").await;
    for _ in 0..2 {
        let (id, reservation) = server.reserve("q", "{}").await;
        let body = json!({"reservation_id": reservation}).to_string();
        let released = server.iron("POST", &format!("/q/messages/{id}/release"), &body).await;
        assert_eq!(released.status, 200);
    }
    let peeked = server.iron("GET", "/q/messages", "").await;
    assert_eq!(peeked.json()["messages"][0]["reserved_count"], 2, "peek moves nothing");
    let none = server.iron("POST", "/q/reservations", "{}").await;
    assert_eq!(none.json(), json!({"messages": []}));
    let dead = server.iron("GET", "/dlq/messages", "").await;
    assert_eq!(dead.json()["messages"], json!([{"id": posted, "body": "a", "reserved_count": 2}]));
}

#[tokio::test]
async fn push_and_alerts_are_refused_in_words_and_types_are_fixed() {
    let server = Server::start().await;
    for body in [
        r#"{"queue":{"type":"unicast"}}"#,
        r#"{"queue":{"type":"multicast","push":{"subscribers":[{"name":"a","url":"http://x"}]}}}"#,
        r#"{"queue":{"push":{"subscribers":[{"name":"a","url":"http://x"}]}}}"#,
    ] {
        let answer = server.iron("PUT", "/new", body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.msg().contains("Push queues are not supported"), "{answer:?}");
    }
    assert_eq!(server.iron("GET", "/new", "").await.status, 404, "nothing was created");
    server.iron("PUT", "/q", r#"{"queue":{"type":"pull","push":null,"alerts":[]}}"#).await;
    let changed = server.iron("PUT", "/q", r#"{"queue":{"type":"multicast"}}"#).await;
    assert_eq!(changed.status, 403);
    assert_eq!(server.iron("PUT", "/q", r#"{"queue":{"type":"odd"}}"#).await.status, 400);
    assert_eq!(server.iron("PUT", "/q", r#"{"queue":{"type":""}}"#).await.status, 200);
    let alerts = r#"{"queue":{"alerts":[{"type":"fixed","trigger":1,"queue":"a"}]}}"#;
    assert_eq!(server.iron("PATCH", "/q", alerts).await.status, 400);
    for (method, rest) in [
        ("POST", "/q/subscribers"),
        ("PUT", "/q/subscribers"),
        ("DELETE", "/q/subscribers"),
        ("GET", "/q/messages/1/subscribers"),
        ("DELETE", "/q/messages/1/subscribers/2"),
        ("POST", "/q/alerts"),
        ("PUT", "/q/alerts"),
        ("DELETE", "/q/alerts"),
        ("DELETE", "/q/alerts/1"),
    ] {
        let answer = server.iron(method, rest, "{}").await;
        assert_eq!(answer.status, 400, "{method} {rest}");
        assert!(answer.msg().contains("not supported"), "{answer:?}");
    }
}
