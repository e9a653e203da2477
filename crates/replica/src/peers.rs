//! What this node remembers of its peers, so that one that lost its disk cannot come back.
//!
//! Not here: handshakes (`link.rs`). Boot counts and data directories of members are learned by
//! handshakes and are durable before the handshake ends (`keep`). Indexes are learned once a second,
//! from the leader's replication, by itself and by those it tells, and kept with the next write of
//! the state: a crash may forget what came after its last flush.
//! Invariants: what is remembered of a member never decreases, and its data directory never changes;
//! a node that was once told that it lost data stays out for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bessemer_model::{BootCount, DataId, NodeId};
use bessemer_seam::kv::{Kv, KvRead, Table, WriteBatch};
use bessemer_seam::mutants::{self, Mutant};
use bessemer_seam::state_store::StateStore;
use openraft::AsyncRuntime;

use crate::bytes::{DecodeError, Reader, Writer};
use crate::event::lock;
use crate::shared::Shared;
use crate::types::Membership;
use crate::wire::{Hello, Refusal};
use crate::world::World;

/// Meta row of the state, written by `keep` alone.
pub(crate) const ROW_ADMITTED: &str = "raft/admitted";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Memory {
    boot: BootCount,
    /// Its data directory; 0 before the first handshake.
    data: DataId,
    /// Newest entry that was durable there *and* committed: a leader may take back entries a
    /// node holds, but never committed ones.
    safe_index: u64,
}

/// What a peer must hold at least: taken before it is asked, since it goes on meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Floor(u64);

/// What a handshake makes of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    Known,
    /// It started again, or was never met: to be kept before anything else is said.
    New,
    /// Its log ends before what it must hold.
    Behind,
    /// It runs on another data directory, or from before its last start.
    Other,
}

impl Admission {
    /// What a peer that may not come in is told.
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Admission::Known | Admission::New => None,
            Admission::Behind | Admission::Other => Some(Refusal::PeerWentBack),
        }
    }
}

#[derive(Default)]
struct Inner {
    peers: BTreeMap<NodeId, Memory>,
    /// Every node id that was ever a member: none is used twice.
    seen: BTreeSet<u64>,
    changed: bool,
    /// Boot and directory of each peer as this process wrote them to `ROW_ADMITTED`.
    kept: BTreeMap<NodeId, (BootCount, DataId)>,
    /// Peers this node refuses, by directory: each is told of once.
    refused: BTreeSet<(NodeId, DataId)>,
}

#[derive(Default)]
pub(crate) struct PeerMemory {
    inner: Mutex<Inner>,
    /// This node's disk lost data: it takes no part any more.
    condemned: AtomicBool,
    /// Held while `ROW_ADMITTED` is written, so that an older one never follows a newer.
    keeping: Mutex<()>,
}

impl PeerMemory {
    /// What `peer` must hold when it is asked from now on.
    pub fn floor(&self, peer: NodeId) -> Floor {
        Floor(self.held_by(peer))
    }

    /// Checks what a peer says of itself, after `floor` was taken, and remembers it.
    pub fn admit(&self, hello: &Hello, floor: Floor) -> Admission {
        let mut guard = lock(&self.inner);
        let Inner { peers, kept, .. } = &mut *guard;
        let memory = peers.entry(hello.from).or_default();
        let other_data = memory.data != DataId(0) && hello.data != memory.data;
        let admitted = mutants::on(Mutant::WipedNodeAdmitted);
        if (other_data || hello.boot < memory.boot) && !admitted {
            return Admission::Other;
        }
        if hello.last_index < floor.0 && !admitted {
            return Admission::Behind;
        }
        memory.boot = hello.boot;
        memory.data = hello.data;
        let is_kept = kept.get(&hello.from) == Some(&(hello.boot, hello.data));
        if is_kept { Admission::Known } else { Admission::New }
    }

    /// Tells the operator of a peer that is refused, once for each of its directories.
    pub fn refuse(&self, hello: &Hello, floor: Floor) {
        if lock(&self.inner).refused.insert((hello.from, hello.data)) {
            tracing::error!(
                peer = %hello.from,
                boot = %hello.boot,
                last_index = hello.last_index,
                committed_there = floor.0,
                "refusing a node whose disk lost data; it must return under a new node id",
            );
        }
    }

    /// Whether this node was told that its disk lost data.
    pub fn condemned(&self) -> bool {
        self.condemned.load(Ordering::SeqCst)
    }

