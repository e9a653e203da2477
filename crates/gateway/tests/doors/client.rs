//! A server on a free port, and a client that speaks bytes.

use std::net::SocketAddr;
use std::sync::Arc;

use bessemer_gateway::{DoorMetrics, HttpOptions, OpsHandles, serve_http, serve_ops};
use bessemer_harness::{ADMIN, World};
use bessemer_model::Quota;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A node with its doors open. The project is `p`.
pub struct Server {
    pub world: World,
    pub http: SocketAddr,
    pub ops: SocketAddr,
    pub closing: Option<oneshot::Sender<()>>,
    pub closed: JoinHandle<()>,
    _ops: JoinHandle<()>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The status line and the headers, as they came.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn msg(&self) -> String {
        self.json()["msg"].as_str().unwrap_or_else(|| panic!("no msg: {self:?}")).to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Server {
    pub async fn start() -> Server {
        Server::with(HttpOptions::default(), Quota::default()).await
    }

    pub async fn with(options: HttpOptions, quota: Quota) -> Server {
        let world = World::with(quota);
        let mut registry = Registry::default();
        let metrics = DoorMetrics::register(&mut registry);
        let http = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let ops = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (http_address, ops_address) = (http.local_addr().unwrap(), ops.local_addr().unwrap());
        let (closing, close) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = close.await;
        };
        let closed = tokio::spawn(serve_http(
            http,
            world.service.clone(),
            metrics.clone(),
            options,
            shutdown,
        ));
        let service = world.service.clone();
        let handles = OpsHandles { service, metrics, registry: Arc::new(registry) };
        let ops = tokio::spawn(serve_ops(ops, handles, std::future::pending()));
        let closing = Some(closing);
        Server { world, http: http_address, ops: ops_address, closing, closed, _ops: ops }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.http).await.expect("the door is open")
    }

    /// Sends raw bytes on a connection of their own, and reads one answer.
    pub async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.expect("written");
        read_answer(&mut stream).await.expect("an answer")
    }

    /// One request with the operator's token; an empty `body` sends none.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call_with(method, path, &[], body).await
    }

    pub async fn call_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.raw(&request(method, path, headers, body)).await
    }

    /// `call` below `/3/projects/p/queues`.
    pub async fn iron(&self, method: &str, rest: &str, body: &str) -> Answer {
        self.call(method, &format!("/3/projects/p/queues{rest}"), body).await
    }

    /// `call` below `/v1/projects/p`.
    pub async fn v1(&self, method: &str, rest: &str, body: &str) -> Answer {
        self.call(method, &format!("/v1/projects/p{rest}"), body).await
    }

    /// Posts one message by `/3`; gives its id.
    pub async fn post(&self, queue: &str, body: &str) -> String {
        let body = serde_json::json!({"messages": [{"body": body}]}).to_string();
        let answer = self.iron("POST", &format!("/{queue}/messages"), &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["ids"][0].as_str().expect("an id").to_owned()
    }

    /// Reserves one message by `/3`; gives its id and the reservation's.
    pub async fn reserve(&self, queue: &str, body: &str) -> (String, String) {
        let answer = self.iron("POST", &format!("/{queue}/reservations"), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let message = &answer.json()["messages"][0];
        let text = |field: &str| message[field].as_str().expect("a string").to_owned();
        (text("id"), text("reservation_id"))
    }

    /// What can be seen of the project: each queue with its settings, its counts (size, reserved,
    /// delayed, total) and its first hundred messages. Names must not need encoding.
    pub async fn seen(&self) -> Value {
        let mut seen = serde_json::Map::new();
        let listed = self.v1("GET", "/queues?per_page=100", "").await.json();
        for queue in listed["queues"].as_array().expect("a list") {
            let name = queue["name"].as_str().expect("a name");
            let info = self.v1("GET", &format!("/queues/{name}"), "").await.json();
            let peek = self.v1("GET", &format!("/queues/{name}/messages?count=100"), "").await;
            seen.insert(name.to_owned(), serde_json::json!([info, peek.json()]));
        }
        seen.into()
    }

    /// Sends raw bytes that must be refused with `status`, and leave all that can be seen of the
    /// project as it was.
    pub async fn refuses_raw(&self, status: u16, bytes: &[u8]) -> Answer {
        let before = self.seen().await;
        let answer = self.raw(bytes).await;
        let sent = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
        assert_eq!(answer.status, status, "{sent}: {answer:?}");
        assert_eq!(self.seen().await, before, "{sent}: {answer:?}");
        answer
    }

    /// `call` that must be refused with `status` and leave everything as it was.
    pub async fn refuses(&self, status: u16, method: &str, path: &str, body: &str) -> Answer {
        self.refuses_raw(status, &request(method, path, &[], body)).await
    }

    /// The queue's number of messages, by `/3`.
    pub async fn size(&self, queue: &str) -> u64 {
        let answer = self.iron("GET", &format!("/{queue}"), "").await;
        answer.json()["queue"]["size"].as_u64().unwrap_or_else(|| panic!("{answer:?}"))
    }
}

/// The bytes of a request with the operator's token.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        head.push_str(&format!("Authorization: OAuth {ADMIN}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str("Content-Type: application/json\r\n");
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    } else if method == "POST" || method == "PUT" || method == "PATCH" {
        head.push_str("Content-Length: 0\r\n");
    }
    format!("{head}\r\n{body}").into_bytes()
}

/// Reads one answer; `None` when the connection ended before one.
pub async fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let head_bytes = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => (),
        }
    };
    let head = String::from_utf8(bytes[..head_bytes].to_vec()).expect("a head is text");
    let mut answer = Answer { status: 0, head, body: bytes[head_bytes..].to_vec() };
    answer.status = answer.head.split(' ').nth(1).expect("a status").parse().expect("a number");
    let length = answer.header("content-length").map(str::to_owned);
    let length: usize = length.expect("the length is always told").parse().expect("a number");
    while answer.body.len() < length {
        if stream.read_buf(&mut answer.body).await.ok()? == 0 {
            return None;
        }
    }
    assert_eq!(answer.body.len(), length, "no byte more than the length says");
    Some(answer)
}
