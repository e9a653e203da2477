//! Why a use case has no result: the world of refusals and failures, and nothing else.
//!
//! Invariant: `Unknown` is the only variant after which something may have been applied.

use std::fmt;
use std::time::Duration;

use bessemer_engine::Fault;
use bessemer_model::{Failure, NotDone, Rejection};
use bessemer_seam::consensus::MembershipError;

/// Bad news for a caller.
#[derive(Debug)]
pub enum ServiceError {
    /// No token, or none that is known and alive.
    Unauthorized,
    /// A known caller without the right to do this, here.
    Forbidden,
    /// Decided by the log, or certain to be decided so.
    Rejected(Rejection),
    /// Certainly not applied.
    NotDone(NotDone),
    /// May have been applied.
    Unknown,
    /// The project has `limit` long polls on this node already.
    TooManyWaiters { limit: u64 },
    /// A long poll may wait `max` at most.
    WaitOutOfRange { max: Duration },
    /// The membership was not changed.
    Membership(MembershipError),
    /// This node's state cannot be read; the node is about to stop.
    Damaged(Fault),
}

impl From<Failure> for ServiceError {
    fn from(failure: Failure) -> ServiceError {
        match failure {
            Failure::Rejected(rejection) => ServiceError::Rejected(rejection),
            Failure::NotDone(why) => ServiceError::NotDone(why),
            Failure::Unknown => ServiceError::Unknown,
        }
    }
}

impl From<Rejection> for ServiceError {
    fn from(rejection: Rejection) -> ServiceError {
        ServiceError::Rejected(rejection)
    }
}

impl From<Fault> for ServiceError {
    fn from(fault: Fault) -> ServiceError {
        ServiceError::Damaged(fault)
    }
}

/// A sentence for the person who asked: what happened, to what, what to do.
impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceError::Unauthorized => f.write_str("Unauthorized"),
            ServiceError::Forbidden => {
                f.write_str("This token has no right to do this in this project")
            }
            ServiceError::Rejected(rejection) => rejection.fmt(f),
            ServiceError::NotDone(why) => why.fmt(f),
            ServiceError::Unknown => Failure::Unknown.fmt(f),
            ServiceError::TooManyWaiters { limit } => write!(
                f,
                "The project's limit of {limit} waiting long polls is reached; poll with less \
                 wait, or ask the operator to raise it"
            ),
            ServiceError::WaitOutOfRange { max } => {
                write!(f, "wait is too long; it must be 0 to {} seconds", max.as_secs())
            }
            ServiceError::Membership(error) => membership(error, f),
            ServiceError::Damaged(_) => {
                f.write_str("This node cannot read its state; ask another node")
            }
        }
    }
}

fn membership(error: &MembershipError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        MembershipError::NotLeader { leader: Some(leader) } => {
            write!(f, "Only the leader changes the membership; ask node {leader}")
        }
        MembershipError::NotLeader { leader: None } => {
            f.write_str("The cluster has no leader now; try again")
        }
        MembershipError::UnknownNode { node } => write!(f, "Node {node} is no member"),
        MembershipError::NodeExists { node } => write!(
            f,
            "Node id {node} was used before; a node that returns without its data takes a new id"
        ),
        MembershipError::LastVoter => f.write_str("The last voter cannot leave"),
        MembershipError::InProgress => {
            f.write_str("Another membership change is under way; try again when it is done")
        }
        MembershipError::Unknown => f.write_str(
            "The membership change was not finished in time and may still finish; look at the \
             cluster status",
        ),
    }
}

impl std::error::Error for ServiceError {}
