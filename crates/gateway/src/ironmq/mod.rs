//! `/3`: the IronMQ v3 API, for its existing clients, to the letter of its documentation and of
//! what those clients were seen to send.
//!
//! IronMQ's words stop here: inside, deleting is acknowledging, and seconds are milliseconds.

mod auth;
pub(crate) mod errors;
mod messages;
mod post;
mod push_headers;
mod queues;
mod routes;
mod shapes;

pub(crate) use routes::{override_method, router};
