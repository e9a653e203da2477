//! The registry as OpenMetrics text.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use super::OpsHandles;

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

pub(super) async fn show(State(handles): State<OpsHandles>) -> Response {
    handles.metrics.set_waiters(handles.service.waiting());
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &handles.registry) {
        Ok(()) => {
            let mut response = Response::new(Body::from(text));
            response.headers_mut().insert(CONTENT_TYPE, OPENMETRICS);
            response
        }
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            let mut response = Response::new(Body::from("the metrics could not be written\n"));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}
