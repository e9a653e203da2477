//! Q4, one holder: a message is not reserved again before its reservation is given up or over.
//!
//! Source: reliability 2, Q4; design 2, P3. Found so in the wild: RabbitMQ 3.3 (Jepsen 2014), whose
//! redelivery broke mutual exclusion.
//! No false alarm: judged in log time, which each operation brackets; a reservation that may have
//! been released, or whose touch has no answer, ends at a time nobody knows. Replies that reached
//! nobody are no holders here: they are given back before anybody else gets the message.
//! Over the log it is exact: the oracle knows who holds what.

use std::fmt;

use bessemer_model::{MessageId, Millis, ReservationId};

use crate::arranged::{Arranged, Delivery};
use crate::event::{Answer, Op};
use crate::model::Message;
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TwoHolders {
    /// Given to a second client while the first held it.
    Both {
        message: MessageId,
        first: ReservationId,
        /// The first one lasts so long at least.
        until: Millis,
        second: ReservationId,
        /// The second one began no later.
        at: Millis,
    },
    /// Two replies gave the same reservation.
    Same { message: MessageId, reservation: ReservationId },
    /// A reservation is counted as one that an older one was counted as.
    Count { message: MessageId, first: u32, second: u32 },
    /// In the log: reserved while it was held.
    InLog { message: MessageId, until: Millis, at: Millis, second: ReservationId },
}

impl fmt::Display for TwoHolders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TwoHolders::Both { message, first, until, second, at } => write!(
                f,
                "message {message} was held under {first} until {until} at least, and given under \
                 {second} at {at} at most"
            ),
            TwoHolders::Same { message, reservation } => {
                write!(f, "message {message} was given twice under {reservation}")
            }
            TwoHolders::Count { message, first, second } => {
                write!(f, "message {message} was reservation number {first}, then {second}")
            }
            TwoHolders::InLog { message, until, at, second } => write!(
                f,
                "message {message} was held until {until}, and reserved under {second} at {at}"
            ),
        }
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let same = |one: &Delivery<'_>, next: &Delivery<'_>| one.got.message == next.got.message;
    for deliveries in arranged.deliveries.chunk_by(same) {
        for pair in deliveries.windows(2) {
            findings.looked(Check::OneHolder, 1);
            pair_is_apart(arranged, &pair[0], &pair[1], findings);
        }
    }
}

fn pair_is_apart(
    arranged: &Arranged<'_>,
    first: &Delivery<'_>,
    second: &Delivery<'_>,
    findings: &mut Findings,
) {
    let message = first.got.message;
    if first.generation() == second.generation() {
        let reservation = first.got.reservation;
        findings.blame(TwoHolders::Same { message, reservation });
        return;
    }
    // What a client was told is never taken back, so counts grow.
    let (one, next) = (first.got.reserved_count, second.got.reserved_count);
    if next <= one {
        findings.blame(TwoHolders::Count { message, first: one, second: next });
    }
    let until = match end_of(arranged, first) {
        Some(until) if second.operation.log_high < until => until,
        Some(_) | None => return,
    };
    findings.blame(TwoHolders::Both {
        message,
        first: first.got.reservation,
        until,
        second: second.got.reservation,
        at: second.operation.log_high,
    });
}

/// The reservation lasts so long at least; `None` when nobody knows. The last touch counts: a
/// holder touches one after the other.
fn end_of(arranged: &Arranged<'_>, held: &Delivery<'_>) -> Option<Millis> {
    let mut until = held.operation.log_low.after(held.timeout);
    for (.., operation) in arranged.renewals_of(held.got.message, held.got.reservation) {
        match (&operation.op, &operation.answer) {
            (Op::Touch { timeout, .. }, Answer::Touched(_)) => {
                until = operation.log_low.after(*timeout);
            }
            _ => return None,
        }
    }
    Some(until)
}

/// Over the log: `message` is given under `second` at `now`.
pub(crate) fn in_log(
    message: &Message,
    second: ReservationId,
    now: Millis,
    findings: &mut Findings,
) {
    findings.looked(Check::OneHolder, u64::from(message.reserved_count > 0));
    if let Some(held) = &message.held {
        let (message, until) = (message.id, held.until);
        findings.blame(TwoHolders::InLog { message, until, at: now, second });
    }
}

#[cfg(test)]
#[path = "q4_one_holder_tests.rs"]
mod tests;