    /// This node's disk lost data. True the first time.
    fn condemn(&self) -> bool {
        !self.condemned.swap(true, Ordering::SeqCst)
    }

    /// Remembers that `peer` holds everything up to `index`, which is committed.
    pub fn holds(&self, peer: NodeId, index: u64) {
        let mut inner = lock(&self.inner);
        let memory = inner.peers.entry(peer).or_default();
        if index > memory.safe_index {
            memory.safe_index = index;
            inner.changed = true;
        }
    }

    /// What is known of all peers, as `held_by` tells it of one.
    pub fn held(&self) -> Vec<(NodeId, u64)> {
        let inner = lock(&self.inner);
        inner.peers.iter().map(|(node, memory)| (*node, memory.safe_index)).collect()
    }

    /// Newest index remembered as durable and committed on `peer`; 0 when nothing is.
    pub fn held_by(&self, peer: NodeId) -> u64 {
        lock(&self.inner).peers.get(&peer).map_or(0, |memory| memory.safe_index)
    }

    /// True when `node` is or was a member.
    pub fn was_member(&self, node: NodeId) -> bool {
        lock(&self.inner).seen.contains(&node.0)
    }

    /// Adds the nodes of `membership` to those ever seen, and gives all of them as bytes.
    pub fn nodes_seen(&self, membership: &Membership) -> Vec<u8> {
        lock(&self.inner).seen.extend(membership.nodes().map(|(id, _)| *id));
        self.nodes_known()
    }

    /// All nodes ever seen, as bytes.
    pub fn nodes_known(&self) -> Vec<u8> {
        let inner = lock(&self.inner);
        let mut w = Writer::default();
        w.u8(1);
        w.length(inner.seen.len());
        inner.seen.iter().for_each(|node| w.u64(*node));
        w.bytes
    }

    pub fn load_nodes_seen(&self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut r = Reader::new(bytes, "the list of node ids");
        if r.u8()? != 1 {
            return Err(r.error());
        }
        let mut seen = BTreeSet::new();
        for _ in 0..r.count(8)? {
            seen.insert(r.key_above(seen.last().copied())?);
        }
        r.end()?;
        lock(&self.inner).seen.extend(seen);
        Ok(())
    }

    /// What peers hold, when it changed since the last call.
    pub fn changed(&self) -> Option<Vec<u8>> {
        let changed = std::mem::take(&mut lock(&self.inner).changed);
        changed.then(|| self.peers_known())
    }

    /// The whole memory.
    pub fn peers_known(&self) -> Vec<u8> {
        let inner = lock(&self.inner);
        let mut w = Writer::default();
        w.u8(1);
        w.length(inner.peers.len());
        for (node, memory) in &inner.peers {
            w.u64(node.0);
            w.u64(memory.boot.0);
            w.u64(memory.data.0);
            w.u64(memory.safe_index);
        }
        w.bytes
    }

    /// Boot counts and directories of peers, and the directory of this node if it is condemned, else
    /// 0: a snapshot brings this row to other nodes.
    pub fn admitted(&self, own: DataId) -> Vec<u8> {
        let mut w = Writer::default();
        w.u8(1);
        w.u64(if self.condemned() { own.0 } else { 0 });
        let admitted = lock(&self.inner).admitted();
        w.length(admitted.len());
        for (node, (boot, data)) in admitted {
            w.u64(node.0);
            w.u64(boot.0);
            w.u64(data.0);
        }
        w.bytes
    }

    /// Takes over what `keep` wrote, here or on the node a snapshot came from, or nothing of what
    /// cannot be read whole. `own`: this node's directory.
    pub fn load_admitted(&self, bytes: &[u8], own: DataId) -> Result<(), DecodeError> {
        let mut r = Reader::new(bytes, "the memory of admitted peers");
        if r.u8()? != 1 {
            return Err(r.error());
        }
        let condemned = DataId(r.u64()?);
        let mut peers: BTreeMap<NodeId, Memory> = BTreeMap::new();
        for _ in 0..r.count(24)? {
            let node = NodeId(r.key_above(peers.last_key_value().map(|(node, _)| node.0))?);
            let (boot, data) = (BootCount(r.u64()?), DataId(r.u64()?));
            peers.insert(node, Memory { boot, data, safe_index: 0 });
        }
        r.end()?;
        lock(&self.inner).learn(peers);
        if condemned != DataId(0) && condemned == own && self.condemn() {
            tracing::error!("{CONDEMNED}");
        }
        Ok(())
    }

