//! R1, same state: at the same applied index every node has the same hash chain.
//!
//! Source: reliability 2, R1; design 2, P11; engine (`chain`: a hash over everything applied).
//! No false alarm: a sighting takes index and chain at one moment.

use std::fmt;

use bessemer_model::{LogIndex, NodeId};

use crate::arranged::Arranged;
use crate::event::Sighting;
use crate::verdict::{Check, Findings};

/// Two nodes, or one at two times, that differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differ {
    pub applied: LogIndex,
    pub first: NodeId,
    pub second: NodeId,
    /// When the second one was seen so.
    pub at_ns: u64,
}

impl fmt::Display for Differ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Differ { applied, first, second, at_ns } = self;
        write!(f, "nodes {first} and {second} differ at index {applied}, seen at {at_ns} ns")
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let mut sightings: Vec<&Sighting> = arranged.history.sightings.iter().collect();
    sightings.sort_by_key(|each| (each.applied, each.at_ns));
    for seen in sightings.chunk_by(|one, next| one.applied == next.applied) {
        let first = seen[0];
        let mut nodes = vec![first.node];
        for other in &seen[1..] {
            if !nodes.contains(&other.node) {
                nodes.push(other.node);
                findings.looked(Check::SameState, 1);
            }
            if other.chain != first.chain {
                findings.blame(Differ {
                    applied: first.applied,
                    first: first.node,
                    second: other.node,
                    at_ns: other.at_ns,
                });
                break;
            }
        }
    }
}

#[cfg(test)]
#[path = "r1_same_state_tests.rs"]
mod tests;
