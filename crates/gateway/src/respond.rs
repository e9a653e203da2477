//! The one place where bad news becomes a response.
//!
//! Each door has its shape: `/3` says `{"msg"}`, `/v1` a problem document (RFC 9457). The status
//! is chosen here for both, from what happened alone.
//! Invariant: 503 means certainly not applied; an unknown outcome is 500 (ironmq-v3.md 2).

use std::fmt;

use axum::response::Response;
use bessemer_model::rejection::Quotum;
use bessemer_model::{NotDone, Rejection};
use bessemer_seam::consensus::MembershipError;
use bessemer_service::ServiceError;
use http::StatusCode;

/// Which door was entered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum DoorKind {
    /// `/3`, IronMQ v3.
    Iron,
    /// `/v1`, native JSON.
    Native,
}

/// Why a request got no result.
#[derive(Debug)]
pub(crate) enum Refusal {
    Service(ServiceError),
    /// The request cannot be understood; the sentence says why.
    Bad(String),
    /// A part of the API that this version does not have.
    Unsupported(&'static str),
    /// The type of a queue cannot change.
    TypeFixed,
    TooLarge {
        bytes_max: usize,
    },
    TooSlow,
    NoRoute,
    WrongVerb,
}

impl<E: Into<ServiceError>> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Service(error.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Service(error) => error.fmt(f),
            Refusal::Bad(why) => f.write_str(why),
            Refusal::Unsupported(what) => f.write_str(what),
            Refusal::TypeFixed => f.write_str("The type of a queue cannot be changed"),
            Refusal::TooLarge { bytes_max } => {
                write!(f, "The request is larger than {bytes_max} bytes; send it in parts")
            }
            Refusal::TooSlow => f.write_str("The request body took too long to arrive"),
            Refusal::NoRoute => f.write_str("Not found"),
            Refusal::WrongVerb => f.write_str("Method not allowed"),
        }
    }
}

impl Refusal {
    /// Stable code of what happened: a rejection's own, or one of a few more.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Service(ServiceError::Rejected(rejection)) => rejection.code(),
            Refusal::Service(ServiceError::Unauthorized) => "Unauthorized",
            Refusal::Service(ServiceError::Forbidden) => "Forbidden",
            Refusal::Service(
                ServiceError::NotDone(NotDone::NoLeader)
                | ServiceError::Membership(MembershipError::NotLeader { leader: None }),
            ) => "NoLeader",
            Refusal::Service(ServiceError::NotDone(NotDone::Overloaded)) => "Overloaded",
            Refusal::Service(ServiceError::NotDone(NotDone::DiskFull)) => "DiskFull",
            Refusal::Service(ServiceError::NotDone(NotDone::ShuttingDown)) => "ShuttingDown",
            Refusal::Service(ServiceError::Unknown) => "OutcomeUnknown",
            Refusal::Service(ServiceError::TooManyWaiters { .. }) => "TooManyWaiters",
            Refusal::Service(ServiceError::WaitOutOfRange { .. }) => "WaitOutOfRange",
            Refusal::Service(ServiceError::Membership(_)) => "MembershipUnchanged",
            Refusal::Service(ServiceError::Damaged(_)) => "NodeDamaged",
            Refusal::Bad(_) => "RequestMalformed",
            Refusal::Unsupported(_) => "Unsupported",
            Refusal::TypeFixed => "QueueTypeFixed",
            Refusal::TooLarge { .. }
            | Refusal::Service(ServiceError::NotDone(NotDone::TooLarge)) => "RequestTooLarge",
            Refusal::TooSlow => "RequestTooSlow",
            Refusal::NoRoute => "RouteMissing",
            Refusal::WrongVerb => "MethodNotAllowed",
        }
    }

    pub fn status(&self, door: DoorKind) -> StatusCode {
        match self {
            Refusal::Service(error) => status_of(error, door),
            Refusal::Bad(_) | Refusal::Unsupported(_) => StatusCode::BAD_REQUEST,
            Refusal::TypeFixed => StatusCode::FORBIDDEN,
            Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::NoRoute => StatusCode::NOT_FOUND,
            Refusal::WrongVerb => StatusCode::METHOD_NOT_ALLOWED,
        }
    }
}

