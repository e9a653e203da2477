//! Errors of `/3`: a JSON object with `msg`. Source: ironmq-v3.md section 2.

use axum::response::Response;
use bessemer_model::{Millis, Rejection};
use bessemer_service::ServiceError;
use http::StatusCode;
use serde::Serialize;

use crate::reply::json_response;
use crate::respond::Refusal;

/// An answer that only says something.
#[derive(Serialize)]
pub(super) struct Msg {
    pub msg: &'static str,
}

#[derive(Serialize)]
struct Error {
    msg: String,
}

pub(crate) fn response(status: StatusCode, refusal: &Refusal) -> Response {
    let body = serde_json::to_vec(&Error { msg: text(refusal) }).expect("a string is JSON");
    json_response(status, "application/json", body)
}

/// The refusal in words; times in seconds, as this API counts them.
fn text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Service(ServiceError::Rejected(Rejection::TimeOutOfRange {
            what,
            given,
            min,
            max,
        })) => format!(
            "{what} is {} seconds; it must be {} to {}",
            seconds(*given),
            seconds(*min),
            seconds(*max)
        ),
        other => other.to_string(),
    }
}

/// Whole seconds, rounded up: a part of a second is never shown as none.
pub(super) fn seconds(time: Millis) -> u64 {
    time.0.div_ceil(1000)
}
