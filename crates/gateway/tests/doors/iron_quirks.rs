//! What old clients do on the wire. Source: ironmq-v3.md 1, 1.1 and 1.2, clients.md 3.

use bessemer_harness::ADMIN;
use bessemer_model::Role;
use bessemer_service::{Caller, NewToken};
use serde_json::json;

use crate::client::Server;

const P: &str = "/3/projects/p/queues";

/// 1.1, 1: bodies on GET and DELETE, as Go, Ruby and Node send them.
#[tokio::test]
async fn bodies_on_get_and_delete_are_accepted() {
    let server = Server::start().await;
    server.post("q", "a").await;
    assert_eq!(server.iron("GET", "", "{}").await.status, 200);
    assert_eq!(server.iron("GET", "/q", "{}").await.status, 200);
    assert_eq!(server.iron("GET", "/q/messages?n=30", "{}").await.status, 200);
    assert_eq!(server.iron("DELETE", "/q", "{}").await.status, 200);
}

/// 1.1, 2 and 3: chunked bodies, also of zero bytes, without a length.
#[tokio::test]
async fn chunked_and_empty_bodies_are_accepted() {
    let server = Server::start().await;
    let head = |method: &str, rest: &str| {
        format!(
            "{method} {P}{rest} HTTP/1.1\r\nHost: x\r\nAuthorization: OAuth {ADMIN}\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
    };
    let empty = format!("{}0\r\n\r\n", head("PUT", "/q"));
    assert_eq!(server.raw(empty.as_bytes()).await.status, 200);
    let parts = format!(
        "{}c\r\n{{\"messages\":\r\n10\r\n[{{\"body\":\"abc\"}}]\r\n1\r\n}}\r\n0\r\n\r\n",
        head("POST", "/q/messages")
    );
    let posted = server.raw(parts.as_bytes()).await;
    assert_eq!(posted.status, 201, "{posted:?}");
    let typed = format!(
        "POST {P}/q/reservations HTTP/1.1\r\nHost: x\r\nAuthorization: OAuth {ADMIN}\r\n\
         Content-Type: application/json\r\nContent-Length: 0\r\n\r\n"
    );
    let reserved = server.raw(typed.as_bytes()).await;
    assert_eq!(reserved.json()["messages"][0]["body"], "abc");
}

/// 1.1, 4 and 5: unknown keys, zero values and nulls.
#[tokio::test]
async fn what_go_and_dotnet_send_for_nothing_is_nothing() {
    let server = Server::start().await;
    let go = r#"{"queue":{"name":"","size":0,"total_messages":0,"message_expiration":0,
        "message_timeout":0,"project_id":"","type":"","push":null,"alerts":null,
        "dead_letter":null}}"#;
    let created = server.iron("PUT", "/q", go).await;
    assert_eq!(created.json()["queue"]["message_timeout"], 60, "{created:?}");
    let body = r#"{"messages":[{"body":"a","id":"","delay":0,"timeout":9,"expires_in":5,
        "reserved_until":"0001-01-01T00:00:00Z","reserved_count":0,"push_headers":null}]}"#;
    assert_eq!(server.iron("POST", "/q/messages", body).await.status, 201);
    let body = r#"{"n":0,"timeout":0,"wait":0,"delete":false,"break_if_empty":true}"#;
    let (id, reservation) = server.reserve("q", body).await;
    let body = json!({"ids": [{"id": id, "reservation_id": reservation, "subscriber_name": ""}]});
    assert_eq!(server.iron("DELETE", "/q/messages", &body.to_string()).await.status, 200);
    let nulls = r#"{"n":null,"timeout":null,"wait":null,"delete":null}"#;
    assert_eq!(server.iron("POST", "/q/reservations", nulls).await.status, 200);
}

