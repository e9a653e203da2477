//! The doors of Bessemer: HTTP `/3` (IronMQ v3), `/v1` (native JSON), health and metrics.
//!
//! Not here: deciding, storing, agreeing. A door reads bytes, calls one use case of `service`, and
//! writes bytes. One door never imports another.
//! Invariants: every request ends in one answer of its door's shape; every connection, body and
//!   wait is bounded in size and time.

mod call;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod ironmq;
mod json;
mod limits;
mod listen;
mod metrics;
mod native;
mod ops;
mod reply;
mod respond;
mod wire;

pub use limits::HttpOptions;
pub use listen::serve_http;
pub use metrics::DoorMetrics;
pub use ops::{OpsHandles, serve_ops};
