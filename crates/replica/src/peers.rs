//! What this node remembers of its peers, so that one that lost its disk cannot come back.
//!
//! Not here: handshakes (`link.rs`). Written by handshakes and, once a second, from the leader's
//! replication, by itself and by those it tells; kept in the state's meta rows with the next
//! write, so a crash may forget what came after the last flush.
//! Invariant: what is remembered of a node never decreases, and its data directory never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bessemer_model::{BootCount, DataId, NodeId};

use crate::bytes::{DecodeError, Reader, Writer};
use crate::event::lock;
use crate::types::Membership;
use crate::wire::Hello;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Memory {
    boot: BootCount,
    /// Its data directory; 0 before the first handshake.
    data: DataId,
    /// Newest entry that was durable there *and* committed: a leader may take back entries a
    /// node holds, but never committed ones.
    safe_index: u64,
}

#[derive(Default)]
struct Inner {
    peers: BTreeMap<NodeId, Memory>,
    /// Every node id that was ever a member: none is used twice.
    seen: BTreeSet<u64>,
    changed: bool,
    /// Peers that refuse this node for what it lost.
    refused_by: BTreeSet<NodeId>,
    /// Peers this node refuses, by directory: each is told of once.
    refused: BTreeSet<(NodeId, DataId)>,
}

#[derive(Default)]
pub(crate) struct PeerMemory {
    inner: Mutex<Inner>,
}

impl PeerMemory {
    /// Checks and remembers what a peer says of itself; false when it went back. Tells the
    /// operator once for each directory.
    pub fn admit(&self, hello: &Hello) -> bool {
        let mut guard = lock(&self.inner);
        let inner = &mut *guard;
        let memory = inner.peers.entry(hello.from).or_default();
        let other_data = memory.data != DataId(0) && hello.data != memory.data;
        let went_back =
            other_data || hello.boot < memory.boot || hello.last_index < memory.safe_index;
        if went_back && !inner.refused.insert((hello.from, hello.data)) {
            return false;
        }
        if went_back {
            tracing::error!(
                peer = %hello.from,
                boot = %hello.boot,
                boot_known = %memory.boot,
                other_data,
                last_index = hello.last_index,
                committed_there = memory.safe_index,
                "refusing a node whose disk lost data; it must return under a new node id",
            );
            return false;
        }
        if hello.boot > memory.boot || hello.data != memory.data {
            memory.boot = hello.boot;
            memory.data = hello.data;
            inner.changed = true;
        }
        true
    }

    /// `peer` refuses this node, since its disk lost data. Tells the operator once for each peer.
    pub fn refused_by(&self, peer: NodeId) {
        if lock(&self.inner).refused_by.insert(peer) {
            tracing::error!(
                %peer,
                "the peer refuses this node: its disk lost data that it once had, so it may not \
                 vote or serve again; take its place with a new node id and an empty data \
                 directory (bessemer cluster replace)",
            );
        }
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

    /// The whole memory, when it changed since the last call.
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
        let mut inner = lock(&self.inner);
        for (node, kept) in peers {
            let memory = inner.peers.entry(node).or_default();
            memory.boot = memory.boot.max(kept.boot);
            if memory.data == DataId(0) {
                memory.data = kept.data;
            }
            memory.safe_index = memory.safe_index.max(kept.safe_index);
        }
        Ok(())
    }
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

    #[test]
    fn a_peer_on_another_directory_is_refused_whatever_it_says() {
        let peers = PeerMemory::default();
        assert!(peers.admit(&hello(1, 0)));
        let wiped = Hello { data: DataId(6), ..hello(2, 1_000) };
        assert!(!peers.admit(&wiped));
        let again = PeerMemory::default();
        again.load(&peers.changed().unwrap()).unwrap();
        assert!(!again.admit(&wiped));
        assert!(again.admit(&hello(2, 0)));
    }

    #[test]
    fn a_peer_that_went_back_is_refused_also_after_a_restart() {
        let peers = PeerMemory::default();
        assert!(peers.admit(&hello(3, 100)));
        // Entries that were never committed may be taken back by a leader.
        assert!(peers.admit(&hello(3, 90)));
        peers.holds(NodeId(2), 95);
        assert!(!peers.admit(&hello(3, 94)));
        assert!(!peers.admit(&hello(2, 100)));
        let kept = peers.changed().unwrap();
        assert_eq!(peers.changed(), None);
        let again = PeerMemory::default();
        again.load(&kept).unwrap();
        assert!(!again.admit(&hello(4, 0)));
        assert!(again.admit(&hello(4, 95)));
        assert!(again.load(&[1, 0, 0, 0, 9]).is_err());
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
