//! What applying an entry tells the process around the engine.
//!
//! Not here: who is told.

use std::collections::BTreeSet;

use bessemer_model::{BootCount, Effect, LaneSeq, LogIndex, Millis, Outcome, Rejection};

/// How far the state has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    pub index: LogIndex,
    /// Hash chain over all batches up to `index`: h = blake3(h, index, batch).
    pub chain: [u8; 32],
    pub log_time: Millis,
}

/// What one entry brought about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// One per part, in the order of the entry.
    pub parts: Vec<PartTold>,
    /// Each at most once, in the order in which they first became true.
    pub effects: Vec<Effect>,
    /// Log time at which the entry's commands were applied.
    pub now: Millis,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartTold {
    pub lane: Option<LaneSeq>,
    pub result: PartResult,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartResult {
    /// Applied now: one result per request, in order.
    Fresh(Vec<Result<Outcome, Rejection>>),
    /// Applied before, by an earlier entry; ignored now.
    Duplicate,
    /// An earlier part is missing; ignored. The node sends again from `expected`.
    Gap { expected: u64 },
    /// The node has started again since; ignored, and never applied.
    OldBoot { current: BootCount },
}

/// Effects of the entry being applied: each once, in order.
#[derive(Default, Debug)]
pub(crate) struct Effects {
    list: Vec<Effect>,
    seen: BTreeSet<Effect>,
}

impl Effects {
    pub fn add(&mut self, effect: Effect) {
        if let Effect::QueueDeleted { project, queue } = &effect {
            // A queue made again under the name may wake its waiters once more.
            let (project, queue) = (project.clone(), queue.clone());
            self.seen.remove(&Effect::MessagesReady { project, queue });
        }
        if self.seen.insert(effect.clone()) {
            self.list.push(effect);
        }
    }

    pub fn append(&mut self, other: Effects) {
        for effect in other.list {
            self.add(effect);
        }
    }

    pub fn into_list(self) -> Vec<Effect> {
        self.list
    }
}
