//! Snapshots: taken, kept, sent to nodes that are far behind, found again after a restart.

use bessemer_model::{LogIndex, NodeId};
use bessemer_replica::ReplicaOptions;
use bessemer_seam::net::Channel;

use crate::nodes::{Cluster, eventually, post, propose};
use crate::workload::{Callers, check};

/// A snapshot every few entries, and hardly any log behind it.
fn eager(options: &mut ReplicaOptions) {
    options.snapshot_every_bytes = 20_000;
    options.log_bytes_max = 40_000;
    options.log_bytes_keep = 1_000;
    options.snapshot_chunk_bytes = 4_096;
}

/// What `eager` leaves when writing has stopped: its `log_bytes_max` where a node is behind, else
/// less than a snapshot's worth.
const HELD_BYTES_MAX: u64 = 41_000;

async fn fill(cluster: &Cluster, node: u64, queue: &str, messages: u64) {
    for number in 1..=messages {
        let body = format!("{number:0>1000}");
        propose(cluster.replica(node), post(queue, body)).await.expect("the post is applied");
    }
}

fn purged(cluster: &Cluster, node: u64) -> LogIndex {
    cluster.replica(node).metrics().purged
}

/// Waits until `node` has cut its log after `index`, and holds no more than it should.
async fn until_purged(cluster: &Cluster, node: u64, index: u64) {
    let cut = || {
        let held = cluster.replica(node).metrics().log_bytes_held;
        (purged(cluster, node).0 > index && held < HELD_BYTES_MAX).then_some(())
    };
    eventually("the log to be cut", cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_bounded_and_a_restart_needs_no_more_than_is_kept() {
    let mut cluster = Cluster::start_with(3, eager, 1 << 16).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    fill(&cluster, leader, "q", 200).await;
    for node in 1..=3 {
        until_purged(&cluster, node, 50).await;
    }
    for node in 1..=3 {
        cluster.crash(node).await;
    }
    for node in 1..=3 {
        cluster.boot(node, None).await;
        assert!(cluster.replica(node).metrics().snapshot > LogIndex(50));
    }
    let leader = cluster.leader().await;
    let bodies = crate::nodes::drain(cluster.replica(leader), "q").await;
    assert_eq!(bodies.len(), 200);
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_far_behind_gets_a_snapshot_while_writes_go_on() {
    let mut cluster = Cluster::start_with(3, eager, 1 << 16).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let behind = (1..=3).find(|node| *node != leader).expect("there are three");
    cluster.stop(behind).await;
    fill(&cluster, leader, "before", 200).await;
    until_purged(&cluster, leader, 100).await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != behind).collect();
    let callers = Callers::start(&cluster, &others, 4);
    cluster.boot(behind, None).await;
    let installs = || (cluster.disks[&behind].state.installs() > 0).then_some(());
    eventually("a snapshot to be installed", installs).await;
    callers.more(50).await;
    let known = callers.stop().await;
    cluster.converge().await;
    check(cluster.replica(behind), known).await;
    assert_eq!(crate::nodes::drain(cluster.replica(behind), "before").await.len(), 200);
    // It takes part from the snapshot on: leads, and restarts.
    cluster.crash(behind).await;
    cluster.boot(behind, None).await;
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_transfer_goes_on_where_it_was() {
    let mut cluster = Cluster::start_with(3, eager, 1 << 16).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let behind = (1..=3).find(|node| *node != leader).expect("there are three");
    cluster.stop(behind).await;
    fill(&cluster, leader, "q", 400).await;
    until_purged(&cluster, leader, 100).await;
    cluster.boot(behind, None).await;
    let state = cluster.disks[&behind].state.clone();
    let mut cuts = 0;
    while state.installs() == 0 {
        if state.staged_bytes() > 20_000 && cuts < 3 {
            cuts += cluster.hub.cut(|_, _, channel| channel == Channel::Snapshot);
        }
        tokio::task::yield_now().await;
    }
    assert!(cuts > 0, "no transfer was cut");
    assert!(state.resumed_bytes() > 0, "the transfer began anew after {cuts} cuts");
    cluster.converge().await;
    assert_eq!(crate::nodes::drain(cluster.replica(behind), "q").await.len(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_node_that_is_overtaken_by_a_snapshot_have_unknown_outcomes() {
    let cluster = Cluster::start_with(3, eager, 1 << 16).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let behind = (1..=3).find(|node| *node != leader).expect("there are three");
    // Its parts reach the leader, the leader's entries do not reach it.
    let callers = Callers::start(&cluster, &[behind], 2);
    let keep_off = move |from: NodeId, to: NodeId, channel: Channel| {
        from == NodeId(leader) && to == NodeId(behind) && channel == Channel::Append
    };
    cluster.hub.refuse(keep_off);
    fill(&cluster, leader, "q", 200).await;
    until_purged(&cluster, leader, 100).await;
    cluster.hub.refuse(|_, _, _| false);
    let installs = || (cluster.disks[&behind].state.installs() > 0).then_some(());
    eventually("a snapshot to be installed", installs).await;
    let known = callers.stop().await;
    cluster.converge().await;
    check(cluster.replica(leader), known).await;
}

/// openraft's issues 1808 and 2116: snapshots that come in while entries are applied and purged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_fall_behind_again_and_again_under_load() {
    let cluster = Cluster::start_with(3, eager, 1 << 16).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let callers = Callers::start(&cluster, &[1, 2, 3], 8);
    for round in 0..8u64 {
        let leader = cluster.leader().await;
        let behind = 1 + (leader + round % 2) % 3;
        cluster.hub.isolate(NodeId(behind), true);
        let moved = || (purged(&cluster, leader) > cluster.status(behind).applied).then_some(());
        eventually("the log to be purged", moved).await;
        cluster.hub.isolate(NodeId(behind), false);
        let target = cluster.status(leader).committed;
        let caught_up = || (cluster.status(behind).applied >= target).then_some(());
        eventually("the node to catch up", caught_up).await;
    }
    let known = callers.stop().await;
    let installs: usize = cluster.disks.values().map(|disks| disks.state.installs()).sum();
    assert!(installs >= 4, "only {installs} snapshots were installed");
    cluster.converge().await;
    check(cluster.replica(cluster.leader().await), known).await;
    for node in 1..=3 {
        assert_eq!(cluster.replica(node).failure(), None);
    }
}
