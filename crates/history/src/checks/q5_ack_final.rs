//! Q5, ack final: a message whose ack succeeded never comes back.
//!
//! Source: reliability 2, Q5; design 2, P4.
//! No false alarm: only acks whose success was heard; generations grow with every reserve of the
//! log, so a delivery of a newer generation than the one that acked came after the ack, unless it
//! was answered before the ack was asked (that is Q6).

use std::fmt;

use bessemer_model::{MessageId, ReservationId};

use crate::arranged::Arranged;
use crate::verdict::{Check, Findings};

/// A message that came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Returned {
    pub message: MessageId,
    pub acked_under: ReservationId,
    pub acked_ns: u64,
    pub given_under: ReservationId,
    pub given_ns: u64,
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Returned { message, acked_under, acked_ns, given_under, given_ns } = self;
        write!(
            f,
            "message {message} was acked under {acked_under} (answered at {acked_ns} ns), and given \
             under {given_under} (answered at {given_ns} ns)"
        )
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    for ack in arranged.acks.iter().filter(|ack| ack.is_sure()) {
        findings.looked(Check::AckFinal, 1);
        let (asked, acked) = (ack.operation.called_ns, ack.operation.answered_ns);
        let returned = arranged.deliveries_of(ack.held.message).iter().find(|delivery| {
            let newer = delivery.generation() > ack.held.reservation.generation()
                && delivery.operation.answered_ns >= asked;
            newer || delivery.operation.called_ns > acked
        });
        if let Some(delivery) = returned {
            findings.blame(Returned {
                message: ack.held.message,
                acked_under: ack.held.reservation,
                acked_ns: acked,
                given_under: delivery.got.reservation,
                given_ns: delivery.operation.answered_ns,
            });
        }
    }
}

#[cfg(test)]
#[path = "q5_ack_final_tests.rs"]
mod tests;
