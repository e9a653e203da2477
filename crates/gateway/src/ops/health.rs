//! Liveness and readiness.
//!
//! Live: the process answers. Ready: requests sent here can succeed, as far as this node knows.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};

use super::OpsHandles;

/// Entries the node may be behind and still be ready.
const LAG_ENTRIES_MAX: u64 = 10_000;

/// One check of readiness. A warning does not make the node unready.
struct Check {
    name: &'static str,
    ok: bool,
    fatal: bool,
    detail: String,
}

pub(super) async fn live() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(handles): State<OpsHandles>, uri: Uri) -> Response {
    let checks = checks(&handles);
    let ready = checks.iter().all(|check| check.ok || !check.fatal);
    let verbose = uri.query().is_some_and(|query| query.starts_with("verbose"));
    let mut text = String::new();
    for check in &checks {
        if verbose || !check.ok {
            let mark = match (check.ok, check.fatal) {
                (true, _) => "+",
                (false, true) => "-",
                (false, false) => "!",
            };
            text.push_str(&format!("[{mark}] {}: {}\n", check.name, check.detail));
        }
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

fn checks(handles: &OpsHandles) -> Vec<Check> {
    let status = handles.service.consensus().status();
    let lag = status.committed.0.saturating_sub(status.applied.0);
    let draining = handles.service.draining();
    let leader = match status.leader {
        Some(node) => format!("node {node}, term {}", status.term),
        None => "none is known".to_owned(),
    };
    let alone = "this node leads, and no majority answers it";
    let (ok, low) = ("ok", "below the low-water mark: only deletes and the like are accepted");
    vec![
        Check { name: "leader", ok: status.leader.is_some(), fatal: true, detail: leader },
        Check {
            name: "majority",
            ok: status.has_majority,
            fatal: true,
            detail: if status.has_majority { ok } else { alone }.to_owned(),
        },
        Check {
            name: "clock",
            ok: !status.clock_wrong,
            fatal: false,
            detail: format!("{} ms off those of a majority", status.clock_off.0),
        },
        Check {
            name: "applied",
            ok: lag <= LAG_ENTRIES_MAX,
            fatal: true,
            detail: format!("{lag} entries behind"),
        },
        Check {
            name: "draining",
            ok: !draining,
            fatal: true,
            detail: if draining { "the node is shutting down" } else { "no" }.to_owned(),
        },
        Check {
            name: "disk",
            ok: !status.disk_low,
            fatal: false,
            detail: if status.disk_low { low } else { ok }.to_owned(),
        },
    ]
}
