//! Q6, one ack, fenced: one ack of a message succeeds, and only under its newest reservation.
//!
//! Source: reliability 2, Q6; design 2, P4. Found so in the wild: etcd 3.4.3, whose locks were no
//! mutual exclusion without fencing.
//! No false alarm: only acks whose success was heard; a reservation is old when a newer one of the
//! message was heard before the ack was asked.

use std::fmt;

use bessemer_model::{MessageId, ReservationId};

use crate::arranged::{Ack, Arranged};
use crate::event::{Answer, Op};
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotFenced {
    /// Two acks succeeded.
    Twice { message: MessageId, first_ns: u64, second_ns: u64 },
    /// Acked under an old reservation.
    Stale { message: MessageId, acked_under: ReservationId, newest: ReservationId },
    /// One ack of one message removed another number than one.
    Count { message: MessageId, count: u32 },
}

impl fmt::Display for NotFenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotFenced::Twice { message, first_ns, second_ns } => write!(
                f,
                "message {message} was acked twice, answered at {first_ns} and at {second_ns} ns"
            ),
            NotFenced::Stale { message, acked_under, newest } => write!(
                f,
                "message {message} was acked under {acked_under}, though {newest} had been given"
            ),
            NotFenced::Count { message, count } => {
                write!(f, "one ack of message {message} removed {count}")
            }
        }
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let same = |one: &Ack<'_>, next: &Ack<'_>| one.held.message == next.held.message;
    for acks in arranged.acks.chunk_by(same) {
        let message = acks[0].held.message;
        let sure: Vec<&Ack<'_>> = acks.iter().filter(|ack| ack.is_sure()).collect();
        for pair in sure.windows(2) {
            let first_ns = pair[0].operation.answered_ns;
            let second_ns = pair[1].operation.answered_ns;
            findings.blame(NotFenced::Twice { message, first_ns, second_ns });
        }
        for ack in sure {
            is_fenced(arranged, ack, findings);
        }
        for ack in acks {
            if let Answer::Acked(count) = ack.operation.answer
                && count != 1
            {
                findings.blame(NotFenced::Count { message, count });
            }
        }
    }
    // A refused ack is a fence that held.
    let refused = arranged.history.operations.iter().filter(|operation| {
        let ack = matches!(operation.op, Op::Ack(_) | Op::Swap { .. });
        ack && matches!(operation.answer, Answer::Refused(_))
    });
    findings.looked(Check::AckOnce, refused.count() as u64);
}

fn is_fenced(arranged: &Arranged<'_>, ack: &Ack<'_>, findings: &mut Findings) {
    let deliveries = arranged.deliveries_of(ack.held.message);
    findings.looked(Check::AckOnce, u64::from(deliveries.len() > 1));
    let generation = ack.held.reservation.generation();
    let newer = deliveries.iter().rev().find(|delivery| {
        delivery.generation() > generation
            && delivery.operation.answered_ns < ack.operation.called_ns
    });
    if let Some(newer) = newer {
        findings.blame(NotFenced::Stale {
            message: ack.held.message,
            acked_under: ack.held.reservation,
            newest: newer.got.reservation,
        });
    }
}

#[cfg(test)]
#[path = "q6_ack_once_tests.rs"]
mod tests;
