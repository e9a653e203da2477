//! What no run may show, whatever its clients saw: panics, processes that end without a cause,
//! replicas that differ in rows or outcomes, tasks that run in a circle, a cluster beyond repair.
//!
//! Not here: promises to clients and of agreement (`bessemer_history`).

use std::collections::BTreeMap;
use std::fmt;

/// Mishaps kept of one run: the first tell the story.
const MISHAPS_MAX: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The code under test panicked.
    Panic,
    /// A process ended, or did not start, without a fault that explains it.
    Accident,
    /// One entry brought about something else on another node, or after a restart.
    OtherOutcome,
    /// Nodes that applied the same hold other rows, or leftovers of what is gone.
    OtherRows,
    /// Tasks ran without end: see `POLLS_PER_SECOND_MAX`.
    Circle,
    /// The cluster did not come up, could not be repaired, or its nodes do not converge.
    Beyond,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Panic => "no panic",
            Kind::Accident => "no accident",
            Kind::OtherOutcome => "same outcomes",
            Kind::OtherRows => "same rows",
            Kind::Circle => "no circle",
            Kind::Beyond => "repaired",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mishap {
    pub kind: Kind,
    pub text: String,
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.text)
    }
}

/// What a run showed, and how often each kind could have been seen.
#[derive(Clone, Default, Debug)]
pub struct Mishaps {
    pub list: Vec<Mishap>,
    pub opportunities: BTreeMap<Kind, u64>,
}

impl Mishaps {
    pub fn blame(&mut self, kind: Kind, text: impl Into<String>) {
        let mishap = Mishap { kind, text: text.into() };
        if self.list.len() < MISHAPS_MAX && !self.list.contains(&mishap) {
            self.list.push(mishap);
        }
    }

    pub fn looked(&mut self, kind: Kind, times: u64) {
        *self.opportunities.entry(kind).or_default() += times;
    }
}
