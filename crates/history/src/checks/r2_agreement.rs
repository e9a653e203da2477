//! R2, agreement: what a node once knew of terms and of the log it never takes back.
//!
//! Source: reliability 2, R2; Ongaro and Ousterhout 2014, figures 2 and 3 (terms are persistent and
//! only grow; what is committed stays). Found so in the wild: openraft 0.9.24, issue 1808 (a stale
//! membership after a snapshot lost committed entries).
//! No false alarm: two nodes may lead one term, since openraft orders leaders by term and then by
//! node, so a second leader of a term is no violation by itself; that the committed prefix never
//! changes is judged by the chain at each index (R1), and here by indexes that never go back. A
//! boot may begin at an older applied index than the one before it, for state is written later
//! than the log; its term may not be older, and log time not either, within one boot.

use std::fmt;

use bessemer_model::{LogIndex, Millis, NodeId};

use crate::arranged::Arranged;
use crate::event::Sighting;
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WentBack {
    /// Even over a restart.
    Term {
        node: NodeId,
        from: u64,
        to: u64,
    },
    /// A node was seen in an older boot.
    Boot {
        node: NodeId,
        from: u64,
        to: u64,
    },
    Committed {
        node: NodeId,
        boot: u64,
        from: LogIndex,
        to: LogIndex,
    },
    Applied {
        node: NodeId,
        boot: u64,
        from: LogIndex,
        to: LogIndex,
    },
    LogTime {
        node: NodeId,
        boot: u64,
        from: Millis,
        to: Millis,
    },
}

impl fmt::Display for WentBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WentBack::Term { node, from, to } => {
                write!(f, "node {node} went from term {from} back to {to}")
            }
            WentBack::Boot { node, from, to } => {
                write!(f, "node {node} was seen in boot {to} after boot {from}")
            }
            WentBack::Committed { node, boot, from, to } => {
                write!(f, "node {node}, boot {boot}: committed went from {from} back to {to}")
            }
            WentBack::Applied { node, boot, from, to } => {
                write!(f, "node {node}, boot {boot}: applied went from {from} back to {to}")
            }
            WentBack::LogTime { node, boot, from, to } => {
                write!(f, "node {node}, boot {boot}: log time went from {from} back to {to}")
            }
        }
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let mut sightings: Vec<&Sighting> = arranged.history.sightings.iter().collect();
    sightings.sort_by_key(|each| (each.node, each.at_ns));
    let mut leaders: Vec<(u64, NodeId)> =
        sightings.iter().filter(|each| each.leads).map(|each| (each.term, each.node)).collect();
    leaders.sort_unstable();
    leaders.dedup();
    findings.looked(Check::Agreement, leaders.len() as u64);
    for seen in sightings.chunk_by(|one, next| one.node == next.node) {
        for pair in seen.windows(2) {
            goes_on(pair[0], pair[1], findings);
        }
    }
}

fn goes_on(first: &Sighting, second: &Sighting, findings: &mut Findings) {
    let (node, boot) = (first.node, first.boot);
    let grown = second.term > first.term || second.boot > first.boot;
    findings.looked(Check::Agreement, u64::from(grown));
    if second.term < first.term {
        findings.blame(WentBack::Term { node, from: first.term, to: second.term });
    }
    if second.boot < first.boot {
        findings.blame(WentBack::Boot { node, from: first.boot, to: second.boot });
    }
    if second.boot != first.boot {
        return;
    }
    if second.committed < first.committed {
        let (from, to) = (first.committed, second.committed);
        findings.blame(WentBack::Committed { node, boot, from, to });
    }
    if second.applied < first.applied {
        let (from, to) = (first.applied, second.applied);
        findings.blame(WentBack::Applied { node, boot, from, to });
    }
    if second.log_time < first.log_time {
        let (from, to) = (first.log_time, second.log_time);
        findings.blame(WentBack::LogTime { node, boot, from, to });
    }
}

#[cfg(test)]
#[path = "r2_agreement_tests.rs"]
mod tests;
