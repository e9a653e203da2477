//! H1, honest answers: every answer belongs to its question, and "not done" is certain.
//!
//! Source: design 2, P10 ("not done", "done" and "unknown" are told apart).
//! No false alarm: refusals that a client of these operations can meet pass. What was not done is
//! looked for in the log only where its name is of this operation alone: an earlier one under the
//! same idempotency key may well have been done.

use std::fmt;

use bessemer_model::Rejection;

use crate::applied::{Content, content_of};
use crate::arranged::{Arranged, slice_of};
use crate::event::{Answer, Op, Operation};
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dishonest {
    /// An answer, or a refusal, that does not fit.
    Unfit { op: Op, answer: Answer, called_ns: u64 },
    /// "Not done", and it stands in the log.
    Done { op: Op, answer: Answer, called_ns: u64 },
}

impl fmt::Display for Dishonest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dishonest::Unfit { op, answer, called_ns } => {
                write!(f, "{op:?}, asked at {called_ns} ns, was answered {answer:?}")
            }
            Dishonest::Done { op, answer, called_ns } => {
                write!(f, "{op:?}, asked at {called_ns} ns, was {answer:?}, and the log did it")
            }
        }
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let denied =
        |answer: &Answer| answer.is_certainly_nothing() && !matches!(answer, Answer::Refused(_));
    let operations = &arranged.history.operations;
    let suspects = operations.iter().filter(|operation| denied(&operation.answer));
    let mut suspects: Vec<Content> = suspects.filter_map(content_of).collect();
    suspects.sort_unstable();
    let named = operations.iter().filter_map(content_of);
    let mut names: Vec<Content> =
        named.filter(|name| suspects.binary_search(name).is_ok()).collect();
    names.sort_unstable();
    for operation in &arranged.history.operations {
        findings.looked(Check::HonestAnswers, 1);
        let Operation { op, answer, called_ns, .. } = operation;
        if !fits(op, answer) {
            let (op, answer) = (op.clone(), answer.clone());
            findings.blame(Dishonest::Unfit { op, answer, called_ns: *called_ns });
        }
        let name = if denied(answer) { content_of(operation) } else { None };
        let Some(content) = name else { continue };
        let alone = match content {
            Content::Uid(uid) => arranged.posts_of(uid).len() == 1,
            name => slice_of(&names, name, |name| *name).len() == 1,
        };
        let mut done = arranged.applied.find(content);
        if alone && done.any(|place| arranged.history.applied[place].answer.is_ok()) {
            let (op, answer) = (op.clone(), answer.clone());
            findings.blame(Dishonest::Done { op, answer, called_ns: *called_ns });
        }
    }
}

/// Whether the answer is one of this operation.
fn fits(op: &Op, answer: &Answer) -> bool {
    use Answer as A;
    match (op, answer) {
        (_, A::Nonsense(_)) => false,
        (_, A::NotDone | A::Unknown | A::Unauthorized | A::Forbidden) => true,
        (op, A::Refused(rejection)) => refusal_fits(op, rejection),
        (Op::Post { uids, .. }, A::Posted(ids)) => {
            uids.len() == ids.len() && ids.is_sorted_by(|one, next| one < next)
        }
        (Op::Reserve { count, .. }, A::Reserved(gots)) => gots.len() <= *count as usize,
        (Op::Ack(_), A::Acked(_)) | (Op::Touch { .. }, A::Touched(_)) => true,
        (Op::Release { .. }, A::Released) | (Op::Swap { .. }, A::Swapped(_)) => true,
        (Op::Look { .. }, A::Seen(_)) | (Op::Mint { .. }, A::Minted) => true,
        (Op::Revoke { .. }, A::Revoked) => true,
        _ => false,
    }
}

fn refusal_fits(op: &Op, rejection: &Rejection) -> bool {
    use Rejection as R;
    match op {
        Op::Ack(held)
        | Op::Touch { held, .. }
        | Op::Release { held, .. }
        | Op::Swap { held, .. } => match rejection {
            R::ReservationStale { message } | R::MessageMissing { message } => {
                *message == held.message
            }
            R::ReservationRequired { message } => *message == held.message,
            _ => false,
        },
        Op::Look { message, .. } => *rejection == R::MessageMissing { message: *message },
        Op::Mint { .. } => matches!(rejection, R::TokenExists { .. } | R::OverQuota { .. }),
        Op::Revoke { .. } => matches!(rejection, R::TokenMissing { .. }),
        // Its queue is there, its counts and times are in range, its project is not full.
        Op::Post { .. } | Op::Reserve { .. } => false,
    }
}

#[cfg(test)]
#[path = "honest_answers_tests.rs"]
mod tests;