fn status_of(error: &ServiceError, door: DoorKind) -> StatusCode {
    match error {
        ServiceError::Unauthorized => StatusCode::UNAUTHORIZED,
        ServiceError::Forbidden => StatusCode::FORBIDDEN,
        ServiceError::Rejected(rejection) => status_of_rejection(rejection, door),
        ServiceError::NotDone(NotDone::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
        ServiceError::NotDone(_) => StatusCode::SERVICE_UNAVAILABLE,
        ServiceError::Unknown | ServiceError::Damaged(_) => StatusCode::INTERNAL_SERVER_ERROR,
        // A plan's limit is 403 in the IronMQ API.
        ServiceError::TooManyWaiters { .. } => match door {
            DoorKind::Iron => StatusCode::FORBIDDEN,
            DoorKind::Native => StatusCode::TOO_MANY_REQUESTS,
        },
        ServiceError::WaitOutOfRange { .. } => StatusCode::BAD_REQUEST,
        ServiceError::Membership(MembershipError::UnknownNode { .. }) => StatusCode::NOT_FOUND,
        ServiceError::Membership(MembershipError::Unknown) => StatusCode::INTERNAL_SERVER_ERROR,
        ServiceError::Membership(MembershipError::NotLeader { leader: None }) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ServiceError::Membership(
            MembershipError::NotLeader { leader: Some(_) }
            | MembershipError::NodeExists { .. }
            | MembershipError::LastVoter
            | MembershipError::InProgress,
        ) => StatusCode::CONFLICT,
    }
}

fn status_of_rejection(rejection: &Rejection, door: DoorKind) -> StatusCode {
    match rejection {
        Rejection::ProjectMissing { .. }
        | Rejection::TokenMissing { .. }
        | Rejection::QueueMissing { .. }
        | Rejection::MessageMissing { .. } => StatusCode::NOT_FOUND,
        Rejection::ReservationStale { .. } => StatusCode::FORBIDDEN,
        Rejection::ProjectExists { .. }
        | Rejection::TokenExists { .. }
        | Rejection::GroupInitialized => StatusCode::CONFLICT,
        Rejection::ReservationRequired { .. }
        | Rejection::LengthOutOfRange { .. }
        | Rejection::CountOutOfRange { .. }
        | Rejection::TimeOutOfRange { .. }
        | Rejection::DeadLetterUnnamed { .. }
        | Rejection::DeadLetterLoop { .. }
        | Rejection::TransactionMember => StatusCode::BAD_REQUEST,
        // Keys go by themselves: later there is room. In the IronMQ API every limit is 403.
        Rejection::OverQuota { what: Quotum::RetryKeys, .. } if door == DoorKind::Native => {
            StatusCode::TOO_MANY_REQUESTS
        }
        Rejection::OverQuota { .. } => StatusCode::FORBIDDEN,
        Rejection::RetryKeyMismatch => match door {
            // The IronMQ API has no 422.
            DoorKind::Iron => StatusCode::BAD_REQUEST,
            DoorKind::Native => StatusCode::UNPROCESSABLE_ENTITY,
        },
    }
}

/// The response of `door` to a request that `verb` refused. Logs what a person should know.
pub(crate) fn refuse(door: DoorKind, verb: &'static str, refusal: &Refusal) -> Response {
    log(verb, refusal);
    let status = refusal.status(door);
    let mut response = match door {
        DoorKind::Iron => crate::ironmq::errors::response(status, refusal),
        DoorKind::Native => crate::native::problem::response(status, refusal),
    };
    let headers = response.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    if status == StatusCode::UNAUTHORIZED {
        let challenge = http::HeaderValue::from_static("Bearer");
        headers.insert(http::header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn log(verb: &'static str, refusal: &Refusal) {
    match refusal {
        Refusal::Service(ServiceError::Damaged(fault)) => {
            let cause = std::error::Error::source(fault).map(ToString::to_string);
            tracing::error!(verb, %fault, cause, "the state of this node cannot be read");
        }
        Refusal::Service(ServiceError::Unknown) => {
            tracing::warn!(verb, "a request ended with an unknown outcome");
        }
        // The client's own affair, or told by the metrics.
        _ => tracing::debug!(verb, code = refusal.code(), "request refused"),
    }
}
