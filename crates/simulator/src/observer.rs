//! The promises of agreement, from what every node says of itself while it runs.
//!
//! Not here: what clients see (`checks.rs`).

use std::collections::BTreeMap;

use bessemer_model::{LogIndex, NodeId};
use bessemer_seam::consensus::ClusterStatus;

use crate::checks::Findings;

#[derive(Default)]
pub struct Observer {
    /// R1: the chain at each index, and who showed it first.
    chains: BTreeMap<LogIndex, ([u8; 32], NodeId)>,
    /// R2: who led each term.
    leaders: BTreeMap<u64, NodeId>,
    conflicts: Vec<String>,
    compared: u64,
}

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
            let first = *self.leaders.entry(status.term).or_insert(status.me);
            if first != status.me {
                let text = format!("nodes {first} and {} both led term {}", status.me, status.term);
                self.conflicts.push(text);
            }
        }
    }

    pub fn judge(&self, findings: &mut Findings) {
        findings.looked_times("R1 same chain", self.compared);
        findings.looked_times("R2 leaders seen", self.leaders.len() as u64);
        for conflict in &self.conflicts {
            findings.blame("R agreement", conflict.clone());
        }
    }
}
