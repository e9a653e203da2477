//! The promises of agreement, from what every node says of itself while it runs.
//!
//! Not here: what clients see (`checks.rs`).

use std::collections::{BTreeMap, BTreeSet};

use bessemer_model::{LogIndex, NodeId};
use bessemer_seam::consensus::ClusterStatus;

use crate::checks::Findings;

#[derive(Default)]
pub struct Observer {
    /// R1: the chain at each index, and who showed it first.
    chains: BTreeMap<LogIndex, ([u8; 32], NodeId)>,
    /// Who led, by term and node: openraft orders two leaders of one term by node, so that the
    /// lower may lead first and the higher after it.
    leaders: BTreeSet<(u64, NodeId)>,
    conflicts: Vec<String>,
    compared: u64,
    /// Polls of tasks in the busiest second of virtual time.
    pub busiest: u64,
}

/// Polls in one second of virtual time beyond which something runs in a circle: several times what
/// the busiest second of a healthy run takes.
const POLLS_PER_SECOND_MAX: u64 = 250_000;

impl Observer {
    pub fn see(&mut self, status: &ClusterStatus) {
        match self.chains.get(&status.applied) {
            Some((chain, first)) if *first != status.me => {
                self.compared += 1;
                if *chain != status.chain {
                    let text =
                        format!("nodes {first} and {} differ at {}", status.me, status.applied);
                    self.conflicts.push(text);
                }
            }
            Some(_) => {}
            None => {
                self.chains.insert(status.applied, (status.chain, status.me));
            }
        }
        if status.leader == Some(status.me) {
            self.leaders.insert((status.term, status.me));
        }
    }

    /// Tasks were polled this often in a second of virtual time.
    pub fn polled(&mut self, times: u64) {
        self.busiest = self.busiest.max(times);
    }

    pub fn judge(&self, findings: &mut Findings) {
        findings.looked_times("R1 same chain", self.compared);
        findings.looked_times("R2 leaders seen", self.leaders.len() as u64);
        findings.looked("P12 bounded");
        if self.busiest > POLLS_PER_SECOND_MAX {
            let text = format!("tasks ran {} times in a second of virtual time", self.busiest);
            findings.blame("P12 bounded", text);
        }
        for conflict in &self.conflicts {
            findings.blame("R agreement", conflict.clone());
        }
    }
}
