//! Good news: a status and a JSON body, with exactly the headers old clients need.
//!
//! Invariants: `Content-Type` is `application/json` without a charset, and the length is known
//! (ironmq-v3.md 1.2).

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

/// Marks an answer that was read without asking the leader, on the client's request.
const STALE: HeaderName = HeaderName::from_static("bessemer-stale");

/// The result of a verb, as it will be written.
pub(crate) struct Reply {
    status: StatusCode,
    body: Vec<u8>,
    stale: bool,
}

impl Reply {
    /// 200 with `body` as JSON.
    pub fn ok(body: &impl Serialize) -> Reply {
        Reply::new(StatusCode::OK, body)
    }

    /// 201 with `body` as JSON.
    pub fn created(body: &impl Serialize) -> Reply {
        Reply::new(StatusCode::CREATED, body)
    }

    fn new(status: StatusCode, body: &impl Serialize) -> Reply {
        let body = serde_json::to_vec(body).expect("answers have string keys and no failing parts");
        Reply { status, body, stale: false }
    }

    /// Says that the answer may be old.
    pub fn stale(mut self, stale: bool) -> Reply {
        self.stale = stale;
        self
    }

    pub fn into_response(self) -> Response {
        let mut response = json_response(self.status, "application/json", self.body);
        if self.stale {
            response.headers_mut().insert(STALE, HeaderValue::from_static("true"));
        }
        response
    }
}

/// A response of known length and type.
pub(crate) fn json_response(
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
