//! The operator's port: is it alive, is it ready, what does it count. No token: bind it where
//! only operators and their machines reach it.

mod health;
mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bessemer_service::Service;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower_service::Service as _;

use crate::metrics::DoorMetrics;

/// Connections to the ops port at once; one more is closed.
const CONNECTIONS_MAX: usize = 64;
/// For the head of a request, and between requests.
const HEAD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// What the ops port shows.
#[derive(Clone)]
pub struct OpsHandles {
    pub service: Arc<Service>,
    pub metrics: Arc<DoorMetrics>,
    /// Everything the process counts.
    pub registry: Arc<Registry>,
}

fn router(handles: OpsHandles) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .with_state(handles)
}

/// Serves `/livez`, `/readyz` (`?verbose` lists each check) and `/metrics` until `shutdown`
/// completes; then returns at once.
pub async fn serve_ops(
    listener: TcpListener,
    handles: OpsHandles,
    shutdown: impl Future<Output = ()> + Send,
) {
    let router = router(handles);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the ops port could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        if connections.len() >= CONNECTIONS_MAX {
            continue;
        }
        let router = router.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            router.clone().call(request.map(Body::new))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), answer);
        connections.spawn(async move {
            // A broken connection is the scraper's affair.
            let _ = connection.await;
        });
    }
    connections.shutdown().await;
}
