//! One HTTP/1.1 connection to one node, opened when needed and again after it was lost.
//!
//! Not here: which node to ask, tokens, retries (`session.rs`).
//! Invariant: a failure says whether the request can have been seen by the node.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// Answers are bounded by 100 messages of the largest request; this is far above.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// A node's answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// The node was not reached: certainly not done.
    NotSent(String),
    /// The connection or the time ended after sending began: may be done.
    Lost(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotSent(why) | CallError::Lost(why) => f.write_str(why),
        }
    }
}

/// One request, apart from where it goes.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    /// Path and query, percent-encoded, beginning with `/`.
    pub path: String,
    pub authorization: Option<String>,
    pub retry_key: Option<String>,
    /// JSON; empty sends no body.
    pub body: Bytes,
    /// Longest wait for the whole answer.
    pub patience: Duration,
}

/// A connection to `host:port`. Not shared: one request at a time.
pub struct Connection {
    address: String,
    /// `None` before the first request and after the connection was lost.
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub fn new(address: impl Into<String>) -> Connection {
        Connection { address: address.into(), open: None }
    }

    /// Sends `call` and reads the answer. After an error the next call opens a new connection.
    pub async fn call(&mut self, call: &Call) -> Result<Reply, CallError> {
        let request = self.request(call)?;
        let mut sender = self.opened().await?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok::<_, hyper::Error>((status, body))
        };
        let address = &self.address;
        match timeout(call.patience, exchange).await {
            Ok(Ok((status, Ok(body)))) => {
                self.open = Some(sender);
                Ok(Reply { status, body: body.to_bytes() })
            }
            Ok(Ok((_, Err(e)))) => Err(CallError::Lost(format!("{address} broke off: {e}"))),
            Ok(Err(e)) if e.is_canceled() => {
                Err(CallError::NotSent(format!("{address} closed the connection: {e}")))
            }
            Ok(Err(e)) => Err(CallError::Lost(format!("{address} broke off: {e}"))),
            Err(_) => Err(CallError::Lost(format!(
                "{address} did not answer within {} ms",
                call.patience.as_millis()
            ))),
        }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, CallError> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&call.path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &call.authorization {
            request = request.header(hyper::header::AUTHORIZATION, authorization);
        }
        if let Some(key) = &call.retry_key {
            request = request.header("Idempotency-Key", key);
        }
        let request = request.body(Full::new(call.body.clone()));
        request.map_err(|e| CallError::NotSent(format!("the request cannot be written: {e}")))
    }

    /// The open connection, taken out: only a whole answer puts it back.
    async fn opened(&mut self) -> Result<SendRequest<Full<Bytes>>, CallError> {
        if let Some(mut sender) = self.open.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let address = &self.address;
        let not_sent = |why: String| CallError::NotSent(format!("{address}: {why}"));
        let stream = match timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
            Ok(stream) => stream.map_err(|e| not_sent(e.to_string()))?,
            Err(_) => return Err(not_sent("no connection within 2 s".to_owned())),
        };
        stream.set_nodelay(true).map_err(|e| not_sent(e.to_string()))?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| not_sent(e.to_string()))?;
        // Detached: it ends when the sender is dropped or the node closes; its errors also reach
        // the request under way, which reports them.
        drop(tokio::spawn(connection));
        Ok(sender)
    }
}
