//! Whether the cluster has room on its disks for what grows.
//!
//! Not here: this node's own measure (crate `log`).
//! Invariant: while the leader's disk, or so many disks that every majority holds one of them, are
//! below their low-water mark, no node accepts commands that grow.

use std::collections::BTreeSet;
use std::sync::Mutex;

use bessemer_model::NodeId;

use crate::event::lock;
use crate::shared::Shared;
use crate::watch::membership_of;
use crate::world::World;

/// What peers last said of their disks.
#[derive(Default)]
pub(crate) struct Disks {
    low: Mutex<BTreeSet<NodeId>>,
}

impl Disks {
    pub fn heard(&self, peer: NodeId, low: bool) {
        let mut known = lock(&self.low);
        if low {
            known.insert(peer);
        } else {
            known.remove(&peer);
        }
    }
}

/// Whether commands that grow are to be refused at this node now.
pub(crate) fn is_low<W: World>(shared: &Shared<W>) -> bool {
    if shared.log.stats().low {
        return true;
    }
    let peers_low = lock(&shared.disks.low);
    if peers_low.is_empty() {
        return false;
    }
    let voters: Vec<NodeId> = membership_of(shared).voter_ids().map(NodeId).collect();
    let leader = shared.role.get().leader;
    too_many_low(&peers_low, leader, &voters)
}

fn too_many_low(low: &BTreeSet<NodeId>, leader: Option<NodeId>, voters: &[NodeId]) -> bool {
    let with_room = voters.iter().filter(|voter| !low.contains(voter)).count();
    leader.is_some_and(|leader| low.contains(&leader)) || with_room <= voters.len() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_or_every_majority_decides() {
        let voters = [1, 2, 3].map(NodeId);
        let low = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        assert!(!too_many_low(&low(&[2]), Some(NodeId(1)), &voters));
        assert!(too_many_low(&low(&[2]), Some(NodeId(2)), &voters));
        assert!(!too_many_low(&low(&[2]), None, &voters));
        assert!(too_many_low(&low(&[2, 3]), Some(NodeId(1)), &voters));
        // A node that is no member any more does not count.
        assert!(!too_many_low(&low(&[7, 8]), Some(NodeId(1)), &voters));
    }
}
