//! The HTTP port: accept, cap, serve, drain.
//!
//! Invariants: connections are counted from accept to close and never exceed the cap; every
//!   connection's task is awaited or aborted before `serve_http` returns.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bessemer_service::Service;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower_service::Service as _;

use crate::limits::{BodyReader, HttpOptions};
use crate::metrics::DoorMetrics;
use crate::wire::{Slot, Tracked, Wire};
use crate::{ironmq, native};

/// Bytes of a request's head at most; larger ones get 431.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Bytes a connection buffers of what arrives at most.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// The answer to a connection over the cap: certainly nothing was applied.
const OVER_CAP: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: application/json\r\nContent-Length: 71\r\nRetry-After: 1\r\n\
    Connection: close\r\n\r\n\
    {\"msg\":\"Too many connections; this request was not taken, try later\"}\r\n";

/// Both doors behind one port.
#[derive(Clone)]
pub(crate) struct Doors {
    iron: Router,
    native: Router,
}

impl Doors {
    pub fn new(
        service: Arc<Service>,
        metrics: Arc<DoorMetrics>,
        options: Arc<HttpOptions>,
    ) -> Doors {
        let bodies = Arc::new(BodyReader::new(options));
        Doors {
            iron: ironmq::router(service.clone(), metrics.clone(), bodies.clone()),
            native: native::router(service, metrics, bodies),
        }
    }

    pub async fn serve(&self, mut request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        let mut router = if path == "/v1" || path.starts_with("/v1/") {
            self.native.clone()
        } else {
            ironmq::override_method(&mut request);
            self.iron.clone()
        };
        let Ok(response) = router.call(request).await;
        response
    }
}

/// Serves `/3`, `/v1` and `/version` on `listener` until `shutdown` completes.
///
/// Then it accepts no more, ends waiting long polls, finishes what is under way for at most
/// `drain_timeout`, and returns. HTTP/1.1 only.
pub async fn serve_http(
    listener: TcpListener,
    service: Arc<Service>,
    metrics: Arc<DoorMetrics>,
    options: HttpOptions,
    shutdown: impl Future<Output = ()> + Send,
) {
    let options = Arc::new(options);
    let doors = Doors::new(service.clone(), metrics.clone(), options.clone());
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        // A finished connection makes room at once.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or a client that left: neither ends the door.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        if connections.len() >= options.connections_max {
            metrics.refused();
            turn_away(stream);
            continue;
        }
        let slot = Slot::new();
        let connection = connect(stream, &slot, doors.clone(), options.clone());
        let served = graceful.watch(connection);
        let metrics = metrics.clone();
        connections.spawn(async move {
            let _open = metrics.opened();
            if let Err(error) = served.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    service.drain();
    let drained = tokio::time::timeout(options.drain_timeout, graceful.shutdown()).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut at shutdown");
    }
    connections.shutdown().await;
}

fn connect(
    stream: TcpStream,
    slot: &Slot,
    doors: Doors,
    options: Arc<HttpOptions>,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + use<> {
    // Small answers must not wait for more bytes. A failure costs time only.
    let _ = stream.set_nodelay(true);
    let wire = Wire::new(stream, slot.clone(), options);
    let slot = slot.clone();
    let answer = service_fn(move |request: Request<Incoming>| {
        slot.begin();
        let (doors, slot) = (doors.clone(), slot.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(slot.clone());
            let response = doors.serve(request).await;
            Ok::<_, Infallible>(response.map(|body| Tracked::new(body, slot)))
        }
    });
    http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(wire), answer)
}

/// Tells a connection over the cap to come back, and closes it with its request unread. When the
/// request comes after that, the kernel answers it with a reset, and the client may see that
/// instead: either way it was not taken.
fn turn_away(stream: TcpStream) {
    let _ = stream.try_write(OVER_CAP);
}
