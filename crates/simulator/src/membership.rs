//! Changes of membership under way: joined, left, replaced, handed over; and what is left of them
//! when the faults are over.
//!
//! Not here: how a change is made (`replica`). A change whose answer was lost may yet happen: after
//! the heal the leader's own word decides who belongs.

use std::collections::BTreeSet;
use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::consensus::{ClusterStatus, Consensus, MembershipChange};

use crate::cluster::Cluster;
use crate::node::member;
use crate::runtime::Life;
use crate::seed::Rng;

/// A change waits for the new node to catch up.
const PATIENCE: Duration = Duration::from_secs(15);
/// New nodes per run, at most.
const ADDED_MAX: u64 = 3;

/// The node that thinks it leads with the highest term.
pub fn leader(cluster: &Cluster) -> Option<ClusterStatus> {
    let leading = cluster.doors.statuses().into_iter().map(|(_, status)| status);
    leading.filter(|status| status.leader == Some(status.me)).max_by_key(|status| status.term)
}

/// Asks the leader for `change`, and goes on.
pub fn ask(cluster: &Cluster, change: MembershipChange, patience: Duration) {
    let Some(door) = leader(cluster).and_then(|status| cluster.doors.door(status.me)) else {
        return;
    };
    let cluster = cluster.clone();
    let sim = cluster.sim.clone();
    sim.spawn(Life::HARNESS, async move {
        let asked = format!("{change:?}");
        let call = cluster.doors.call(door, patience, move |node| {
            Box::pin(async move { node.replica().change_membership(change, patience).await })
        });
        let result = call.await;
        cluster.sim.note(format_args!("membership {asked}: {result:?}"));
    });
}

/// Replaces every member whose disks were harmed, as an operator would. False when that was not
/// done before `limit` (true time).
pub async fn repair(cluster: &Cluster, limit: Duration) -> bool {
    loop {
        let members = leader(cluster).map(|status| status.members).unwrap_or_default();
        let is_member =
            |node: &NodeId| members.is_empty() || members.iter().any(|one| one.node == *node);
        let damaged: Vec<NodeId> = cluster.damaged();
        let (left, gone): (Vec<NodeId>, Vec<NodeId>) = damaged.into_iter().partition(is_member);
        gone.into_iter().for_each(|node| cluster.retire(node));
        let Some(old) = left.first() else { return true };
        if cluster.sim.now() > limit {
            return false;
        }
        if !members.is_empty() {
            let node = cluster.add();
            let reached = member(node);
            let (peer_address, http_address) = (reached.peer_address, reached.http_address);
            let change =
                MembershipChange::Replace { old: *old, new: node, peer_address, http_address };
            ask(cluster, change, PATIENCE);
            cluster.sim.sleep(PATIENCE).await;
        }
        cluster.sim.sleep(Duration::from_millis(500)).await;
    }
}

/// Begins one change, drawn by chance. A new machine is added for it where one is needed.
pub async fn change(cluster: &Cluster, rng: &mut Rng) {
    let Some(status) = leader(cluster) else { return };
    let voters: Vec<NodeId> =
        status.members.iter().filter(|member| member.voter).map(|member| member.node).collect();
    let newest = cluster.nodes().last().map_or(0, |node| node.0);
    let may_add = newest < cluster.settings.nodes + ADDED_MAX;
    if voters.is_empty() || !may_add && voters.len() <= 3 {
        return;
    }
    let damaged: Vec<NodeId> =
        cluster.damaged().into_iter().filter(|node| voters.contains(node)).collect();
    if !may_add && !damaged.is_empty() {
        return;
    }
    let old = if damaged.is_empty() { *rng.pick(&voters) } else { *rng.pick(&damaged) };
    if damaged.is_empty() && (!may_add || voters.len() > 3 && rng.chance(400_000)) {
        return ask(cluster, MembershipChange::Leave { node: old }, PATIENCE);
    }
    let node = cluster.add();
    // Its process is up in most runs by then; a change that meets a dead node must cope as well.
    cluster.sim.sleep(Duration::from_millis(rng.below(300))).await;
    let reached = member(node);
    let (peer_address, http_address) = (reached.peer_address, reached.http_address);
    let change = if !damaged.is_empty() || rng.chance(600_000) {
        MembershipChange::Replace { old, new: node, peer_address, http_address }
    } else {
        MembershipChange::Join { node, peer_address, http_address }
    };
    ask(cluster, change, PATIENCE);
}

/// Waits until the leader's members have not changed for a while, then retires every other node.
/// False when there was no such moment before `limit` (true time).
pub async fn settle(cluster: &Cluster, limit: Duration) -> bool {
    let quiet = Duration::from_secs(20);
    let mut seen: Option<(Vec<(NodeId, bool)>, Duration)> = None;
    while cluster.sim.now() < limit {
        let now = cluster.sim.now();
        let members = leader(cluster).map(|status| {
            status.members.iter().map(|member| (member.node, member.voter)).collect::<Vec<_>>()
        });
        match (members, &seen) {
            (Some(members), Some((known, since))) if members == *known => {
                if now - *since > quiet {
                    let keep: BTreeSet<NodeId> = members.iter().map(|(node, _)| *node).collect();
                    let others = cluster.nodes().into_iter().filter(|node| !keep.contains(node));
                    others.for_each(|node| cluster.retire(node));
                    return true;
                }
            }
            (Some(members), _) => seen = Some((members, now)),
            (None, _) => seen = None,
        }
        cluster.sim.sleep(Duration::from_millis(100)).await;
    }
    false
}
