//! Scenes: faults in an order that chance alone hardly ever finds, each after an incident.
//!
//! Not here: when one begins (`faults.rs`). A scene runs from its first step to its last; no plan by
//! chance draws one, only those that name it.
//! Invariant: a cluster that keeps its promises keeps them through every scene.

use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::consensus::{Consensus, MembershipChange};

use crate::cluster::{Cluster, Death, Harm};
use crate::membership;
use crate::node::member;
use crate::seed::Rng;

/// How often a scene looks whether its next step may come.
const LOOK: Duration = Duration::from_millis(5);
/// A step that does not come within this ends the scene.
const STEP_WITHIN: Duration = Duration::from_secs(10);

/// One node is left behind; then the one with everything is cut off, and another, harmed or only
/// started anew, is a majority together with the one that was left behind.
/// Source: Jepsen's NATS suite, `part-kill`: heal to the *other* majority.
pub async fn other_majority(cluster: &Cluster, rng: &mut Rng) {
    let Some((leader, others)) = sides(cluster).await else { return };
    let [behind, harmed, ..] = others[..] else { return };
    isolate(cluster, behind, true);
    cluster.sim.sleep(Duration::from_millis(rng.between(500, 3_000))).await;
    let down = Duration::from_millis(rng.between(50, 400));
    match rng.below(4) {
        0 => cluster.kill(harmed, Death::Power, down),
        1 => cluster.harm(harmed, Harm::Wipe, down),
        2 => cluster.harm(harmed, Harm::Flip, down),
        _ => {}
    }
    isolate(cluster, behind, false);
    isolate(cluster, leader, true);
    cluster.sim.sleep(Duration::from_millis(rng.between(2_000, 6_000))).await;
    isolate(cluster, leader, false);
}

/// A voter's disk is slow; the one it votes for leads at once, and the voter loses power. It meets
/// the old leader first, and then the new one.
/// Source: Ongaro's thesis, 3.8: a vote that is not persisted may be cast twice in a term.
pub async fn forgotten_vote(cluster: &Cluster, rng: &mut Rng) {
    let Some((old, others)) = sides(cluster).await else { return };
    for node in &others {
        let Some(life) = cluster.life(*node) else { return };
        cluster.sim.set_blocking_ns(life, (150_000_000, 250_000_000));
    }
    isolate(cluster, old, true);
    let led = wait(cluster, || {
        membership::leader(cluster).map(|status| status.me).filter(|leader| *leader != old)
    });
    let Some(new) = led.await else { return isolate(cluster, old, false) };
    for voter in others.into_iter().filter(|node| *node != new) {
        cluster.kill(voter, Death::Power, Duration::from_millis(rng.between(20, 100)));
    }
    isolate(cluster, old, false);
    isolate(cluster, new, true);
    cluster.sim.sleep(Duration::from_millis(rng.between(2_000, 4_000))).await;
    isolate(cluster, new, false);
    isolate(cluster, old, true);
    cluster.sim.sleep(Duration::from_millis(rng.between(2_000, 4_000))).await;
    isolate(cluster, old, false);
}

/// A leader that is cut off begins a change of the membership behind a tail of its own. The others
/// make another change at a lower index, go on, and give it a snapshot that covers both. Then it
/// and the node that was replaced stand alone: a majority only by the change that never was.
/// Source: openraft issue 1808.
pub async fn stale_member(cluster: &Cluster) {
    let Some((cut, others)) = sides(cluster).await else { return };
    if others.len() != 2 {
        return;
    }
    // A learner that has everything, so that the others' change is short.
    let fed = a_learner(cluster).await;
    if membership::leader(cluster).map(|status| status.me) != Some(cut) {
        return;
    }
    let known = cluster.doors.nodes();
    cluster.doors.set_nodes(vec![cut]);
    cluster.sim.sleep(Duration::from_secs(2)).await;
    isolate(cluster, cut, true);
    cluster.sim.sleep(Duration::from_millis(150)).await;
    ask_of(cluster, cut, join(cluster.add()));
    let led = wait(cluster, || others.iter().copied().find(|node| leads(cluster, *node)));
    let led = led.await;
    cluster.doors.set_nodes(known);
    let Some(leader) = led else { return isolate(cluster, cut, false) };
    let replaced = others.into_iter().find(|node| *node != leader).expect("there are two others");
    ask_of(cluster, leader, replace(replaced, fed));
    cluster.sim.sleep(Duration::from_secs(6)).await;
    // The snapshot comes in.
    isolate(cluster, cut, false);
    cluster.sim.sleep(Duration::from_secs(3)).await;
    for node in cluster.nodes().into_iter().filter(|node| *node != cut && *node != replaced) {
        for side in [cut, replaced] {
            cluster.net.set_cut(node, side, true);
            cluster.net.set_cut(side, node, true);
        }
    }
    cluster.sim.sleep(Duration::from_secs(6)).await;
    cluster.net.heal_all();
}

