//! Identifiers. Each is its own type, so that two of them can never be swapped.

use std::fmt;
use std::str::FromStr;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Box<str>);

        impl $name {
            /// Wraps `text` unchecked: bounds are checked where a command is checked.
            pub fn new(text: impl Into<Box<str>>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

number_id! {
    /// A node of the cluster. Never reused: a wiped node returns under a new one. 0 is no node.
    NodeId(u64)
}
number_id! {
    /// How often a node's data directory was opened; grows by one at each start, from 1.
    BootCount(u64)
}
number_id! {
    /// Which data directory a node runs on: random, made with the directory. A wiped node has
    /// another one. 0 is no directory.
    DataId(u64)
}
number_id! {
    /// A Raft group. Group 0 holds projects, tokens and nodes; today it is the only one.
    GroupId(u16)
}
number_id! {
    /// Index of an entry in a group's log, from 1; 0 is "before the first".
    LogIndex(u64)
}
number_id! {
    /// One life of a queue's content. Creating, clearing or deleting a queue ends the old store
    /// and, for the first two, begins a new one; a store number is never reused.
    StoreId(u64)
}
number_id! {
    /// Place of a message in its store: smaller is older. Kept for the message's life in that
    /// store, whatever happens to it; never reused.
    Position(u64)
}
text_id! {
    /// A project: 1..=64 bytes of UTF-8, minted as 24 lower-case hex digits.
    ProjectId
}
text_id! {
    /// A queue's name: 1..=255 bytes of UTF-8, case-sensitive. Source: ironmq-v3.md 3.7.
    QueueName
}
text_id! {
    /// Names a line of messages of which only the oldest may be reserved: 1..=128 bytes.
    OrderingKey
}
text_id! {
    /// The public half of a token: 16 lower-case hex digits.
    TokenId
}

/// Smallest message id: the smallest number of 19 decimal digits.
pub const MESSAGE_ID_MIN: u64 = 1_000_000_000_000_000_000;
/// Bits of a message id that count messages inside a group: 2^50 messages per group.
pub const MESSAGE_SEQ_BITS: u32 = 50;
/// Groups a message id can name; the largest id stays below 2^63 (ironmq-v3.md 1.3).
pub const MESSAGE_GROUPS_MAX: u64 = 4096;
const _: () = assert!(
    MESSAGE_ID_MIN + MESSAGE_GROUPS_MAX * (1 << MESSAGE_SEQ_BITS) < i64::MAX as u64,
    "message ids must fit in a signed 64-bit integer"
);

/// A message, for its whole life and across a move to a dead-letter queue.
///
/// Shown as a decimal string of 19 digits: `MESSAGE_ID_MIN + group * 2^50 + sequence`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageId(pub u64);

impl MessageId {
    /// The id of the group's `sequence`-th message. `sequence` < 2^50.
    pub const fn new(group: GroupId, sequence: u64) -> MessageId {
        assert!(sequence < 1 << MESSAGE_SEQ_BITS);
        MessageId(MESSAGE_ID_MIN + ((group.0 as u64) << MESSAGE_SEQ_BITS) + sequence)
    }

    /// The sequence number inside its group; `None` when this id was never minted by `new`.
    pub const fn sequence(self) -> Option<u64> {
        match self.0.checked_sub(MESSAGE_ID_MIN) {
            Some(rest) => Some(rest & ((1 << MESSAGE_SEQ_BITS) - 1)),
            None => None,
        }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:019}", self.0)
    }
}

/// Digits of the largest number a message id can be read from.
const MESSAGE_ID_DIGITS_MAX: usize = 20;

/// Reads 1..=20 decimal digits; anything else is no message id.
impl FromStr for MessageId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let sized = (1..=MESSAGE_ID_DIGITS_MAX).contains(&text.len());
        if !sized || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        text.parse().map(MessageId).map_err(|_| ())
    }
}

/// A consumer's right to a message: 48 bits of generation, 16 of touch number, 64 of MAC.
///
/// The generation is unique in the group and grows with each reservation. The MAC is keyed by the
/// group's secret over project, message, generation and touch number, so an id can neither be
/// guessed nor carried to another message. Shown as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReservationId(pub u128);

impl ReservationId {
    pub const fn new(generation: u64, touch: u16, mac: u64) -> ReservationId {
        assert!(generation < 1 << 48);
        ReservationId(((generation as u128) << 80) | ((touch as u128) << 64) | mac as u128)
    }

    pub const fn generation(self) -> u64 {
        (self.0 >> 80) as u64
    }

    pub const fn touch(self) -> u16 {
        (self.0 >> 64) as u16
    }

    pub const fn mac(self) -> u64 {
        self.0 as u64
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Reads exactly 32 hex digits of either case.
impl FromStr for ReservationId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(());
        }
        u128::from_str_radix(text, 16).map(ReservationId).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_show_as_19_digits_and_read_back() {
        let id = MessageId::new(GroupId(4095), (1 << MESSAGE_SEQ_BITS) - 1);
        assert_eq!(id.to_string().len(), 19);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.sequence(), Some((1 << MESSAGE_SEQ_BITS) - 1));
        assert_eq!("12x".parse::<MessageId>(), Err(()));
        assert_eq!("+12".parse::<MessageId>(), Err(()));
        assert_eq!("".parse::<MessageId>(), Err(()));
        assert_eq!(MessageId(5).sequence(), None);
    }

    #[test]
    fn a_message_id_has_at_most_20_digits() {
        assert_eq!("00000000000000000005".parse(), Ok(MessageId(5)));
        assert_eq!("000000000000000000005".parse::<MessageId>(), Err(()));
    }

    #[test]
    fn reservation_ids_show_as_32_hex_digits_and_keep_their_parts() {
        let id = ReservationId::new(7, 3, u64::MAX);
        assert_eq!(id.to_string(), "0000000000070003ffffffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!((id.generation(), id.touch(), id.mac()), (7, 3, u64::MAX));
        assert_eq!("7".parse::<ReservationId>(), Err(()));
    }
}
