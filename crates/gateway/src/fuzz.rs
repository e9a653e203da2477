//! What holds for any request, as a function that panics when it does not: run by `fuzz/` and by
//! the tests here, over the same corpus.
//!
//! Input: a line `METHOD TARGET`, perhaps with an `Idempotency-Key` behind it, then the body. The
//! request takes the way of every request, from the router on.

use std::sync::Arc;

use axum::body::Body;
use bessemer_service::Service;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::Value;

use crate::limits::HttpOptions;
use crate::listen::Doors;
use crate::metrics::DoorMetrics;

/// Messages of one post that are read back.
const READ_BACK_MAX: usize = 4;

/// A request gets one answer of its door's shape: a result, or a 4xx that says why; and a message
/// that was posted reads back as it was in the body.
///
/// `start` makes a node and tells its service. Time passes by itself when all wait for it.
pub fn request(start: impl FnOnce() -> Arc<Service>, token: &str, input: &[u8]) {
    let Some(asked) = Asked::read(input) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads starts");
    runtime.block_on(async {
        let metrics = DoorMetrics::register(&mut Registry::default());
        let doors = Doors::new(start(), metrics, Arc::new(HttpOptions::default()));
        let (status, body) = answer(&doors, asked.request(token)).await;
        check_answer(&asked, status, &body);
        if status == StatusCode::CREATED && asked.uri.path().ends_with("/messages") {
            check_posted(&doors, token, &asked, &body).await;
        }
    });
}

struct Asked {
    method: Method,
    uri: Uri,
    key: Option<http::HeaderValue>,
    body: Vec<u8>,
}

impl Asked {
    /// `None` for what the HTTP library refuses before a door sees it.
    fn read(input: &[u8]) -> Option<Asked> {
        let end = input.iter().position(|byte| *byte == b'\n')?;
        let (line, body) = (&input[..end], &input[end + 1..]);
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let method = Method::from_bytes(words.next()?).ok()?;
        let uri = Uri::try_from(words.next()?).ok()?;
        // Others come with an authority, which the server takes off.
        uri.path().starts_with('/').then_some(())?;
        let key = words.next().map(http::HeaderValue::from_bytes).transpose().ok()?;
        Some(Asked { method, uri, key, body: body.to_vec() })
    }

    fn request(&self, token: &str) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let bearer = format!("Bearer {token}").parse().expect("the token is plain text");
        request.headers_mut().insert(http::header::AUTHORIZATION, bearer);
        if let Some(key) = &self.key {
            request.headers_mut().insert("idempotency-key", key.clone());
        }
        request
    }

    fn is_native(&self) -> bool {
        self.uri.path() == "/v1" || self.uri.path().starts_with("/v1/")
    }
}

async fn answer(doors: &Doors, request: Request<Body>) -> (StatusCode, Vec<u8>) {
    let response: Response<Body> = doors.serve(request).await;
    let status = response.status();
    let body = response.into_body().collect().await.expect("an answer in memory is whole");
    (status, body.to_bytes().to_vec())
}

fn check_answer(asked: &Asked, status: StatusCode, body: &[u8]) {
    let shown = body.escape_ascii();
    assert!(status.is_success() || status.is_client_error(), "{status}: {shown}");
    // The answer to a HEAD has no body.
    if asked.method == Method::HEAD {
        return;
    }
    let body: Value = serde_json::from_slice(body).expect("an answer is JSON");
    assert!(body.is_object(), "{body}");
    let says = |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
    if status.is_success() {
        return;
    }
    if asked.is_native() {
        assert_eq!(body["status"], status.as_u16(), "{body}");
        assert!(says("code") && says("detail") && says("title"), "{body}");
    } else {
        assert!(says("msg"), "{body}");
    }
}

/// Reads back what a post was answered with, against the body as plain JSON.
async fn check_posted(doors: &Doors, token: &str, asked: &Asked, told: &[u8]) {
    let body: Value = serde_json::from_slice(&asked.body).expect("it was read before");
    let told: Value = serde_json::from_slice(told).expect("it was checked before");
    let ids = told["ids"].as_array().expect("a post is answered with ids");
    let messages = body["messages"].as_array().expect("it was read before");
    assert_eq!(ids.len(), messages.len(), "each message gets an id");
    for (id, message) in ids.iter().zip(messages).take(READ_BACK_MAX) {
        let id = id.as_str().expect("ids are text");
        let uri = format!("{}/{id}", asked.uri.path());
        let uri = uri.parse().expect("a path and an id are a path");
        let get = Asked { method: Method::GET, uri, key: None, body: Vec::new() };
        let (status, found) = answer(doors, get.request(token)).await;
        assert_eq!(status, StatusCode::OK, "what was posted is there");
        let found: Value = serde_json::from_slice(&found).expect("an answer is JSON");
        let found = if asked.is_native() { &found } else { &found["message"] };
        match &message["body"] {
            Value::String(text) => assert_eq!(found["body"], text.as_str(), "{message}"),
            _ => check_coded(found, &message["body_base64"]),
        }
    }
}

/// Bytes that are text come back as text, others as they were coded.
fn check_coded(found: &Value, posted: &Value) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let posted = STANDARD.decode(posted.as_str().expect("it was read before"));
    let posted = posted.expect("it was read before");
    match std::str::from_utf8(&posted) {
        Ok(text) => assert_eq!(found["body"], text),
        Err(_) => assert_eq!(found["body_base64"], STANDARD.encode(posted)),
    }
}

#[cfg(test)]
mod tests {
    use bessemer_corpus::{Heap, check};
    use bessemer_harness::{ADMIN, World};

    #[global_allocator]
    static HEAP: Heap = Heap;

    fn request(input: &[u8]) {
        super::request(|| World::start().service, ADMIN, input);
    }

    #[test]
    fn any_request_of_an_old_client_is_answered() {
        check("http_iron", 1000, request);
    }

    #[test]
    fn any_native_request_is_answered() {
        check("http_native", 1000, request);
    }
}
