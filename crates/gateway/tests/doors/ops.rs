//! The operator's port.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Server;

/// The whole answer of the ops port to a GET of `path`, as text.
pub async fn get(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.ops).await.expect("open");
    let ask = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

#[tokio::test]
async fn live_always_ready_with_a_leader() {
    let server = Server::start().await;
    assert!(get(&server, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(&server, "/readyz").await.starts_with("HTTP/1.1 200"));
    let verbose = get(&server, "/readyz?verbose").await;
    assert!(verbose.contains("[+] leader: node 1, term 1"), "{verbose}");
    server.world.node.no_leader.store(true, Ordering::SeqCst);
    let unready = get(&server, "/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
    assert!(unready.contains("[-] leader: none is known"), "{unready}");
    assert!(get(&server, "/livez").await.starts_with("HTTP/1.1 200"));
    server.world.node.no_leader.store(false, Ordering::SeqCst);
    server.world.node.no_majority.store(true, Ordering::SeqCst);
    let alone = get(&server, "/readyz").await;
    assert!(alone.starts_with("HTTP/1.1 503") && alone.contains("[-] majority: "), "{alone}");
    server.world.node.no_majority.store(false, Ordering::SeqCst);
    server.world.service.drain();
    assert!(get(&server, "/readyz").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn requests_are_counted_under_bounded_labels() {
    let server = Server::start().await;
    server.iron("PUT", "/q", "").await;
    server.iron("GET", "/none", "").await;
    server.call("GET", "/a/path/nobody/knows", "").await;
    server.v1("GET", "/queues/q", "").await;
    let text = get(&server, "/metrics").await;
    for line in [
        r#"bessemer_http_requests_total{door="ironmq",verb="put_queue",status="2xx"} 1"#,
        r#"bessemer_http_requests_total{door="ironmq",verb="get_queue",status="4xx"} 1"#,
        r#"bessemer_http_requests_total{door="ironmq",verb="none",status="4xx"} 1"#,
        r#"bessemer_http_requests_total{door="native",verb="get_queue",status="2xx"} 1"#,
        r#"bessemer_http_request_seconds_count{door="ironmq",verb="put_queue"} 1"#,
        "bessemer_long_polls_waiting 0",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    assert!(!text.contains("nobody"), "no text of a client becomes a label");
}
