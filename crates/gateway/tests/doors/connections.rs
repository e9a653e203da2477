//! Connections: slow, cut, too many, leaving, drained.

use std::time::Duration;

use bessemer_gateway::HttpOptions;
use bessemer_model::Quota;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Server, read_answer, request};

const RESERVE: &str = "/3/projects/p/queues/q/reservations";

async fn with(options: HttpOptions) -> Server {
    Server::with(options, Quota::default()).await
}

/// Waits until `done`, which must come true.
async fn until(mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it comes true");
}

#[tokio::test]
async fn a_half_sent_head_is_cut_off() {
    let head_timeout = Duration::from_millis(50);
    let server = with(HttpOptions { head_timeout, ..HttpOptions::default() }).await;
    for half in ["", "GET /3/projects/p/queues HTTP/1.1\r\nHost"] {
        let mut stream = server.connect().await;
        stream.write_all(half.as_bytes()).await.expect("written");
        assert!(read_answer(&mut stream).await.is_none(), "closed without an answer");
    }
}

#[tokio::test]
async fn a_half_sent_body_is_408_and_changes_nothing() {
    let body_timeout = Duration::from_millis(50);
    let server = with(HttpOptions { body_timeout, ..HttpOptions::default() }).await;
    let body = r#"{"messages":[{"body":"a"}]}"#;
    let whole = request("POST", "/3/projects/p/queues/q/messages", &[], body);
    let answer = server.raw(&whole[..whole.len() - 3]).await;
    assert_eq!(answer.status, 408);
    let mut stream = server.connect().await;
    stream.write_all(&whole[..whole.len() - 3]).await.expect("written");
    drop(stream);
    assert_eq!(server.iron("GET", "/q", "").await.status, 404);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let idle_timeout = Duration::from_millis(50);
    let server = with(HttpOptions { idle_timeout, ..HttpOptions::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(&request("PUT", "/3/projects/p/queues/q", &[], "")).await.expect("written");
    assert_eq!(read_answer(&mut stream).await.expect("an answer").status, 200);
    assert_eq!(stream.read(&mut [0]).await.expect("closed in order"), 0);
}

#[tokio::test]
async fn a_long_poll_outlives_every_reading_deadline() {
    let short = Duration::from_millis(50);
    let options =
        HttpOptions { idle_timeout: short, head_timeout: short, ..HttpOptions::default() };
    let server = with(options).await;
    server.iron("PUT", "/q", "").await;
    let answer = server.iron("POST", "/q/reservations", r#"{"wait":1}"#).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let write_timeout = Duration::from_millis(100);
    let server = with(HttpOptions { write_timeout, ..HttpOptions::default() }).await;
    // Six bytes each in JSON.
    let body = "\u{1}".repeat(1 << 20);
    server.world.node.post(&server.world.project, "q", &[body.as_str()]);
    let mut stream = server.connect().await;
    // Twenty answers of 6 MB fill every buffer between here and there.
    let ask = request("GET", "/3/projects/p/queues/q/messages", &[], "");
    for _ in 0..20 {
        if stream.write_all(&ask).await.is_err() {
            break;
        }
    }
    until(async || open_connections(&server).await == 0).await;
}

/// Taking a few bytes now and then keeps the connection from stalling, but not for ever.
#[tokio::test]
async fn a_client_that_reads_too_slowly_is_cut_off() {
    let (answer_timeout, write_timeout) = (Duration::from_millis(100), Duration::from_secs(3600));
    let server =
        with(HttpOptions { answer_timeout, write_timeout, ..HttpOptions::default() }).await;
    server.world.node.post(&server.world.project, "q", &[&"x".repeat(1 << 20)]);
    let mut stream = server.connect().await;
    // Twenty answers of 1 MB fill every buffer between here and there.
    let ask = request("GET", "/3/projects/p/queues/q/messages", &[], "");
    stream.write_all(&ask.repeat(20)).await.expect("written");
    let mut few = [0; 4096];
    until(async || {
        // After the cut there is nothing more to read.
        let _ = stream.read(&mut few).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        open_connections(&server).await == 0
    })
    .await;
}

/// Bodies that arrive share one bound; who does not fit is told to come back.
#[tokio::test]
async fn bodies_over_the_common_bound_are_503_until_others_are_done() {
    let bodies_bytes_max = 300 << 10;
    let server = with(HttpOptions { bodies_bytes_max, ..HttpOptions::default() }).await;
    server.post("q", "small").await;
    let message = |bytes| format!(r#"{{"messages":[{{"body":"{}"}}]}}"#, "x".repeat(bytes));
    let large = request("POST", "/3/projects/p/queues/q/messages", &[], &message(200 << 10));
    let mut half = server.connect().await;
    half.write_all(&large[..large.len() - 1]).await.expect("written");
    let refused = async || {
        let answer = server.raw(&large).await;
        if answer.status == 201 {
            return false;
        }
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert!(answer.msg().contains("overloaded"), "{answer:?}");
        true
    };
    until(refused).await;
    server.post("q", "small").await;
    half.write_all(&large[large.len() - 1..]).await.expect("written");
    assert_eq!(read_answer(&mut half).await.expect("an answer").status, 201);
    assert_eq!(server.raw(&large).await.status, 201, "there is room again");

    server.iron("PUT", "/empty", "").await;
    let mut waiting = server.connect().await;
    let body = format!(r#"{{"wait":30,"x":"{}"}}"#, "x".repeat(200 << 10));
    let poll = request("POST", "/3/projects/p/queues/empty/reservations", &[], &body);
    waiting.write_all(&poll).await.expect("written");
    until(async || server.world.service.waiting() == 1).await;
    assert_eq!(server.raw(&large).await.status, 201, "a long poll holds no body");
}

#[tokio::test]
async fn an_answer_that_was_not_read_gives_its_messages_back() {
    let write_timeout = Duration::from_millis(100);
    let server = with(HttpOptions { write_timeout, ..HttpOptions::default() }).await;
    // Six bytes each in JSON.
    let body = "\u{1}".repeat(1 << 20);
    server.world.node.post(&server.world.project, "q", &[body.as_str()]);
    let reserved = async || server.v1("GET", "/queues/q", "").await.json()["reserved"].clone();
    let mut stream = server.connect().await;
    stream.write_all(&request("POST", RESERVE, &[], "")).await.expect("written");
    until(async || reserved().await == 1).await;
    // 6 MB do not fit into the buffers between here and there: the connection is cut.
    until(async || reserved().await == 0).await;
    drop(stream);
}

/// The gauge of open connections.
async fn open_connections(server: &Server) -> i64 {
    let text = crate::ops::get(server, "/metrics").await;
    let line = text.lines().find(|line| line.starts_with("bessemer_http_connections "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a gauge")
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let server = with(HttpOptions { connections_max: 1, ..HttpOptions::default() }).await;
    let mut first = server.connect().await;
    first.write_all(&request("PUT", "/3/projects/p/queues/q", &[], "")).await.expect("written");
    assert_eq!(read_answer(&mut first).await.expect("an answer").status, 200);
    let mut second = server.connect().await;
    let answer = read_answer(&mut second).await.expect("an answer");
    assert_eq!(answer.status, 503);
    assert!(answer.msg().contains("not taken"));
    drop(first);
    until(async || open_connections(&server).await == 0).await;
    assert_eq!(server.iron("GET", "/q", "").await.status, 200);
}

#[tokio::test]
async fn who_hangs_up_while_waiting_takes_no_message_along() {
    let server = Server::start().await;
    server.iron("PUT", "/q", "").await;
    let mut stream = server.connect().await;
    stream.write_all(&request("POST", RESERVE, &[], r#"{"wait":30}"#)).await.expect("written");
    until(async || server.world.service.waiting() == 1).await;
    drop(stream);
    until(async || server.world.service.waiting() == 0).await;
    server.post("q", "a").await;
    server.reserve("q", "{}").await;
}

#[tokio::test]
async fn who_hangs_up_with_a_reserve_in_flight_gives_it_back() {
    let server = Server::start().await;
    let id = server.post("q", "a").await;
    server.world.node.hold(true);
    let mut stream = server.connect().await;
    stream.write_all(&request("POST", RESERVE, &[], "{}")).await.expect("written");
    until(async || server.world.node.reserves() == 1).await;
    drop(stream);
    // The connection ends before the outcome arrives.
    until(async || open_connections(&server).await == 0).await;
    server.world.node.hold(false);
    until(async || server.iron("GET", "/q/messages", "").await.json()["messages"][0]["id"] == id)
        .await;
}

#[tokio::test]
async fn who_reads_the_answer_keeps_the_message() {
    let server = Server::start().await;
    server.post("q", "a").await;
    let (id, reservation) = server.reserve("q", "{}").await;
    // The connection of the reserve is closed by now.
    until(async || open_connections(&server).await == 0).await;
    let body = serde_json::json!({"reservation_id": reservation}).to_string();
    let deleted = server.iron("DELETE", &format!("/q/messages/{id}"), &body).await;
    assert_eq!(deleted.status, 200, "the reservation still holds: {deleted:?}");
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_takes_no_more() {
    let mut server = Server::start().await;
    server.iron("PUT", "/q", "").await;
    let mut idle = server.connect().await;
    idle.write_all(&request("GET", "/3/projects/p/queues/q", &[], "")).await.expect("written");
    assert_eq!(read_answer(&mut idle).await.expect("an answer").status, 200);
    let mut waiting = server.connect().await;
    waiting.write_all(&request("POST", RESERVE, &[], r#"{"wait":30}"#)).await.expect("written");
    until(async || server.world.service.waiting() == 1).await;
    server.closing.take().expect("open").send(()).expect("it listens");
    let ended = read_answer(&mut waiting).await.expect("an answer");
    assert_eq!(ended.status, 503, "not done: {ended:?}");
    assert_eq!(idle.read(&mut [0]).await.expect("closed in order"), 0);
    tokio::time::timeout(Duration::from_secs(5), server.closed).await.expect("soon").expect("well");
    assert!(tokio::net::TcpStream::connect(server.http).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn garbage_on_the_wire_ends_one_connection_alone() {
    let server = Server::start().await;
    for garbage in [&b"\x16\x03\x01\x02\x00\x01"[..], b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(garbage).await.expect("written");
        let mut rest = Vec::new();
        stream.shutdown().await.expect("half closed");
        // An answer or none: the connection ends.
        let _ = stream.read_to_end(&mut rest).await;
    }
    let big = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let mut stream = server.connect().await;
    let _ = stream.write_all(big.as_bytes()).await;
    let refused = read_answer(&mut stream).await;
    assert!(refused.as_ref().is_none_or(|answer| answer.status == 431), "{refused:?}");
    assert_eq!(server.iron("PUT", "/q", "").await.status, 200);
}
