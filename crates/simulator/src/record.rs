//! The record of a run: what clients heard, what logs applied, what nodes said of themselves.
//!
//! Not here: judging (`bessemer_history`). All times of one operation come from one true clock;
//! log times come from the node that was asked, read before the call and after its answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bessemer_engine::{PartResult, PartTold, Told, decode_batch};
use bessemer_history::event::{Applied, History, Operation, Rules, Sighting};
use bessemer_model::{LogIndex, NodeId, Outcome};
use bessemer_seam::consensus::ClusterStatus;

use crate::doors::Door;

#[derive(Default)]
struct Inner {
    operations: Vec<Operation>,
    applied: Vec<Applied>,
    /// What each entry brought about where it was applied first, and where that was.
    told: BTreeMap<LogIndex, (NodeId, Vec<PartTold>)>,
    /// Entries applied again elsewhere, or after a restart, and compared.
    compared: u64,
    conflicts: Vec<String>,
    sightings: Vec<Sighting>,
    last_seen: BTreeMap<NodeId, Sighting>,
    /// Polls of tasks in the busiest second of virtual time.
    busiest: u64,
}

/// Only the node that proposed a reserve reads the bodies.
fn without_bodies(part: &PartTold) -> PartTold {
    let mut part = part.clone();
    if let PartResult::Fresh(answers) = &mut part.result {
        answers.iter_mut().flatten().for_each(take_bodies);
    }
    part
}

fn take_bodies(outcome: &mut Outcome) {
    match outcome {
        Outcome::Reserved { messages } => messages.iter_mut().for_each(|one| one.body = None),
        Outcome::Transacted { outcomes } => outcomes.iter_mut().for_each(take_bodies),
        _ => {}
    }
}

/// Shared by all clients and nodes.
#[derive(Clone, Default)]
pub struct Record {
    inner: Arc<Mutex<Inner>>,
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn operation(&self, operation: Operation) {
        self.lock().operations.push(operation);
    }

    /// `node` applied `batch`: the first to do so is recorded, all others must be told the same.
    pub fn applied(&self, node: NodeId, index: LogIndex, batch: &[u8], told: &Told) {
        let parts: Vec<PartTold> = told.parts.iter().map(without_bodies).collect();
        let mut inner = self.lock();
        if let Some((first, known)) = inner.told.get(&index) {
            if *known != parts {
                let text = format!(
                    "entry {index} brought about {known:?} on node {first} and {parts:?} on node \
                     {node}"
                );
                inner.conflicts.push(text);
            }
            inner.compared += 1;
            return;
        }
        match decode_batch(batch) {
            Ok(batch) => {
                for (part, told_part) in batch.parts.into_iter().zip(&parts) {
                    let PartResult::Fresh(answers) = &told_part.result else { continue };
                    let each = part.requests.into_iter().zip(answers.iter().cloned());
                    for (place, (request, answer)) in each.enumerate() {
                        let lane = part.lane.map(|lane| (lane, place as u32));
                        let applied = Applied { index, log_time: told.now, lane, request, answer };
                        inner.applied.push(applied);
                    }
                }
            }
            Err(error) => inner.conflicts.push(format!("entry {index} was applied, yet: {error}")),
        }
        inner.told.insert(index, (node, parts));
    }

    /// What a node says of itself; kept when it says something new. A node whose disks were harmed
    /// is another node to the judge: it may go back, and its peers must see to that.
    pub fn sighting(&self, at_ns: u64, door: &Door, status: &ClusterStatus) {
        let sighting = Sighting {
            at_ns,
            node: NodeId(status.me.0 + door.harms * 1_000),
            boot: door.boot.0,
            term: status.term,
            leads: status.leader == Some(status.me),
            committed: status.committed,
            applied: status.applied,
            chain: status.chain,
            log_time: status.log_time,
            members: status.members.iter().map(|member| member.node).collect(),
        };
        let mut inner = self.lock();
        let known = inner.last_seen.get(&sighting.node);
        let news = known.is_none_or(|known| Sighting { at_ns, ..known.clone() } != sighting);
        if news {
            inner.last_seen.insert(sighting.node, sighting.clone());
            inner.sightings.push(sighting);
        }
    }

    /// Tasks were polled this often in a second of virtual time.
    pub fn polled(&self, times: u64) {
        let mut inner = self.lock();
        inner.busiest = inner.busiest.max(times);
    }

    pub fn busiest(&self) -> u64 {
        self.lock().busiest
    }

    /// Entries that were compared, and those that brought about something else elsewhere.
    pub fn conflicts(&self) -> (u64, Vec<String>) {
        let inner = self.lock();
        (inner.compared, inner.conflicts.clone())
    }

    /// Everything, for the judge. Nothing is left here.
    pub fn take(&self, rules: Rules, healed_ns: Option<u64>, drained_ns: Option<u64>) -> History {
        let inner = std::mem::take(&mut *self.lock());
        let mut applied = inner.applied;
        // A snapshot may let a node begin in the middle: entries come in any order of nodes.
        applied.sort_by_key(|applied| applied.index);
        History {
            rules,
            operations: inner.operations,
            applied,
            sightings: inner.sightings,
            healed_ns,
            drained_ns,
        }
    }
}