/// The leader is left alone with a learner that has everything, while the voters are a majority.
pub async fn learner_majority(cluster: &Cluster) {
    let Some((leader, others)) = sides(cluster).await else { return };
    let learner = a_learner(cluster).await;
    for voter in &others {
        for side in [leader, learner] {
            cluster.net.set_cut(*voter, side, true);
            cluster.net.set_cut(side, *voter, true);
        }
    }
    cluster.sim.sleep(Duration::from_secs(5)).await;
    cluster.net.heal_all();
}

/// Makes a node a learner that stays one: the change that wants more gives up before it caught up.
async fn a_learner(cluster: &Cluster) -> NodeId {
    let learner = cluster.add();
    isolate(cluster, learner, true);
    membership::ask(cluster, join(learner), Duration::from_secs(2));
    cluster.sim.sleep(Duration::from_secs(3)).await;
    isolate(cluster, learner, false);
    cluster.sim.sleep(Duration::from_secs(2)).await;
    learner
}

fn join(node: NodeId) -> MembershipChange {
    let reached = member(node);
    let (peer_address, http_address) = (reached.peer_address, reached.http_address);
    MembershipChange::Join { node, peer_address, http_address }
}

fn replace(old: NodeId, new: NodeId) -> MembershipChange {
    let reached = member(new);
    let (peer_address, http_address) = (reached.peer_address, reached.http_address);
    MembershipChange::Replace { old, new, peer_address, http_address }
}

fn leads(cluster: &Cluster, node: NodeId) -> bool {
    let status = cluster.doors.door(node).map(|door| door.node.replica().status());
    status.is_some_and(|status| status.leader == Some(node))
}

/// Asks `node` for `change`, and goes on.
fn ask_of(cluster: &Cluster, node: NodeId, change: MembershipChange) {
    let Some(door) = cluster.doors.door(node) else { return };
    let (cluster, patience) = (cluster.clone(), Duration::from_secs(5));
    let sim = cluster.sim.clone();
    sim.spawn(crate::runtime::Life::HARNESS, async move {
        let asked = format!("{change:?}");
        let call = cluster.doors.call(door, patience, move |node| {
            Box::pin(async move { node.replica().change_membership(change, patience).await })
        });
        let result = call.await;
        cluster.sim.note(format_args!("membership {asked}: {result:?}"));
    });
}

/// The leader, and the other nodes, once there is one.
async fn sides(cluster: &Cluster) -> Option<(NodeId, Vec<NodeId>)> {
    let led = wait(cluster, || membership::leader(cluster).map(|status| status.me));
    let leader = led.await?;
    let others = cluster.nodes().into_iter().filter(|node| *node != leader).collect();
    Some((leader, others))
}

/// Waits until `look` finds something.
async fn wait<T>(cluster: &Cluster, look: impl Fn() -> Option<T>) -> Option<T> {
    let limit = cluster.sim.now() + STEP_WITHIN;
    while cluster.sim.now() < limit {
        if let Some(found) = look() {
            return Some(found);
        }
        cluster.sim.sleep(LOOK).await;
    }
    None
}

fn isolate(cluster: &Cluster, node: NodeId, cut: bool) {
    for other in cluster.nodes().into_iter().filter(|other| *other != node) {
        cluster.net.set_cut(node, other, cut);
        cluster.net.set_cut(other, node, cut);
    }
}
