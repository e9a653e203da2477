//! Messages of `/3`. Source: ironmq-v3.md section 4.

use serde_json::{Value, json};

use crate::client::{Answer, Server};

const FORGED: &str = "0123456789abcdef0123456789abcdef";

async fn delete(server: &Server, id: &str, reservation: &str) -> Answer {
    let body = json!({"reservation_id": reservation}).to_string();
    server.iron("DELETE", &format!("/q/messages/{id}"), &body).await
}

async fn verb(server: &Server, verb: &str, id: &str, body: Value) -> Answer {
    server.iron("POST", &format!("/q/messages/{id}/{verb}"), &body.to_string()).await
}

/// Lets log time pass.
fn pass(server: &Server, seconds: u64) {
    server.world.node.pass(seconds * 1000);
}

#[tokio::test]
async fn post_gives_ids_in_order_and_makes_the_queue() {
    let server = Server::start().await;
    let body = r#"{"messages":[{"body":"a"},{"body":"","delay":0},{"body":"ü\u0000"}]}"#;
    let answer = server.iron("POST", "/q/messages", body).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["msg"], "Messages put on queue.");
    let ids = answer.json()["ids"].as_array().expect("ids").clone();
    assert_eq!(ids.len(), 3);
    for id in &ids {
        let id = id.as_str().expect("a string");
        assert!(id.len() == 19 && id.bytes().all(|b| b.is_ascii_digit()), "{id}");
    }
    let peeked = server.iron("GET", "/q/messages?n=100", "").await;
    let expected = json!([
        {"id": ids[0], "body": "a", "reserved_count": 0},
        {"id": ids[1], "body": "", "reserved_count": 0},
        {"id": ids[2], "body": "ü\u{0}", "reserved_count": 0},
    ]);
    assert_eq!(peeked.json()["messages"], expected);
}

