//! `/v1`: the native JSON API, with every feature. The same words as `proto/bessemer/v1`.
//!
//! Strict where `/3` is lenient: an unknown key in a body is refused, so that a misspelt setting
//! never passes for one left out. Times are milliseconds. Errors are problem documents.

mod cluster;
mod messages;
pub(crate) mod problem;
mod projects;
mod queues;
mod routes;
mod shapes;
mod tokens;
mod transactions;

pub(crate) use routes::router;
