//! Versioned bytes of requests and outcomes.

pub mod outcome;
pub mod request;
