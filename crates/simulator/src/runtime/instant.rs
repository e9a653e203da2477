//! Points on a life's monotonic clock.

use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use super::executor;

/// Nanoseconds of the clock of the life that asked. Instants of two machines do not compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(pub(crate) u64);

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates: a deadline beyond 584 years never comes.
    fn add(self, length: Duration) -> Instant {
        Instant(self.0.saturating_add(nanos(length)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, length: Duration) {
        *self = *self + length;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, length: Duration) -> Instant {
        Instant(
            self.0.checked_sub(nanos(length)).expect("no instant lies before the clock's start"),
        )
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, length: Duration) {
        *self = *self - length;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    /// Zero when `earlier` is later, as the standard library has it.
    fn sub(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl openraft_rt::Instant for Instant {
    #[track_caller]
    fn now() -> Instant {
        let shared = executor::current();
        let state = shared.lock();
        Instant(state.clock(state.current).local_ns(state.now_ns))
    }
}
