//! Q9, delay kept: nothing is given before the delay of its post, or of its release, has passed.
//!
//! Source: reliability 2, Q9; design 2, P6 ("never early, in log time").
//! No false alarm: judged in log time, which each operation brackets; of a post that was sent more
//! than once the earliest may be the one that was done.
//! Over the log it is exact: the oracle knows the delay.

use std::fmt;

use bessemer_model::{MessageId, Millis};

use crate::arranged::Arranged;
use crate::event::{Answer, Op};
use crate::model::Message;
use crate::verdict::{Check, Findings};

/// Given too early.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Early {
    pub message: MessageId,
    /// It was delayed so long at least.
    pub until: Millis,
    /// It was given no later.
    pub at: Millis,
}

impl fmt::Display for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Early { message, until, at } = self;
        write!(f, "message {message} was delayed until {until} at least, and given at {at} at most")
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    for posts in arranged.posts.chunk_by(|one, next| one.uid == next.uid) {
        let tried = posts.iter().filter(|post| !post.is_certainly_nothing());
        let delay = posts[0].delay;
        let Some(asked) = tried.map(|post| post.operation.log_low).min() else { continue };
        if delay == Millis::ZERO {
            continue;
        }
        for (_, message) in arranged.messages_of(posts[0].uid) {
            let delivery =
                arranged.deliveries_of(*message).iter().min_by_key(|each| each.operation.log_high);
            let Some(delivery) = delivery else { continue };
            is_late(*message, asked.after(delay), delivery.operation.log_high, findings);
        }
    }
    for (message, generation, release) in &arranged.renewals {
        let (Op::Release { delay, .. }, Answer::Released) = (&release.op, &release.answer) else {
            continue;
        };
        let deliveries = arranged.deliveries_of(*message);
        let next = deliveries.partition_point(|delivery| delivery.generation() <= *generation);
        let Some(next) = deliveries.get(next).filter(|_| *delay > Millis::ZERO) else { continue };
        let until = release.log_low.after(*delay);
        is_late(*message, until, next.operation.log_high, findings);
    }
}

fn is_late(message: MessageId, until: Millis, at: Millis, findings: &mut Findings) {
    findings.looked(Check::Delay, 1);
    if at < until {
        findings.blame(Early { message, until, at });
    }
}

/// Over the log: `message` is given at `now`.
pub(crate) fn in_log(message: &Message, now: Millis, findings: &mut Findings) {
    if let Some(until) = message.delayed {
        findings.blame(Early { message: message.id, until, at: now });
    }
}

#[cfg(test)]
#[path = "q9_delay_tests.rs"]
mod tests;