    /// Takes over what was kept, here or by the node a snapshot came from; nothing of what cannot
    /// be read whole.
    pub fn load(&self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut r = Reader::new(bytes, "the memory of peers");
        if r.u8()? != 1 {
            return Err(r.error());
        }
        let mut peers: BTreeMap<NodeId, Memory> = BTreeMap::new();
        for _ in 0..r.count(32)? {
            let node = NodeId(r.key_above(peers.last_key_value().map(|(node, _)| node.0))?);
            let (boot, data) = (BootCount(r.u64()?), DataId(r.u64()?));
            peers.insert(node, Memory { boot, data, safe_index: r.u64()? });
        }
        r.end()?;
        lock(&self.inner).learn(peers);
        Ok(())
    }

    /// Makes durable in `kv` what was admitted.
    fn write_admitted(
        &self,
        _turn: &MutexGuard<'_, ()>,
        kv: &impl Kv,
        own: DataId,
    ) -> io::Result<()> {
        let admitted = lock(&self.inner).admitted();
        let mut batch = WriteBatch::default();
        batch.put(Table::Meta, ROW_ADMITTED, self.admitted(own));
        kv.write(batch)?;
        kv.flush()?;
        lock(&self.inner).kept = admitted;
        Ok(())
    }

    /// Makes `staging` the state of `current` and gives what `open` makes of it. What was admitted
    /// here is in it before it is the state, and no handshake ends meanwhile.
    pub fn install<S: StateStore, T>(
        &self,
        state: &S,
        staging: S::Staging,
        current: &Mutex<S::Kv>,
        own: DataId,
        open: impl FnOnce(S::Kv) -> io::Result<T>,
    ) -> io::Result<(T, S::Kv)>
    where
        S::Kv: Clone,
    {
        let turn = lock(&self.keeping);
        let kv = state.install(staging, &|kv| {
            // The leader's memory is in it, and is taken over.
            if let Some(bytes) = kv.get(Table::Meta, ROW_ADMITTED.as_bytes())? {
                self.load_admitted(&bytes, own)?;
            }
            self.write_admitted(&turn, kv, own)
        })?;
        let opened = open(kv.clone())?;
        Ok((opened, std::mem::replace(&mut *lock(current), kv)))
    }
}

impl Inner {
    fn admitted(&self) -> BTreeMap<NodeId, (BootCount, DataId)> {
        self.peers.iter().map(|(node, memory)| (*node, (memory.boot, memory.data))).collect()
    }

    fn learn(&mut self, peers: BTreeMap<NodeId, Memory>) {
        for (node, kept) in peers {
            let memory = self.peers.entry(node).or_default();
            if memory.data == DataId(0) {
                memory.data = kept.data;
            }
            // Of another directory, starts are counted apart.
            if memory.data == kept.data {
                memory.boot = memory.boot.max(kept.boot);
            }
            memory.safe_index = memory.safe_index.max(kept.safe_index);
        }
    }
}

/// Makes durable which peers were admitted, and whether this node is condemned.
pub(crate) async fn keep<W: World>(shared: &Arc<Shared<W>>) -> io::Result<()> {
    let keeper = shared.clone();
    let kept = W::Rt::spawn_blocking(move || {
        let turn = lock(&keeper.peers.keeping);
        // Taken in turn: a snapshot may be installed meanwhile.
        let kv = lock(&keeper.kv).clone();
        keeper.peers.write_admitted(&turn, &kv, keeper.options.data)
    });
    kept.await?
}

/// What the operator is told of a node whose disk lost data.
pub(crate) const CONDEMNED: &str = "a peer refuses this node: its disk lost data that it once had, so it may not vote or serve \
     again; take its place with a new node id and an empty data directory (bessemer cluster \
     replace)";

