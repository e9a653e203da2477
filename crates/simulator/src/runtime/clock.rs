//! A machine's clocks, derived from true virtual time.
//!
//! Invariants: local time never goes back; wall time may jump, and only by `jump_wall`.

/// Virtual time starts one day in, so that subtracting a timeout from an instant never underflows.
pub(crate) const START_NS: u64 = 86_400 * 1_000_000_000;
/// Wall time at the start of every simulation: 2026-01-01 00:00 UTC.
const WALL_START_MS: u64 = 1_767_225_600_000;
const MILLION: i64 = 1_000_000;

/// One machine's monotonic and wall clock.
#[derive(Clone, Debug)]
pub struct Clock {
    /// True and local time of the last change of rate.
    true_ns: u64,
    local_ns: u64,
    /// Local nanoseconds that pass in a million true ones.
    rate: i64,
    /// What the wall clock shows beyond local time.
    wall_ahead_ms: i64,
    /// Local time at the start, to be subtracted where wall time is derived.
    boot_ns: u64,
}

impl Clock {
    /// A clock that shows true time.
    pub fn exact() -> Clock {
        Clock::new(0, 0, 0)
    }

    /// A clock whose machine was started `age_ms` before the simulation, which gains `drift_ppm`
    /// millionths (at most 100,000 either way), and whose wall clock is `wall_ahead_ms` ahead.
    pub fn new(age_ms: u64, drift_ppm: i64, wall_ahead_ms: i64) -> Clock {
        assert!(drift_ppm.abs() <= MILLION / 10, "a clock off by more than 10 % is no clock");
        let local_ns = START_NS + age_ms * 1_000_000;
        Clock {
            true_ns: START_NS,
            local_ns,
            rate: MILLION + drift_ppm,
            wall_ahead_ms,
            boot_ns: local_ns,
        }
    }

    /// Local monotonic time when true time is `now_ns`.
    pub(crate) fn local_ns(&self, now_ns: u64) -> u64 {
        let passed = u128::from(now_ns - self.true_ns) * self.rate as u128 / MILLION as u128;
        self.local_ns + passed as u64
    }

    /// The first true time at which local time is `local_ns` or later.
    pub(crate) fn true_ns(&self, local_ns: u64) -> u64 {
        let left = u128::from(local_ns.saturating_sub(self.local_ns)) * MILLION as u128;
        self.true_ns
            .saturating_add(u64::try_from(left.div_ceil(self.rate as u128)).unwrap_or(u64::MAX))
    }

    pub(crate) fn wall_ms(&self, now_ns: u64) -> u64 {
        let since_boot_ms = (self.local_ns(now_ns) - self.boot_ns) / 1_000_000;
        (WALL_START_MS + since_boot_ms).saturating_add_signed(self.wall_ahead_ms)
    }

    /// From now on the clock gains `drift_ppm` millionths.
    pub(crate) fn set_drift(&mut self, now_ns: u64, drift_ppm: i64) {
        assert!(drift_ppm.abs() <= MILLION / 10, "a clock off by more than 10 % is no clock");
        self.local_ns = self.local_ns(now_ns);
        self.true_ns = now_ns;
        self.rate = MILLION + drift_ppm;
    }

    pub(crate) fn jump_wall(&mut self, by_ms: i64) {
        self.wall_ahead_ms += by_ms;
    }

    /// Sets the wall clock right, as a time server would.
    pub(crate) fn set_wall(&mut self, now_ns: u64) {
        let right_ms = WALL_START_MS + (now_ns - START_NS) / 1_000_000;
        self.wall_ahead_ms += right_ms as i64 - self.wall_ms(now_ns) as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_reached_early_whatever_the_rate() {
        for drift in [-90_000, -333, -1, 0, 1, 777, 90_000] {
            let clock = Clock::new(5, drift, 0);
            for wait in [1, 999, 1_000_000, 123_456_789] {
                let deadline = clock.local_ns(START_NS + 17) + wait;
                let at = clock.true_ns(deadline);
                assert!(clock.local_ns(at) >= deadline, "{drift} {wait}");
                assert!(clock.local_ns(at - 2) < deadline, "{drift} {wait}");
            }
        }
    }

    #[test]
    fn a_new_rate_leaves_the_present_where_it_was() {
        let mut clock = Clock::new(0, 50_000, 0);
        let now = START_NS + 1_000_000_000;
        let before = clock.local_ns(now);
        clock.set_drift(now, -50_000);
        assert_eq!(clock.local_ns(now), before);
        assert_eq!(clock.local_ns(now + 1_000_000), before + 950_000);
    }

    #[test]
    fn a_jump_moves_the_wall_alone_and_is_set_right() {
        let mut clock = Clock::new(9, 0, 0);
        let now = START_NS + 5_000_000_000;
        let (local, wall) = (clock.local_ns(now), clock.wall_ms(now));
        clock.jump_wall(-3_000);
        assert_eq!((clock.local_ns(now), clock.wall_ms(now)), (local, wall - 3_000));
        clock.set_wall(now);
        assert_eq!(clock.wall_ms(now), wall);
    }
}
