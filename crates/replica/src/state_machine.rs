//! openraft's state machine on the engine.
//!
//! Not here: what an entry does (engine), when snapshots are taken (`snapshot.rs`).
//! Invariants: rows, applied index, newest log id and membership change in one write; outcomes
//! and effects are told after that write; any fault stops the replica; one worker does all this.

use std::error::Error;
use std::io;
use std::sync::Arc;

use bessemer_engine::{Engine, PartTold};
use bessemer_model::Effect;
use bessemer_seam::mutants::{self, Mutant};
use bessemer_seam::state_store::StateStore;
use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{AsyncRuntime, EntryPayload, OptionalSend, RaftSnapshotBuilder};

use crate::codec::{
    decode, encode, get_log_id, get_stored_membership, log_index, put_log_id, put_stored_membership,
};
use crate::event::lock;
use crate::fatal::whole;
use crate::peers::ROW_ADMITTED;
use crate::progress::Applied;
use crate::shared::Shared;
use crate::snapshot::{Current, SnapshotData, label_of, put_records, records_with};
use crate::types::{Entry, LogId, SnapshotMeta, StoredMembership, Types};
use crate::world::{FrozenOf, KvOf, World};

/// Meta rows of the state, beside the engine's own.
const ROW_APPLIED: &str = "raft/applied";
const ROW_MEMBERSHIP: &str = "raft/membership";
pub(crate) const ROW_SNAPSHOTS: &str = "raft/snapshots";
pub(crate) const ROW_PEERS: &str = "raft/peers";
pub(crate) const ROW_NODES_SEEN: &str = "raft/nodes";

/// One write to the state holds at most this much of the log.
const COMMIT_BYTES_MAX: usize = 1 << 20;
const COMMIT_ENTRIES_MAX: usize = 256;

type SnapshotOf<W> =
    openraft::Snapshot<crate::types::LeaderId, u64, crate::types::PeerNode, SnapshotData<W>>;

pub struct StateMachine<W: World> {
    shared: Arc<Shared<W>>,
    engine: Engine<KvOf<W>>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    membership_changed: bool,
    /// What was applied since the last write to the state, and waits for it.
    told: Vec<PartTold>,
    effects: Vec<Effect>,
    entries: usize,
    bytes: usize,
}

impl<W: World> StateMachine<W> {
    /// Opens the state as `engine` found it.
    pub(crate) fn open(shared: Arc<Shared<W>>, engine: Engine<KvOf<W>>) -> io::Result<Self> {
        let mut machine = StateMachine {
            shared,
            engine,
            last_applied: None,
            membership: StoredMembership::default(),
            membership_changed: false,
            told: Vec::new(),
            effects: Vec::new(),
            entries: 0,
            bytes: 0,
        };
        machine.reload()?;
        Ok(machine)
    }

    /// Takes over what the engine's state says.
    fn reload(&mut self) -> io::Result<()> {
        let applied = self.meta(ROW_APPLIED)?;
        self.last_applied = match applied {
            Some(bytes) => Some(decode(&bytes, "the applied log id", get_log_id)?),
            None => None,
        };
        self.membership = match self.meta(ROW_MEMBERSHIP)? {
            Some(bytes) => decode(&bytes, "the membership", get_stored_membership)?,
            None => StoredMembership::default(),
        };
        if let Some(bytes) = self.meta(ROW_PEERS)? {
            self.shared.peers.load(&bytes)?;
        }
        if let Some(bytes) = self.meta(ROW_ADMITTED)? {
            self.shared.peers.load_admitted(&bytes, self.shared.options.data)?;
        }
        if let Some(bytes) = self.meta(ROW_NODES_SEEN)? {
            self.shared.peers.load_nodes_seen(&bytes)?;
        }
        self.publish();
        Ok(())
    }

    fn meta(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        self.engine.meta(key).map_err(io::Error::other)
    }

    /// Reports an error that stops the replica.
    fn fatal(&self, what: &str, error: impl Error) -> io::Error {
        let text = format!("{what}: {}", whole(&error));
        self.shared.fatal.report(&text);
        io::Error::other(text)
    }

