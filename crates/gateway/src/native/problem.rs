//! Errors of `/v1`: problem documents. Source: RFC 9457.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::reply::json_response;
use crate::respond::Refusal;

#[derive(Serialize)]
struct Problem<'a> {
    /// A reference relative to the documentation: `errors/<code>`.
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: String,
}

pub(crate) fn response(status: StatusCode, refusal: &Refusal) -> Response {
    let code = refusal.code();
    let problem = Problem {
        r#type: format!("errors/{code}"),
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        code,
        detail: refusal.to_string(),
    };
    let body = serde_json::to_vec(&problem).expect("a problem has string keys");
    json_response(status, "application/problem+json", body)
}
