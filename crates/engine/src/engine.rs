//! The engine: entries in, outcomes and effects out, rows written at each commit.
//!
//! Not here: verbs, rows, time; agreement on entries.
//! Invariants: the same entries give the same rows on every node, whatever was cached and however
//! entries were grouped into commits; the applied index and the rows move in one write; after a
//! fault nothing more is applied.

use std::ops::ControlFlow;

use bessemer_model::{BootCount, GroupId, LaneSeq, LogIndex, Millis, NodeId};
use bessemer_seam::kv::{Kv, Table, WriteBatch};
use bessemer_seam::mutants::{self, Mutant};

use crate::apply::apply_request;
use crate::core::{self, CLUSTER_VERSION, Core};
use crate::entry::{Part, decode_batch};
use crate::fault::Fault;
use crate::overlay::Overlay;
use crate::settle::settle;
use crate::state::{Bodies, State};
use crate::tables::lane::LaneRow;
use crate::tables::{end_of, number_at, read};
use crate::told::{Applied, PartResult, PartTold, Told};

/// One group's state machine over a map.
pub struct Engine<K: Kv> {
    kv: K,
    me: NodeId,
    boot: BootCount,
    state: State,
    next_due: Option<Millis>,
    /// An entry is being applied, or a fault ended one half-way.
    unfinished: bool,
}

impl<K: Kv> Engine<K> {
    /// Reads the applied state. `me` and `boot` decide only which outcomes carry bodies: those of
    /// this node's present run. Of an earlier run nobody waits for one.
    ///
    /// Reads a number of rows that does not depend on the number of messages.
    pub fn open(kv: K, group: GroupId, me: NodeId, boot: BootCount) -> Result<Self, Fault> {
        let core = read(&kv, Table::Meta, core::KEY.as_bytes(), Core::decode)?.unwrap_or_default();
        if core.cluster_version > CLUSTER_VERSION {
            let cluster_version = core.cluster_version;
            return Err(Fault::UnknownVersion { cluster_version });
        }
        let mut lanes = std::collections::BTreeMap::new();
        let mut fault = None;
        kv.scan(Table::Row, b"L", &end_of(b"L"), &mut |key, value| match (
            number_at(key, 1),
            LaneRow::decode(value),
        ) {
            (Ok(node), Ok(row)) => {
                lanes.insert(NodeId(node), row);
                ControlFlow::Continue(())
            }
            (Err(error), _) => {
                fault = Some(error);
                ControlFlow::Break(())
            }
            (_, Err(error)) => {
                fault = Some(error.into());
                ControlFlow::Break(())
            }
        })?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let state = State::new(group, Overlay::new(Box::new(kv.clone())), core, lanes);
        let mut engine = Engine { kv, me, boot, state, next_due: None, unfinished: false };
        engine.find_next_due()?;
        Ok(engine)
    }

    /// How far the state has come, uncommitted entries included.
    pub fn applied(&self) -> Applied {
        let Core { applied, chain, log_time, .. } = self.state.core;
        Applied { index: applied, chain, log_time }
    }

    /// Applies the entry at `index`, which is above every one before. Its rows are visible to
    /// later entries at once, and in the map after the next `commit`.
    ///
    /// First settles what is due by the entry's stamp, up to `TIMERS_PER_BATCH_MAX`. After a
    /// fault the engine refuses everything; the replica stops.
    pub fn apply(&mut self, index: LogIndex, batch: &[u8]) -> Result<Told, Fault> {
        self.begin(index)?;
        let entry = decode_batch(batch)?;
        let now = settle(&mut self.state, entry.stamp)?;
        let mut parts = Vec::with_capacity(entry.parts.len());
        for part in entry.parts {
            let lane = part.lane;
            parts.push(PartTold { lane, result: self.apply_part(part)? });
        }
        self.state.core.chain = link(&self.state.core.chain, index, batch);
        self.find_next_due()?;
        let effects = std::mem::take(&mut self.state.effects).into_list();
        self.unfinished = false;
        Ok(Told { parts, effects, now })
    }

    /// Moves the applied index over an entry that is not ours: a blank one, or a membership.
    /// Panics if `index` is not above every one before.
    pub fn skip(&mut self, index: LogIndex) {
        assert!(index > self.state.core.applied, "entries come in order");
        self.state.core.applied = index;
    }

