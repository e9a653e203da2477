//! Verbs of queues, one a file, and the steps they share.
//!
//! Not here: projects, transactions, time. Each verb has `check` (reads; the only place that may
//! refuse), `change` (writes; fails only with a `Fault`) and `tell`.

pub(crate) mod ack;
pub(crate) mod ack_many;
pub(crate) mod arrive;
pub(crate) mod clear;
pub(crate) mod dead_letter;
pub(crate) mod delete;
pub(crate) mod depart;
pub(crate) mod expiry;
pub(crate) mod ordering;
pub(crate) mod post;
pub(crate) mod put;
pub(crate) mod release;
pub(crate) mod reserve;
pub(crate) mod store;
pub(crate) mod touch;
pub(crate) mod undo;

use bessemer_model::Rejection;
use bessemer_model::rejection::Named;

/// Refuses a name or key that is empty or longer than `bytes_max`.
pub(crate) fn check_length(what: Named, text: &str, bytes_max: usize) -> Result<(), Rejection> {
    if text.is_empty() || text.len() > bytes_max {
        let (bytes, bytes_max) = (text.len() as u64, bytes_max as u64);
        return Err(Rejection::LengthOutOfRange { what, bytes, bytes_max });
    }
    Ok(())
}

/// Refuses a time outside `min..=max`.
pub(crate) fn check_time(
    what: bessemer_model::rejection::Timed,
    given: bessemer_model::Millis,
    min: bessemer_model::Millis,
    max: bessemer_model::Millis,
) -> Result<(), Rejection> {
    if given < min || given > max {
        return Err(Rejection::TimeOutOfRange { what, given, min, max });
    }
    Ok(())
}