    fn publish(&self) {
        let applied = self.engine.applied();
        self.shared.progress.set(Applied {
            index: applied.index,
            chain: applied.chain,
            log_time: applied.log_time,
            next_due: self.engine.next_due(),
            garbage_left: self.engine.garbage_left(),
            initialized: self.engine.initialized(),
        });
    }

    fn apply_one(&mut self, entry: Entry) -> io::Result<()> {
        let index = log_index(entry.log_id.index);
        match entry.payload {
            EntryPayload::Blank => self.engine.skip(index),
            EntryPayload::Membership(membership) => {
                self.engine.skip(index);
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                self.membership_changed = true;
            }
            EntryPayload::Normal(data) => {
                self.bytes += data.batch().len();
                let told = match self.engine.apply(index, data.batch()) {
                    Ok(told) => told,
                    Err(fault) => return Err(self.fatal("applying an entry", fault)),
                };
                self.shared.world.applied(index, data.batch(), &told);
                self.told.extend(told.parts);
                self.effects.extend(told.effects);
            }
        }
        self.last_applied = Some(entry.log_id);
        self.entries += 1;
        Ok(())
    }

    /// Writes what was applied, then tells everyone.
    fn commit(&mut self, more: &[(&str, Vec<u8>)]) -> io::Result<()> {
        let mut rows = Vec::with_capacity(4 + more.len());
        if let Some(id) = &self.last_applied {
            rows.push((ROW_APPLIED, encode(id, put_log_id)));
        }
        let kept = !mutants::on(Mutant::MembershipNotKept);
        if std::mem::take(&mut self.membership_changed) && kept {
            rows.push((ROW_MEMBERSHIP, encode(&self.membership, put_stored_membership)));
            let seen = self.shared.peers.nodes_seen(self.membership.membership());
            rows.push((ROW_NODES_SEEN, seen));
        }
        if let Some(peers) = self.shared.peers.changed() {
            rows.push((ROW_PEERS, peers));
        }
        rows.extend_from_slice(more);
        if let Err(fault) = self.engine.commit(&rows) {
            return Err(self.fatal("writing the state", fault));
        }
        self.shared.retention.applied(self.engine.applied().index, self.bytes as u64);
        self.entries = 0;
        self.bytes = 0;
        self.publish();
        self.shared.proposer.told(std::mem::take(&mut self.told), self.shared.runtime.elapsed());
        self.shared.effects.publish(&self.effects);
        self.effects.clear();
        Ok(())
    }

    fn meta_now(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.last_applied, last_membership: self.membership.clone() }
    }

    /// Freezes the state as it is. Runs on the worker, so between two entries.
    async fn freeze(&mut self) -> io::Result<SnapshotBuilder<W>> {
        let meta = self.meta_now();
        let label = label_of(meta.last_log_id.as_ref());
        // Written first: a checkpoint that exists always holds the record that explains it.
        let records = records_with(self.meta(ROW_SNAPSHOTS)?.as_deref(), &label, &meta)?;
        self.commit(&[(ROW_SNAPSHOTS, put_records(&records))])?;
        let (state, kv) = (self.shared.state.clone(), lock(&self.shared.kv).clone());
        let name = label.clone();
        let frozen = W::Rt::spawn_blocking(move || state.freeze(&kv, &name)).await?;
        let frozen = frozen.map_err(|error| self.fatal("taking a snapshot", error))?;
        Ok(SnapshotBuilder { shared: self.shared.clone(), meta, label, frozen: Some(frozen) })
    }

    async fn replace(&mut self, data: SnapshotData<W>) -> io::Result<()> {
        let shared = self.shared.clone();
        let installed = W::Rt::spawn_blocking(move || {
            let Shared { options, state, peers, kv, .. } = &*shared;
            let staging = match data {
                SnapshotData::Received { staging } => staging,
                SnapshotData::Held(current) => current.restage(&**state)?,
            };
            let open = |kv| {
                #[cfg(feature = "mutants")]
                if mutants::on(Mutant::SnapshotWithoutKeyedOutcomes) {
                    bessemer_engine::forget_keyed_outcomes(&kv)?;
                }
                Engine::open(kv, options.group, options.node, options.boot)
                    .map_err(io::Error::other)
            };
            let (engine, old_kv) = peers.install(&**state, staging, kv, options.data, open)?;
            Ok::<_, io::Error>((engine, old_kv, state.latest()?))
        })
        .await?;
        let (engine, old_kv, latest) = installed?;
        let old_engine = std::mem::replace(&mut self.engine, engine);
        self.reload()?;
        // Closing a large map takes its time.
        W::Rt::spawn_blocking(move || drop((old_engine, old_kv))).await?;
        let records = self.meta(ROW_SNAPSHOTS)?;
        self.shared.retention.set_current(Current::find(latest, records.as_deref())?);
        Ok(())
    }
}

