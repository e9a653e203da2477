//! D1, dead letters: a message that was reserved often enough moves, with its id and its count, and
//! comes back no more.
//!
//! Source: design 3 ("one reserve moves at most 1,000 messages to a dead-letter queue"); IronMQ v3,
//! section 8; the dead-letter variant of RabbitMQ's Jepsen suite.
//! No false alarm: a reserve never gives a message more often than its queue allows, whatever
//! replies were lost, since lost ones are given back uncounted; a message is moved by the reserve
//! after its last, so in the dead-letter queue every count is larger.

use std::fmt;

use bessemer_model::MessageId;

use crate::arranged::{Arranged, Delivery};
use crate::event::{QueueKind, QueueNumber};
use crate::model::{Message, Queue};
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Undying {
    /// Given more often than its queue allows.
    NotMoved { message: MessageId, queue: QueueNumber, reserved_count: u32, max: u32 },
    /// Among the dead before its time.
    TooEarly { message: MessageId, reserved_count: u32, max: u32 },
    /// Given from its old queue after it was among the dead.
    Revived { message: MessageId, queue: QueueNumber },
    /// In the log: given instead of moved.
    InLog { message: MessageId, reserved_count: u32 },
}

impl fmt::Display for Undying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undying::NotMoved { message, queue, reserved_count, max } => write!(
                f,
                "queue {queue}: message {message} was given for the {reserved_count}. time, {max} \
                 are allowed"
            ),
            Undying::TooEarly { message, reserved_count, max } => write!(
                f,
                "message {message} was dead at its {reserved_count}. time, {max} are allowed alive"
            ),
            Undying::Revived { message, queue } => {
                write!(f, "message {message} came back from the dead to queue {queue}")
            }
            Undying::InLog { message, reserved_count } => {
                write!(f, "message {message} was given, though reserved {reserved_count} times")
            }
        }
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let same = |one: &Delivery<'_>, next: &Delivery<'_>| one.got.message == next.got.message;
    for deliveries in arranged.deliveries.chunk_by(same) {
        let mut dead = false;
        for delivery in deliveries {
            let (queue, message) = (delivery.queue, delivery.got.message);
            let reserved_count = delivery.got.reserved_count;
            match arranged.kind(queue) {
                Some(QueueKind::Dying { max_reservations: max, .. }) => {
                    findings.looked(Check::DeadLetters, u64::from(reserved_count == max));
                    if reserved_count > max {
                        let count = reserved_count;
                        findings.blame(Undying::NotMoved {
                            message,
                            queue,
                            reserved_count: count,
                            max,
                        });
                    }
                    if dead {
                        findings.blame(Undying::Revived { message, queue });
                    }
                }
                Some(QueueKind::Dead) => {
                    findings.looked(Check::DeadLetters, 1);
                    dead = true;
                    if let Some(max) = max_into(arranged, queue)
                        && reserved_count <= max
                    {
                        findings.blame(Undying::TooEarly { message, reserved_count, max });
                    }
                }
                Some(QueueKind::Plain | QueueKind::Delayed | QueueKind::Keyed) | None => {}
            }
        }
    }
}

/// The least number of reservations after which a message moves into `queue`.
fn max_into(arranged: &Arranged<'_>, queue: QueueNumber) -> Option<u32> {
    let kinds = arranged.history.rules.queues.iter().map(|rules| rules.kind);
    let into = kinds.filter_map(|kind| match kind {
        QueueKind::Dying { into, max_reservations } if into == queue => Some(max_reservations),
        _ => None,
    });
    into.min()
}

/// Over the log: `message` of `queue` is given.
pub(crate) fn in_log(queue: &Queue, message: &Message, findings: &mut Findings) {
    if queue.moves_to(message).is_some() {
        let (message, reserved_count) = (message.id, message.reserved_count);
        findings.blame(Undying::InLog { message, reserved_count });
    }
}

#[cfg(test)]
#[path = "dead_letters_tests.rs"]
mod tests;