/// 1.1, 6: PHP's empty array for an empty object.
#[tokio::test]
async fn an_empty_array_is_an_empty_object() {
    let server = Server::start().await;
    let body = r#"{"oauth":"x","queue":[]}"#;
    assert_eq!(server.iron("PUT", "/q", body).await.status, 200);
    assert_eq!(server.iron("PUT", "/q", r#"{"queue":[1]}"#).await.status, 400);
}

/// 1.1, 8: Java's DELETE and PATCH.
#[tokio::test]
async fn the_method_override_is_obeyed_before_routing() {
    let server = Server::start().await;
    let over = async |method: &str, path: &str, body: &str| {
        let headers = [("X-HTTP-Method-Override", method)];
        server.call_with("POST", &format!("{P}{path}"), &headers, body).await
    };
    let patched = over("PATCH", "/q", r#"{"queue":{"message_timeout":30}}"#).await;
    assert_eq!(patched.json()["queue"]["message_timeout"], 30);
    server.post("q", "a").await;
    assert_eq!(over("DELETE", "/q/messages", "{}").await.msg(), "Cleared");
    assert_eq!(over("delete", "/q", "").await.msg(), "Deleted.");
    let headers = [("X-HTTP-Method-Override", "DELETE")];
    let get = server.call_with("GET", &format!("{P}/q"), &headers, "").await;
    assert_eq!(get.msg(), "Queue not found", "a GET stays a GET");
}

/// 1: a bare `?`, and the token in its places.
#[tokio::test]
async fn a_bare_question_mark_and_every_place_for_the_token() {
    let server = Server::start().await;
    server.iron("PUT", "/q", "").await;
    assert_eq!(server.iron("GET", "/q?", "").await.status, 200);
    assert_eq!(server.iron("GET", "?", "").await.status, 200);
    for header in ["OAuth", "oauth", "Bearer", "BEARER"] {
        let authorization = format!("{header} {ADMIN}");
        let headers = [("Authorization", authorization.as_str())];
        let answer = server.call_with("GET", &format!("{P}/q"), &headers, "").await;
        assert_eq!(answer.status, 200, "{header}");
    }
    let none = format!("GET {P}/q?oauth=the%20operator's+token HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(server.raw(none.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn an_unknown_token_is_401_and_a_foreign_one_403() {
    let server = Server::start().await;
    for headers in ["", "Authorization: OAuth nobody\r\n", "Authorization: OAuth\r\n"] {
        let bytes = format!("GET {P}/q HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let answer = server.raw(bytes.as_bytes()).await;
        assert_eq!((answer.status, answer.msg().as_str()), (401, "Unauthorized"), "{headers}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    server.world.node.create_project("other", bessemer_model::Quota::default());
    let new = NewToken { name: "".into(), role: Role::Owner, expires_at: None };
    let minted =
        server.world.service.create_token(&Caller::Admin, &server.world.project, new, None);
    let token = format!("OAuth {}", minted.await.expect("minted").token);
    let headers = [("Authorization", token.as_str())];
    let own = server.call_with("PUT", &format!("{P}/q"), &headers, "").await;
    assert_eq!(own.status, 200);
    let foreign = server.call_with("PUT", "/3/projects/other/queues/q", &headers, "").await;
    assert_eq!(foreign.status, 403);
    let unknown = server.call("GET", "/3/projects/none/queues/q", "").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.msg().contains("Project none not found"), "{unknown:?}");
}

/// 1.2: what every response has.
#[tokio::test]
async fn every_answer_has_the_exact_type_and_a_length_and_is_not_compressed() {
    let server = Server::start().await;
    for (method, rest) in
        [("PUT", "/q"), ("GET", "/q"), ("GET", "/none"), ("POST", "/q/messages"), ("GET", "/a/b/c")]
    {
        let headers = [("Accept-Encoding", "gzip/deflate")];
        let answer = server.call_with(method, &format!("{P}{rest}"), &headers, "").await;
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        assert!(answer.header("content-length").is_some());
        assert_eq!(answer.header("content-encoding"), None);
        assert!(!answer.body.is_empty());
    }
}

#[tokio::test]
async fn keep_alive_serves_one_request_after_another() {
    use crate::client::{read_answer, request};
    use tokio::io::AsyncWriteExt;
    let server = Server::start().await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        let bytes = request("PUT", &format!("{P}/q"), &[("Keep-Alive", "300")], "{}");
        stream.write_all(&bytes).await.expect("written");
        assert_eq!(read_answer(&mut stream).await.expect("an answer").status, 200);
    }
    // Two at once.
    let mut both = request("GET", &format!("{P}/q"), &[], "");
    both.extend(request("GET", &format!("{P}/none"), &[], ""));
    stream.write_all(&both).await.expect("written");
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("Queue not found") {
        use tokio::io::AsyncReadExt;
        assert_ne!(stream.read_buf(&mut text).await.expect("open"), 0, "both are answered");
    }
    assert!(text.starts_with(b"HTTP/1.1 200"), "in order");
}

#[tokio::test]
async fn unknown_endpoints_are_404_and_wrong_verbs_405() {
    let server = Server::start().await;
    for path in [
        "/",
        "/3",
        "/3/projects/p",
        "/2/projects/p/tasks",
        "/1/projects",
        "/3/stats",
        "/3/projects/p/queues/q/odd",
        "/3/projects/p/queues/q/messages/1/odd",
        "/3/projects/p/queues/",
    ] {
        let answer = server.call("GET", path, "").await;
        assert_eq!((answer.status, answer.msg().as_str()), (404, "Not found"), "{path}");
    }
    for (method, rest) in [
        ("POST", ""),
        ("POST", "/q"),
        ("PUT", "/q/messages"),
        ("GET", "/q/reservations"),
        ("POST", "/q/messages/1"),
        ("GET", "/q/messages/1/touch"),
        ("GET", "/q/webhook"),
    ] {
        let answer = server.iron(method, rest, "{}").await;
        assert_eq!(answer.status, 405, "{method} {rest}");
        assert!(!answer.msg().is_empty());
    }
}

#[tokio::test]
async fn version_needs_no_token() {
    let server = Server::start().await;
    let answer = server.raw(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["version"].is_string());
}
