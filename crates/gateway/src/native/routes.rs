//! Every route of `/v1`, and what it runs. Each has an rpc in `proto/bessemer/v1`.

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post, put};
use bessemer_service::Service;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::{cluster, messages, projects, queues, tokens, transactions};
use crate::call::{Door, Query};
use crate::limits::BodyReader;
use crate::metrics::DoorMetrics;
use crate::respond::{DoorKind, Refusal};

/// The door `/v1`.
pub(crate) fn router(
    service: Arc<Service>,
    metrics: Arc<DoorMetrics>,
    bodies: Arc<BodyReader>,
) -> Router {
    let door = Door { kind: DoorKind::Native, service, metrics, bodies, bearer };
    Router::new()
        .merge(of_projects(&door))
        .merge(of_queues(&door))
        .merge(of_messages(&door))
        .merge(of_cluster(&door))
        .method_not_allowed_fallback(door.refusing("none", || Refusal::WrongVerb))
        .fallback(door.refusing("none", || Refusal::NoRoute))
}

fn of_projects(door: &Door) -> Router {
    let project = "/v1/projects/{project}";
    Router::new()
        .route(
            "/v1/projects",
            post(door.on("create_project", projects::create))
                .get(door.on("list_projects", projects::list)),
        )
        .route(
            project,
            get(door.on("get_project", projects::get))
                .patch(door.on("update_quota", projects::update))
                .delete(door.on("delete_project", projects::remove)),
        )
        .route(
            &format!("{project}/tokens"),
            post(door.on("create_token", tokens::create)).get(door.on("list_tokens", tokens::list)),
        )
        .route(
            &format!("{project}/tokens/{{token}}"),
            delete(door.on("revoke_token", tokens::revoke)),
        )
        .route(
            &format!("{project}/transactions"),
            post(door.on("transact", transactions::transact)),
        )
}

fn of_queues(door: &Door) -> Router {
    let queues = "/v1/projects/{project}/queues";
    Router::new().route(queues, get(door.on("list_queues", queues::list))).route(
        &format!("{queues}/{{queue}}"),
        put(door.on("put_queue", queues::put))
            .get(door.on("get_queue", queues::get))
            .delete(door.on("delete_queue", queues::remove)),
    )
}

fn of_messages(door: &Door) -> Router {
    let at = |rest: &str| format!("/v1/projects/{{project}}/queues/{{queue}}/{rest}");
    Router::new()
        .route(
            &at("messages"),
            post(door.on("post", messages::post)).get(door.on("peek", messages::peek)),
        )
        .route(&at("messages/{message}"), get(door.on("get_message", messages::get)))
        .route(&at("messages/{message}/touch"), post(door.on("touch", messages::touch)))
        .route(&at("messages/{message}/release"), post(door.on("release", messages::release)))
        .route(&at("reservations"), post(door.on("reserve", messages::reserve)))
        .route(&at("acks"), post(door.on("ack", messages::ack)))
        .route(&at("clear"), post(door.on("clear", messages::clear)))
}

fn of_cluster(door: &Door) -> Router {
    Router::new()
        .route("/v1/cluster", get(door.on("cluster_status", cluster::status)))
        .route("/v1/cluster/join", post(door.on("join", cluster::join)))
        .route("/v1/cluster/leave", post(door.on("leave", cluster::leave)))
        .route("/v1/cluster/replace", post(door.on("replace", cluster::replace)))
        .route("/v1/cluster/transfer", post(door.on("transfer", cluster::transfer)))
}

/// `Authorization: Bearer TOKEN`, or `OAuth TOKEN`; never in the address, which is logged.
fn bearer(headers: &HeaderMap, _query: &Query) -> Option<String> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.trim().split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
    known.then(|| token.trim().to_owned())
}