    /// Writes everything applied since the last commit, with `meta` rows of the caller (keys
    /// beginning with `raft/`), as one batch.
    pub fn commit(&mut self, meta: &[(&str, Vec<u8>)]) -> Result<(), Fault> {
        if self.unfinished {
            return Err(Fault::Stopped);
        }
        let mut batch = self.state.rows.take();
        batch.put(Table::Meta, core::KEY, self.state.core.encode());
        for (key, value) in meta {
            assert!(key.starts_with("raft/"), "the caller's rows are named raft/…");
            batch.put(Table::Meta, *key, value.clone());
        }
        // Should the write fail, what it held is lost with this engine.
        self.unfinished = true;
        if mutants::on(Mutant::EtcdHalfApplied) {
            // The rows of the group and of the caller come last.
            let writes = batch.writes.split_off(batch.writes.len() / 2);
            self.kv.write(WriteBatch { writes })?;
        }
        self.kv.write(batch)?;
        self.unfinished = false;
        Ok(())
    }

    /// A row written with `commit`.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.kv.get(Table::Meta, key.as_bytes())?)
    }

    /// When the first unsettled timer is due: the leader proposes a `Tick` then.
    pub fn next_due(&self) -> Option<Millis> {
        self.next_due
    }

    /// Whether a `Sweep` has work.
    pub fn garbage_left(&self) -> bool {
        self.state.core.garbage_stores + self.state.core.garbage_projects > 0
    }

    /// Whether `InitGroup` was applied.
    pub fn initialized(&self) -> bool {
        self.state.core.cluster_version > 0
    }

    /// Boot and number of the last part applied of the node's lane.
    pub fn lane(&self, node: NodeId) -> Option<(BootCount, u64)> {
        self.state.lanes.get(&node).map(|row| (row.boot, row.last))
    }

    /// The map, as of the last commit.
    pub fn kv(&self) -> &K {
        &self.kv
    }

    /// Forgets everything cached. Changes nothing but the time the next commands take.
    pub fn clear_caches(&mut self) {
        self.state.clear_caches();
    }

    /// Rows written, and rows given by range reads, since the engine was opened: the measure of
    /// what an entry costs.
    pub fn rows_touched(&self) -> u64 {
        self.state.rows.rows_touched()
    }

    fn begin(&mut self, index: LogIndex) -> Result<(), Fault> {
        if self.unfinished {
            return Err(Fault::Stopped);
        }
        let applied = self.state.core.applied;
        if index <= applied {
            return Err(Fault::IndexNotAbove { index, applied });
        }
        self.unfinished = true;
        self.state.core.applied = index;
        Ok(())
    }

    fn apply_part(&mut self, part: Part) -> Result<PartResult, Fault> {
        if let Some(lane) = part.lane {
            if let Some(result) = refuse(self.state.lanes.get(&lane.node), lane) {
                return Ok(result);
            }
            self.state.save_lane(lane);
        }
        let mine = part.lane.is_some_and(|lane| lane.node == self.me && lane.boot == self.boot);
        self.state.bodies = if mine { Bodies::Wanted } else { Bodies::Unwanted };
        let mut results = Vec::with_capacity(part.requests.len());
        for request in part.requests {
            results.push(apply_request(&mut self.state, request)?);
        }
        Ok(PartResult::Fresh(results))
    }

    fn find_next_due(&mut self) -> Result<(), Fault> {
        self.next_due = self.state.first_timer()?.map(|timer| timer.due());
        Ok(())
    }
}

/// Why a part is ignored; `None` if it is the lane's next.
fn refuse(known: Option<&LaneRow>, lane: LaneSeq) -> Option<PartResult> {
    let last = match known {
        Some(row) if lane.boot < row.boot => {
            return Some(PartResult::OldBoot { current: row.boot });
        }
        Some(row) if lane.boot == row.boot => row.last,
        // The first part of a boot.
        Some(_) | None => 0,
    };
    if lane.seq <= last && !mutants::on(Mutant::RedpandaResentPart) {
        Some(PartResult::Duplicate)
    } else if lane.seq > last + 1 {
        Some(PartResult::Gap { expected: last + 1 })
    } else {
        None
    }
}

/// The chain after one more batch.
fn link(chain: &[u8; 32], index: LogIndex, batch: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(chain);
    hasher.update(&index.0.to_be_bytes());
    hasher.update(batch);
    *hasher.finalize().as_bytes()
}
