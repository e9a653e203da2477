//! The three kinds of bad news, told apart (design P10).

use std::fmt;

use crate::rejection::Rejection;

/// Why a request has no outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Decided by the log: the same answer for ever.
    Rejected(Rejection),
    /// Certainly not applied, now or later: sending it again is safe.
    NotDone(NotDone),
    /// May have been applied, or may yet be: only a retry with an idempotency key is safe.
    Unknown,
}

/// Why a request was certainly not applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotDone {
    /// No leader is known: a majority is away, or an election runs.
    NoLeader,
    /// A bounded queue inside the node is full.
    Overloaded,
    /// The disk is below its low-water mark; only commands that free space go on.
    DiskFull,
    /// The node is draining.
    ShuttingDown,
    /// The request, as the log would hold it, is above `COMMAND_BYTES_MAX`.
    TooLarge,
}

/// Speaks of this request alone: an earlier one under the same key may well have been applied.
impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotDone::NoLeader => {
                "The cluster has no leader now; this request was not taken, try again"
            }
            NotDone::Overloaded => {
                "The node is overloaded; this request was not taken, try again later"
            }
            NotDone::DiskFull => {
                "The disk is nearly full; this request was not taken, delete messages or add space"
            }
            NotDone::ShuttingDown => {
                "The node is shutting down; this request was not taken, try again"
            }
            NotDone::TooLarge => "The request is too large; it was not taken, send it in parts",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Rejected(rejection) => rejection.fmt(f),
            Failure::NotDone(why) => why.fmt(f),
            Failure::Unknown => f.write_str(
                "The outcome is unknown: the request may or may not have been applied. Send it \
                 again with the same Idempotency-Key to learn which",
            ),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Failure::Rejected(rejection)
    }
}
