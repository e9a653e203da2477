//! X1, whole transactions: a swap whose answer was lost acked and posted, or did neither.
//!
//! Source: design 3, "Transactions" (applied whole or not at all). Found so in the wild: Kafka's
//! torn transactions (KIP-890, Jepsen 2024).
//! No false alarm: a message that is given under a newer reservation was not acked by then; that it
//! is gone is known only after a drain, when nobody else may have acked it.

use std::fmt;

use bessemer_model::MessageId;

use crate::arranged::Arranged;
use crate::event::{Answer, Op, Uid};
use crate::verdict::{Check, Findings};

/// Half a swap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Half {
    pub message: MessageId,
    pub uid: Uid,
    /// The post was done, and the ack was not; else the other way round.
    pub posted: bool,
    pub called_ns: u64,
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Half { message, uid, posted, called_ns } = self;
        let what = if *posted { "posted, but not acked" } else { "acked, but not posted" };
        write!(f, "a swap of message {message} for uid {uid}, asked at {called_ns} ns: {what}")
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    for operation in &arranged.history.operations {
        let Op::Swap { held, uid, .. } = &operation.op else { continue };
        let heard = match operation.answer {
            Answer::Unknown => false,
            Answer::Swapped(_) => true,
            _ => continue, // Not done, which is Q2's affair if it was.
        };
        findings.looked(Check::WholeTransactions, 1);
        let posted = heard || !arranged.messages_of(*uid).is_empty();
        let newest = arranged.deliveries_of(held.message).last();
        let generation = held.reservation.generation();
        let returned = newest.is_some_and(|newest| newest.generation() > generation);
        let mut acks = arranged.acks_of(held.message).iter();
        let acked_by_others = acks.any(|ack| !std::ptr::eq(ack.operation, operation));
        let drained = arranged.history.drained_ns.is_some();
        let acked_alone = drained && !posted && !returned && !acked_by_others;
        if (posted && returned) || acked_alone {
            let (message, uid, called_ns) = (held.message, *uid, operation.called_ns);
            findings.blame(Half { message, uid, posted, called_ns });
        }
    }
}

#[cfg(test)]
#[path = "whole_transactions_tests.rs"]
mod tests;
