//! A place in the log: a segment, and a byte in it.
//!
//! Invariant: positions are ordered as the records at them were written.

use std::fmt;

/// A byte of the log. `Position::default()` is before the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    /// Segments count from 1.
    pub segment: u32,
    pub offset: u32,
}

impl Position {
    pub const fn new(segment: u32, offset: u32) -> Position {
        Position { segment, offset }
    }

    pub(crate) const fn to_u64(self) -> u64 {
        ((self.segment as u64) << 32) | self.offset as u64
    }

    pub(crate) const fn from_u64(number: u64) -> Position {
        Position { segment: (number >> 32) as u32, offset: number as u32 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}
