//! Every route of `/3`, and what it runs. Source: ironmq-v3.md sections 3, 4, 6, 7, 10.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, delete, get, post, put};
use bessemer_service::Service;
use http::{Method, Request};

use super::{auth, messages, post as posting, queues};
use crate::call::{Call, Door};
use crate::limits::BodyReader;
use crate::metrics::DoorMetrics;
use crate::reply::Reply;
use crate::respond::{DoorKind, Refusal};

const PUSH: &str = "Push queues are not supported by this version; use a pull queue and reserve";
const ALERTS: &str = "Alerts are not supported by this version; watch the queue's size instead";

/// The door `/3`.
pub(crate) fn router(
    service: Arc<Service>,
    metrics: Arc<DoorMetrics>,
    bodies: Arc<BodyReader>,
) -> Router {
    let door = Door { kind: DoorKind::Iron, service, metrics, bodies, bearer: auth::bearer };
    let queue = "/3/projects/{project}/queues/{queue}";
    let at = |rest: &str| format!("{queue}{rest}");
    let push = || any(door.on("push", |call| refuse(call, PUSH)));
    let alerts = || any(door.on("alerts", |call| refuse(call, ALERTS)));
    Router::new()
        .route("/version", get(version))
        .route("/3/projects/{project}/queues", get(door.on("list_queues", queues::list)))
        .route(
            queue,
            put(door.on("put_queue", queues::put))
                .patch(door.on("patch_queue", queues::put))
                .get(door.on("get_queue", queues::info))
                .delete(door.on("delete_queue", queues::remove)),
        )
        .route(
            &at("/messages"),
            post(door.on("post", posting::post))
                .get(door.on("peek", messages::peek))
                .delete(door.on("delete_messages", messages::delete_many)),
        )
        .route(&at("/webhook"), post(door.on("webhook", posting::webhook)))
        .route(&at("/reservations"), post(door.on("reserve", messages::reserve)))
        .route(
            &at("/messages/{message}"),
            get(door.on("get_message", messages::get))
                .delete(door.on("delete_message", messages::delete_one)),
        )
        .route(&at("/messages/{message}/touch"), post(door.on("touch", messages::touch)))
        .route(&at("/messages/{message}/release"), post(door.on("release", messages::release)))
        .route(&at("/messages/{message}/subscribers"), push())
        .route(&at("/messages/{message}/subscribers/{subscriber}"), push())
        .route(&at("/subscribers"), push())
        .route(&at("/alerts"), alerts())
        .route(&at("/alerts/{alert}"), delete(door.on("alerts", |call| refuse(call, ALERTS))))
        .method_not_allowed_fallback(door.refusing("none", || Refusal::WrongVerb))
        .fallback(door.refusing("none", || Refusal::NoRoute))
}

/// A known part of the API that is not built: 400, for callers with a token.
async fn refuse(_call: Call, why: &'static str) -> Result<Reply, Refusal> {
    Err(Refusal::Unsupported(why))
}

#[derive(serde::Serialize)]
struct Version {
    version: &'static str,
}

/// Needs no token: load balancers ask.
async fn version() -> axum::response::Response {
    Reply::ok(&Version { version: env!("CARGO_PKG_VERSION") }).into_response()
}

/// Makes a POST with `X-HTTP-Method-Override: DELETE`, `PATCH` or `PUT` what it stands for,
/// before it is routed: the Java client sends no other verbs. Source: ironmq-v3.md 1.1, 8.
pub(crate) fn override_method(request: &mut Request<Body>) {
    if request.method() != Method::POST {
        return;
    }
    let Some(meant) = request.headers().get("x-http-method-override") else { return };
    for method in [Method::DELETE, Method::PATCH, Method::PUT] {
        if meant.as_bytes().eq_ignore_ascii_case(method.as_str().as_bytes()) {
            *request.method_mut() = method;
            return;
        }
    }
}