impl<W: World> RaftStateMachine<Types<W::Rt>> for StateMachine<W> {
    type SnapshotData = SnapshotData<W>;
    type SnapshotBuilder = SnapshotBuilder<W>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types<W::Rt>>>> + Unpin + OptionalSend,
    {
        let mut responders: Vec<ApplyResponder<Types<W::Rt>>> = Vec::new();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            self.apply_one(entry)?;
            responders.extend(responder);
            if self.bytes >= COMMIT_BYTES_MAX || self.entries >= COMMIT_ENTRIES_MAX {
                self.commit(&[])?;
                responders.drain(..).for_each(|responder| responder.send(()));
            }
        }
        if self.entries > 0 {
            self.commit(&[])?;
        }
        responders.into_iter().for_each(|responder| responder.send(()));
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder<W>> {
        if self.last_applied.is_none() && !force {
            return None;
        }
        // The error has stopped the replica already.
        self.freeze().await.ok()
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<W> {
        let builder = self.freeze().await;
        builder.expect("this openraft only calls try_create_snapshot_builder")
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData<W>,
    ) -> io::Result<()> {
        if let Err(error) = self.replace(data).await {
            return Err(self.fatal("installing a snapshot", error));
        }
        if self.last_applied != meta.last_log_id {
            let other = io::Error::other("it holds another state than it says");
            return Err(self.fatal("installing a snapshot", other));
        }
        let me = self.shared.options.node;
        self.shared.proposer.skipped_to(self.engine.lane(me));
        self.shared.effects.skipped();
        self.shared.retention.installed();
        tracing::info!(index = %self.engine.applied().index, "installed a snapshot");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<W>>> {
        let current = self.shared.retention.current();
        Ok(current.map(|current| SnapshotOf::<W> {
            meta: current.meta.clone(),
            snapshot: SnapshotData::Held(current),
        }))
    }
}

/// A frozen state on its way to becoming the current snapshot. Entries are applied meanwhile.
pub struct SnapshotBuilder<W: World> {
    shared: Arc<Shared<W>>,
    meta: SnapshotMeta,
    label: String,
    /// Taken by the one call there is.
    frozen: Option<FrozenOf<W>>,
}

impl<W: World> SnapshotBuilder<W> {
    async fn seal(&mut self) -> io::Result<Current<W>> {
        let shared = &self.shared;
        let frozen = self.frozen.take().ok_or_else(|| io::Error::other("built before"))?;
        let state = shared.state.clone();
        let sealed = W::Rt::spawn_blocking(move || state.seal(frozen)).await??;
        let Some(checkpoint) = sealed else {
            // The leader's snapshot was installed meanwhile: it is newer.
            return shared.retention.current().ok_or_else(|| io::Error::other("no snapshot"));
        };
        let current = Current { meta: self.meta.clone(), label: self.label.clone(), checkpoint };
        shared.retention.set_current(Some(current.clone()));
        Ok(current)
    }
}

impl<W: World> RaftSnapshotBuilder<Types<W::Rt>> for SnapshotBuilder<W> {
    type SnapshotData = SnapshotData<W>;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<W>> {
        let current = self.seal().await.inspect_err(|error| {
            self.shared.fatal.report(format_args!("taking a snapshot: {error}"));
        })?;
        Ok(SnapshotOf::<W> { meta: current.meta.clone(), snapshot: SnapshotData::Held(current) })
    }
}