/// A peer has shown that this node's disk lost data. What it has under way ends with the process;
/// when it starts again it keeps away from all peers. Done by a task of its own: the caller may be
/// cancelled.
pub(crate) fn condemn<W: World>(shared: &Arc<Shared<W>>, peer: NodeId) {
    if !shared.peers.condemn() {
        return;
    }
    let owned = shared.clone();
    shared.runtime.spawn(Box::pin(async move {
        let kept = keep(&owned).await;
        tracing::error!(%peer, ?kept, "{CONDEMNED}");
        owned.fatal.report(CONDEMNED);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(boot: u64, last_index: u64) -> Hello {
        Hello {
            cluster_id: String::new(),
            from: NodeId(2),
            to: NodeId(1),
            boot: BootCount(boot),
            data: DataId(5),
            last_index,
        }
    }

    fn admit(peers: &PeerMemory, hello: &Hello) -> Admission {
        peers.admit(hello, peers.floor(NodeId(2)))
    }

    fn write(peers: &PeerMemory, kv: &impl Kv) {
        peers.write_admitted(&lock(&peers.keeping), kv, DataId(9)).unwrap();
    }

    #[test]
    fn a_peer_on_another_directory_is_refused_whatever_it_says() {
        let peers = PeerMemory::default();
        assert_eq!(admit(&peers, &hello(1, 0)), Admission::New);
        let wiped = Hello { data: DataId(6), ..hello(2, 1_000) };
        assert_eq!(admit(&peers, &wiped), Admission::Other);
        let again = PeerMemory::default();
        again.load_admitted(&peers.admitted(DataId(9)), DataId(9)).unwrap();
        assert_eq!(admit(&again, &wiped), Admission::Other);
        assert_eq!(admit(&again, &Hello { boot: BootCount(0), ..hello(1, 0) }), Admission::Other);
        assert_eq!(admit(&again, &hello(1, 0)), Admission::New);
    }

    #[test]
    fn starts_are_counted_for_one_directory() {
        let (peers, others) = (PeerMemory::default(), PeerMemory::default());
        admit(&peers, &hello(1, 0));
        admit(&others, &Hello { data: DataId(6), ..hello(9, 0) });
        peers.load_admitted(&others.admitted(DataId(9)), DataId(9)).unwrap();
        assert_eq!(admit(&peers, &hello(1, 0)), Admission::New);
    }

    #[test]
    fn a_peer_that_went_back_is_refused_also_after_a_restart() {
        let peers = PeerMemory::default();
        admit(&peers, &hello(3, 100));
        // Entries that were never committed may be taken back by a leader.
        assert_eq!(admit(&peers, &hello(3, 90)), Admission::New);
        peers.holds(NodeId(2), 95);
        assert_eq!(admit(&peers, &hello(3, 94)), Admission::Behind);
        assert_eq!(admit(&peers, &hello(2, 100)), Admission::Other);
        let kept = peers.changed().unwrap();
        assert_eq!(peers.changed(), None);
        let again = PeerMemory::default();
        again.load(&kept).unwrap();
        assert_eq!(admit(&again, &hello(4, 0)), Admission::Behind);
        assert_eq!(admit(&again, &hello(4, 95)), Admission::New);
        assert!(again.load(&[1, 0, 0, 0, 9]).is_err());
    }

    #[test]
    fn what_a_peer_says_is_compared_with_what_was_known_before_it_was_asked() {
        let peers = PeerMemory::default();
        admit(&peers, &hello(1, 10));
        let floor = peers.floor(NodeId(2));
        peers.holds(NodeId(2), 20);
        assert_eq!(peers.admit(&hello(1, 15), floor), Admission::New);
    }

    #[test]
    fn a_peer_is_known_only_when_that_is_kept() {
        let (peers, kv) = (PeerMemory::default(), bessemer_seam::kv_memory::MemoryKv::new());
        assert_eq!(admit(&peers, &hello(1, 0)), Admission::New);
        assert_eq!(admit(&peers, &hello(1, 0)), Admission::New);
        write(&peers, &kv);
        assert_eq!(admit(&peers, &hello(1, 0)), Admission::Known);
        assert_eq!(admit(&peers, &hello(2, 0)), Admission::New);
    }

    #[test]
    fn a_condemned_node_stays_so_and_condemns_nobody_by_its_snapshots() {
        let peers = PeerMemory::default();
        assert!(peers.condemn() && !peers.condemn());
        let kept = peers.admitted(DataId(9));
        let again = PeerMemory::default();
        again.load_admitted(&kept, DataId(8)).unwrap();
        assert!(!again.condemned());
        again.load_admitted(&kept, DataId(9)).unwrap();
        assert!(again.condemned());
        assert!(again.load_admitted(&[1, 0, 0], DataId(9)).is_err());
    }

    #[test]
    fn a_memory_that_cannot_be_read_whole_changes_nothing() {
        let peers = PeerMemory::default();
        peers.holds(NodeId(2), 95);
        let mut kept = peers.peers_known();
        kept.push(0);
        let again = PeerMemory::default();
        assert!(again.load(&kept).is_err());
        assert_eq!(again.held_by(NodeId(2)), 0);
    }
}
