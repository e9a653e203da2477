//! The trace of a run: what our own seams and checks saw, in order, and its hash.
//!
//! Not here: polls and wakes of tasks, which a new version of a library may change without harm.
//! Invariant: two runs of one seed and one program give the same lines and the same hash.

use std::collections::VecDeque;
use std::fmt;

/// Lines kept for the report of a failed run.
const TAIL_LINES_MAX: usize = 200;

/// Where the lines of a trace go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceTo {
    /// Only into the hash and the tail.
    Hash,
    /// To standard error as well, as they happen.
    Stderr,
}

pub(crate) struct Trace {
    hash: u64,
    lines: u64,
    tail: VecDeque<String>,
    to: TraceTo,
}

impl Trace {
    pub(crate) fn new(to: TraceTo) -> Trace {
        // Offset basis and prime of 64-bit FNV-1a.
        Trace { hash: 0xcbf2_9ce4_8422_2325, lines: 0, tail: VecDeque::new(), to }
    }

    /// Adds one line. `now_ns` is true virtual time.
    pub(crate) fn note(&mut self, now_ns: u64, event: fmt::Arguments<'_>) {
        let (seconds, micros) = (now_ns / 1_000_000_000, now_ns / 1_000 % 1_000_000);
        let line = format!("{seconds:>5}.{micros:06} {event}");
        for byte in line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.lines += 1;
        if self.to == TraceTo::Stderr {
            eprintln!("{line}");
        }
        if self.tail.len() == TAIL_LINES_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }
}