#[tokio::test]
async fn reserve_gives_up_to_n_oldest_first_each_with_its_own_id() {
    let server = Server::start().await;
    for body in ["a", "b", "c"] {
        server.post("q", body).await;
    }
    let answer = server.iron("POST", "/q/reservations", r#"{"n":2,"timeout":60}"#).await;
    assert_eq!(answer.status, 200);
    let messages = answer.json()["messages"].as_array().expect("a list").clone();
    assert_eq!(messages.len(), 2);
    assert_eq!((&messages[0]["body"], &messages[1]["body"]), (&json!("a"), &json!("b")));
    assert_eq!(messages[0]["reserved_count"], 1);
    let reservation = |at: usize| messages[at]["reservation_id"].as_str().expect("a string");
    assert_ne!(reservation(0), reservation(1));
    for at in [0, 1] {
        let id = reservation(at);
        let hex = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        assert!(id.len() == 32 && hex, "{id}");
    }
    let rest = server.iron("POST", "/q/reservations", r#"{"n":100}"#).await;
    assert_eq!(rest.json()["messages"].as_array().expect("a list").len(), 1);
    let none = server.iron("POST", "/q/reservations", "").await;
    assert_eq!(none.json(), json!({"messages": []}));
}

#[tokio::test]
async fn reserve_and_delete_leaves_nothing() {
    let server = Server::start().await;
    server.post("q", "a").await;
    let body = r#"{"n":1,"timeout":0,"wait":0,"delete":true}"#;
    let answer = server.iron("POST", "/q/reservations", body).await;
    assert_eq!(answer.json()["messages"][0]["body"], "a");
    assert_eq!(server.size("q").await, 0);
}

#[tokio::test]
async fn a_lapsed_message_comes_back_in_front() {
    let server = Server::start().await;
    let first = server.post("q", "a").await;
    server.post("q", "b").await;
    server.reserve("q", r#"{"timeout":3}"#).await;
    pass(&server, 3);
    let (again, _) = server.reserve("q", "{}").await;
    assert_eq!(again, first);
}

#[tokio::test]
async fn get_one_shows_reserved_and_delayed_messages_and_peek_does_not() {
    let server = Server::start().await;
    let reserved = server.post("q", "a").await;
    server.reserve("q", "{}").await;
    let body = r#"{"messages":[{"body":"b","delay":60}]}"#;
    let posted = server.iron("POST", "/q/messages", body).await;
    let delayed = posted.json()["ids"][0].as_str().expect("an id").to_owned();
    for (id, body, count) in [(&reserved, "a", 1), (&delayed, "b", 0)] {
        let answer = server.iron("GET", &format!("/q/messages/{id}"), "{}").await;
        let expected = json!({"message": {"id": id, "body": body, "reserved_count": count}});
        assert_eq!(answer.json(), expected);
    }
    assert_eq!(server.iron("GET", "/q/messages", "").await.json(), json!({"messages": []}));
    pass(&server, 60);
    let back = server.iron("GET", "/q/messages?n=2", "").await;
    assert_eq!(back.json()["messages"].as_array().expect("a list").len(), 2);
    for id in ["1999999999999999999", "7", "x", "-1"] {
        let answer = server.iron("GET", &format!("/q/messages/{id}"), "").await;
        assert_eq!((answer.status, answer.msg().as_str()), (404, "Message not found"), "{id}");
    }
    assert_eq!(server.iron("GET", "/q/messages?n=101", "").await.status, 400);
}

/// Table 4.5, one row each.
#[tokio::test]
async fn deleting_one_message() {
    let server = Server::start().await;
    let free = server.post("q", "free").await;
    let answer = server.iron("DELETE", &format!("/q/messages/{free}"), "").await;
    assert_eq!((answer.status, answer.msg().as_str()), (200, "Deleted"), "free, no reservation");
    let free = server.post("q", "free").await;
    assert_eq!(delete(&server, &free, "").await.status, 200, "free, empty reservation");

    let body = r#"{"messages":[{"body":"delayed","delay":60}]}"#;
    let delayed = server.iron("POST", "/q/messages", body).await;
    let delayed = delayed.json()["ids"][0].as_str().expect("an id").to_owned();
    assert_eq!(delete(&server, &delayed, "").await.status, 200, "delayed");

    server.post("q", "held").await;
    let (held, current) = server.reserve("q", "{}").await;
    let answer = server.iron("DELETE", &format!("/q/messages/{held}"), "{}").await;
    assert_eq!(
        (answer.status, answer.msg().as_str()),
        (400, "A reservation_id is required"),
        "held, none"
    );
    assert_eq!(delete(&server, &held, "").await.status, 400, "held, empty");
    assert_eq!(delete(&server, &held, FORGED).await.status, 403, "held, forged");
    assert_eq!(delete(&server, &held, "no id at all").await.status, 403, "held, no id at all");
    server.post("q", "other").await;
    let (_, foreign) = server.reserve("q", "{}").await;
    assert_eq!(delete(&server, &held, &foreign).await.status, 403, "held, another's");
    assert_eq!(delete(&server, &held, &current).await.status, 200, "held, current");
    let gone = delete(&server, &held, &current).await;
    assert_eq!((gone.status, gone.msg().as_str()), (404, "Message not found"), "gone");
    assert_eq!(delete(&server, &held, "").await.status, 404, "gone, none");

    let lapsed = server.post("q", "lapsing").await;
    let (_, old) = server.reserve("q", r#"{"timeout":3}"#).await;
    pass(&server, 3);
    assert_eq!(delete(&server, &lapsed, &old).await.status, 403, "free again, the old one");
}

/// Section 4.6.
#[tokio::test]
async fn deleting_many_messages() {
    let server = Server::start().await;
    let many = async |body: Value| server.iron("DELETE", "/q/messages", &body.to_string()).await;
    let (a, b, c) =
        (server.post("q", "a").await, server.post("q", "b").await, server.post("q", "c").await);
    let (held, reservation) = server.reserve("q", "{}").await;
    assert_eq!(held, a);

    let refused = many(json!({"ids": [b, {"id": a}]})).await;
    assert_eq!(refused.status, 400, "one is held and lacks its reservation");
    assert_eq!(server.size("q").await, 3, "nothing is deleted");
    let refused = many(json!({"ids": [{"id": a, "reservation_id": FORGED}, c]})).await;
    assert_eq!(refused.status, 403);
    assert_eq!(server.size("q").await, 3, "nothing is deleted");

    let mixed = json!({"ids": [
        {"id": a, "reservation_id": reservation, "subscriber_name": ""}, b,
        {"id": "1999999999999999999", "reservation_id": null}]});
    let answer = many(mixed.clone()).await;
    assert_eq!((answer.status, answer.msg().as_str()), (200, "Deleted"));
    assert_eq!(server.size("q").await, 1);
    assert_eq!(many(mixed).await.status, 404, "none of them is there");

    for nothing in [json!({"ids": []}), json!({"ids": null})] {
        let answer = many(nothing).await;
        assert_eq!((answer.status, answer.msg().as_str()), (200, "Deleted"));
        assert_eq!(server.size("q").await, 1, "an empty list never clears");
    }
    let hundred: Vec<&str> = vec![&c; 101];
    assert_eq!(many(json!({"ids": hundred})).await.status, 400);
    assert_eq!(many(json!({"ids": [[c]]})).await.status, 400);
    assert_eq!(many(json!({"ids": [{"reservation_id": "x"}]})).await.status, 400);
    assert_eq!(many(json!({"ids": "x"})).await.status, 400);
    assert_eq!(many(json!([])).await.status, 400, "not an object: never a clear");
    assert_eq!(server.size("q").await, 1);
    let answer = many(json!({"reservation_ids": [{"id": c}]})).await;
    assert_eq!(answer.msg(), "Deleted", "the Node client's word is not a clear");
    assert_eq!(server.size("q").await, 0);
}

#[tokio::test]
async fn no_ids_means_clear() {
    let server = Server::start().await;
    for body in ["", "{}", r#"{"oauth":"x"}"#] {
        server.post("q", "a").await;
        server.post("q", "b").await;
        server.reserve("q", "{}").await;
        let answer = server.iron("DELETE", "/q/messages", body).await;
        assert_eq!((answer.status, answer.msg().as_str()), (200, "Cleared"));
        assert_eq!(server.size("q").await, 0, "reserved ones too");
    }
}

/// Section 4.7.
#[tokio::test]
async fn touching_a_message() {
    let server = Server::start().await;
    let free = server.post("q", "a").await;
    let touched = verb(&server, "touch", &free, json!({"reservation_id": FORGED})).await;
    assert_eq!(touched.status, 403, "not reserved");
    let (id, first) = server.reserve("q", r#"{"timeout":10}"#).await;
    pass(&server, 9);
    let answer = verb(&server, "touch", &id, json!({"reservation_id": first, "timeout": 10})).await;
    assert_eq!((answer.status, answer.msg().as_str()), (200, "Touched"));
    let second = answer.json()["reservation_id"].as_str().expect("a string").to_owned();
    assert_ne!(first, second);
    pass(&server, 9);
    let shown = server.iron("GET", &format!("/q/messages/{id}"), "").await;
    assert_eq!(shown.json()["message"]["reserved_count"], 2, "a touch counts");
    // As the Ruby client does: with the id from before the touch, and a number as text.
    let body = json!({"reservation_id": first, "timeout": "10"});
    assert_eq!(verb(&server, "touch", &id, body).await.status, 200, "lineage");
    let body = json!({"reservation_id": second, "timeout": 86_401});
    let too_long = verb(&server, "touch", &id, body).await;
    assert_eq!(too_long.status, 400);
    assert!(too_long.msg().contains("86401 seconds"), "{too_long:?}");
    let unnamed = verb(&server, "touch", &id, json!({})).await;
    assert_eq!((unnamed.status, unnamed.msg().as_str()), (400, "A reservation_id is required"));
    assert_eq!(verb(&server, "touch", "1999999999999999999", json!({})).await.status, 404);
    pass(&server, 10);
    let late = verb(&server, "touch", &id, json!({"reservation_id": second})).await;
    assert_eq!(late.status, 403, "too late");
    let body = json!({"reservation_id": second});
    let missing = verb(&server, "touch", "1999999999999999999", body).await;
    assert_eq!((missing.status, missing.msg().as_str()), (404, "Message not found"));
}

/// Section 4.8.
#[tokio::test]
async fn releasing_a_message() {
    let server = Server::start().await;
    server.post("q", "a").await;
    server.post("q", "b").await;
    let (id, reservation) = server.reserve("q", "{}").await;
    let answer = verb(&server, "release", &id, json!({"reservation_id": reservation})).await;
    assert_eq!((answer.status, answer.msg().as_str()), (200, "Released"));
    let again = verb(&server, "release", &id, json!({"reservation_id": reservation})).await;
    assert_eq!(again.status, 403, "the id is dead");
    let (first, reservation) = server.reserve("q", "{}").await;
    assert_eq!(first, id, "back in its place");
    let body = json!({"reservation_id": reservation, "delay": 30});
    assert_eq!(verb(&server, "release", &id, body).await.status, 200);
    let (other, _) = server.reserve("q", "{}").await;
    assert_ne!(other, id, "not before the delay is over");
    pass(&server, 30);
    let (back, reservation) = server.reserve("q", "{}").await;
    assert_eq!(back, id);
    let body = json!({"reservation_id": reservation, "delay": 604_801});
    assert_eq!(verb(&server, "release", &id, body).await.status, 400);
    let unnamed = verb(&server, "release", &id, json!({})).await;
    assert_eq!((unnamed.status, unnamed.msg().as_str()), (400, "A reservation_id is required"));
    assert_eq!(verb(&server, "release", "1999999999999999999", json!({})).await.status, 404);
    let body = json!({"reservation_id": reservation});
    assert_eq!(verb(&server, "release", "1999999999999999999", body).await.status, 404);
}

#[tokio::test]
async fn a_webhook_posts_its_raw_body() {
    let server = Server::start().await;
    let bytes = format!(
        "POST /3/projects/p/queues/q/webhook?oauth={} HTTP/1.1\r\nHost: x\r\n\
         Content-Type: text/xml\r\nX-Subscribers-A: b\r\nContent-Length: 9\r\n\r\n{{\"a\": 1}}\n",
        "the+operator's+token"
    );
    let answer = server.raw(bytes.as_bytes()).await;
    assert_eq!(answer.status, 200);
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let expected = json!({"id": id, "ids": [id], "msg": "Message put on queue."});
    assert_eq!(answer.json(), expected);
    let shown = server.iron("GET", &format!("/q/messages/{id}"), "").await;
    assert_eq!(shown.json()["message"]["body"], "{\"a\": 1}\n");
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_and_another_body_is_refused() {
    let server = Server::start().await;
    let post = async |body: &str| {
        let path = "/3/projects/p/queues/q/messages";
        server.call_with("POST", path, &[("Idempotency-Key", "k")], body).await
    };
    let first = post(r#"{"messages":[{"body":"a"}]}"#).await;
    let again = post(r#"{ "messages": [ {"body": "a", "delay": 0} ] }"#).await;
    assert_eq!(again.status, 201);
    assert_eq!(first.json(), again.json(), "the same request, spelt otherwise");
    assert_eq!(server.size("q").await, 1);
    let other = post(r#"{"messages":[{"body":"b"}]}"#).await;
    assert_eq!(other.status, 400);
    assert!(other.msg().contains("idempotency key"), "{other:?}");
    assert_eq!(server.size("q").await, 1);
}

#[tokio::test]
async fn a_long_poll_is_answered_by_a_post() {
    let server = Server::start().await;
    server.iron("PUT", "/q", "").await;
    let waiting = async { server.iron("POST", "/q/reservations", r#"{"n":1,"wait":30}"#).await };
    let posting = async {
        while server.world.service.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        server.post("q", "a").await
    };
    let (answer, id) = tokio::join!(waiting, posting);
    assert_eq!(answer.json()["messages"][0]["id"], id);
    let too_long = server.iron("POST", "/q/reservations", r#"{"wait":31}"#).await;
    assert_eq!(too_long.status, 400);
}
