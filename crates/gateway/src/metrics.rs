//! What the doors count. Labels are bounded: door, verb and status class, all from fixed lists.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::respond::DoorKind;

/// Upper bounds of the time histogram, in seconds: a fast commit to a long poll.
const SECONDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Requests {
    door: &'static str,
    verb: &'static str,
    status: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Times {
    door: &'static str,
    verb: &'static str,
}

/// Counters of the HTTP doors. Shared by them and the ops door.
pub struct DoorMetrics {
    requests: Family<Requests, Counter>,
    times: Family<Times, Histogram>,
    connections: Gauge<i64, AtomicI64>,
    refused: Counter,
    waiters: Gauge<i64, AtomicI64>,
}

impl DoorMetrics {
    /// Adds the metrics to `registry`. Once per process.
    pub fn register(registry: &mut Registry) -> Arc<DoorMetrics> {
        let metrics = DoorMetrics {
            requests: Family::default(),
            times: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            connections: Gauge::default(),
            refused: Counter::default(),
            waiters: Gauge::default(),
        };
        registry.register(
            "bessemer_http_requests",
            "Requests answered, by door, verb and class of status",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "bessemer_http_request",
            "Time from a request's head to its answer, long polls included",
            Unit::Seconds,
            metrics.times.clone(),
        );
        registry.register(
            "bessemer_http_connections",
            "Connections open now",
            metrics.connections.clone(),
        );
        registry.register(
            "bessemer_http_connections_refused",
            "Connections closed at once because there were too many",
            metrics.refused.clone(),
        );
        registry.register(
            "bessemer_long_polls_waiting",
            "Long polls that wait on this node now",
            metrics.waiters.clone(),
        );
        Arc::new(metrics)
    }

    pub(crate) fn answered(&self, door: DoorKind, verb: &'static str, status: u16, took: Duration) {
        let door = match door {
            DoorKind::Iron => "ironmq",
            DoorKind::Native => "native",
        };
        let status = match status {
            200..=299 => "2xx",
            400..=499 => "4xx",
            500 => "500",
            503 => "503",
            _ => "other",
        };
        self.requests.get_or_create(&Requests { door, verb, status }).inc();
        self.times.get_or_create(&Times { door, verb }).observe(took.as_secs_f64());
    }

    /// Counts a connection until the answer is dropped.
    pub(crate) fn opened(&self) -> Open {
        self.connections.inc();
        Open(self.connections.clone())
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    pub(crate) fn set_waiters(&self, waiters: usize) {
        self.waiters.set(i64::try_from(waiters).unwrap_or(i64::MAX));
    }
}

/// An open connection, as long as it is held.
pub(crate) struct Open(Gauge<i64, AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
