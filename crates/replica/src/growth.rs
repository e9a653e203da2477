//! How much log there is behind which index.
//!
//! Not here: what is cut (`retention.rs`). The log itself only knows the sum of its bytes.
//! Invariants: memory is bounded by `MARKS_MAX`; an answer never has less behind it than asked.

use std::collections::VecDeque;

use bessemer_model::LogIndex;

/// Marks within the kept bytes: an answer has at most this share more behind it than asked.
const MARKS_MAX: u64 = 64;

/// Remembers marks as entries are applied, spaced by bytes, never by time.
pub(crate) struct Growth {
    keep_bytes: u64,
    /// Index, and bytes of log up to it, ascending.
    marks: VecDeque<(LogIndex, u64)>,
    total_bytes: u64,
}

impl Growth {
    /// At `index`, with `total_bytes` of log up to it. Only `keep_bytes` will be asked for.
    pub fn new(index: LogIndex, total_bytes: u64, keep_bytes: u64) -> Growth {
        Growth { keep_bytes, marks: VecDeque::from([(index, total_bytes)]), total_bytes }
    }

    /// `bytes` more were applied, the last of them at `index`.
    pub fn add(&mut self, index: LogIndex, bytes: u64) {
        self.total_bytes += bytes;
        let spacing = self.keep_bytes / MARKS_MAX;
        let last = self.marks.back().map_or(0, |(_, at)| *at);
        if self.total_bytes - last < spacing.max(1) {
            return;
        }
        self.marks.push_back((index, self.total_bytes));
        while self.marks.get(1).is_some_and(|(_, at)| self.total_bytes - at >= self.keep_bytes) {
            self.marks.pop_front();
        }
    }

    /// Bytes of log applied, counting what the log held at the start.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The highest known index with at least the kept bytes of log behind it; 0 is none.
    pub fn keep_from(&self) -> LogIndex {
        let enough = |(_, at): &&(LogIndex, u64)| self.total_bytes - at >= self.keep_bytes;
        self.marks.iter().rev().find(enough).map_or(LogIndex(0), |(index, _)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_index_with_enough_log_behind_it() {
        let mut growth = Growth::new(LogIndex(0), 0, 250);
        for step in 1..=10 {
            growth.add(LogIndex(step), 100);
        }
        assert_eq!(growth.total_bytes(), 1_000);
        assert_eq!(growth.keep_from(), LogIndex(7));
    }

    #[test]
    fn there_is_no_index_before_enough_was_applied() {
        let mut growth = Growth::new(LogIndex(40), 5_000, 250);
        growth.add(LogIndex(41), 249);
        assert_eq!(growth.keep_from(), LogIndex(0));
        growth.add(LogIndex(42), 1);
        assert_eq!(growth.keep_from(), LogIndex(40));
    }

    #[test]
    fn marks_are_bounded_and_a_large_step_leaves_one_behind() {
        let mut growth = Growth::new(LogIndex(0), 0, 6_400);
        for step in 1..=100_000 {
            growth.add(LogIndex(step), 3);
            assert!(growth.marks.len() as u64 <= MARKS_MAX + 2, "{}", growth.marks.len());
        }
        let kept = growth.total_bytes() - growth.keep_from().0 * 3;
        assert!((6_400..6_600).contains(&kept), "{kept}");
        growth.add(LogIndex(100_001), 1 << 30);
        assert_eq!(growth.keep_from(), growth.marks[0].0);
        assert_eq!(growth.marks.len(), 2);
    }
}
