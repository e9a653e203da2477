//! Units of time. Log time is decided by the log, never by a clock of this process.

use std::fmt;

/// Milliseconds: a length of time, or a point of log time since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Millis(pub u64);

impl Millis {
    pub const ZERO: Millis = Millis(0);

    /// `seconds` as milliseconds; saturates at `u64::MAX`.
    pub const fn from_secs(seconds: u64) -> Millis {
        Millis(seconds.saturating_mul(1000))
    }

    /// The point `length` later; saturates, so a far deadline never wraps into the past.
    pub const fn after(self, length: Millis) -> Millis {
        Millis(self.0.saturating_add(length.0))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
