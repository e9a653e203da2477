//! Queues and messages as the user sees them.

use crate::ids::{MessageId, OrderingKey, QueueName, ReservationId};
use crate::limits::{
    MAX_RESERVATIONS_DEFAULT, MESSAGE_EXPIRATION_DEFAULT, MESSAGE_TIMEOUT_DEFAULT,
};
use crate::units::Millis;

/// Settings of a pull queue. Source: ironmq-v3.md 3.1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueSettings {
    /// How long a reservation lasts when the caller names no time.
    pub message_timeout: Millis,
    /// How long a message lives, from its post.
    pub message_expiration: Millis,
    /// Where a message goes that was reserved too often; `None` keeps it for ever.
    pub dead_letter: Option<DeadLetter>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        QueueSettings {
            message_timeout: MESSAGE_TIMEOUT_DEFAULT,
            message_expiration: MESSAGE_EXPIRATION_DEFAULT,
            dead_letter: None,
        }
    }
}

/// A dead-letter setting: a message already reserved `max_reservations` times is moved to `queue`
/// instead of being reserved again. `max_reservations` is 1..=1000.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    pub queue: QueueName,
    pub max_reservations: u32,
}

/// Changes to a queue's settings; `None` leaves a setting as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QueuePatch {
    pub message_timeout: Option<Millis>,
    pub message_expiration: Option<Millis>,
    pub dead_letter: Option<DeadLetterPatch>,
}

/// A change of the dead-letter setting. Source: ironmq-v3.md section 8.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeadLetterPatch {
    Remove,
    /// `queue: None` keeps the queue already named (rejected when there is none);
    /// `max_reservations: None` keeps the number, or takes the default of 10.
    Set {
        queue: Option<QueueName>,
        max_reservations: Option<u32>,
    },
}

/// Default number of reservations when a dead-letter queue is first named.
pub const fn default_max_reservations() -> u32 {
    MAX_RESERVATIONS_DEFAULT
}

/// A message to be posted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMessage {
    /// 0..=`BODY_BYTES_MAX` bytes; any bytes (the Iron door allows UTF-8 alone).
    pub body: Vec<u8>,
    /// Not reservable before this much log time has passed: 0..=`DELAY_MAX`.
    pub delay: Millis,
    /// Life of this message; `None` takes the queue's.
    pub expiration: Option<Millis>,
    /// Waits until every older message of the same key in the queue is gone.
    pub ordering_key: Option<OrderingKey>,
}

/// Names a message in a delete, with the reservation under which it is held, if any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    pub message: MessageId,
    pub reservation: Option<ReservationId>,
}

/// A message under a reservation that was told to nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    pub message: MessageId,
    pub reservation: ReservationId,
}
