//! Disks that fill up, and requests that are too large: refused, and nothing else suffers.

use std::time::{Duration, Instant};

use bessemer_model::limits::COMMAND_BYTES_MAX;
use bessemer_model::{Command, Failure, NotDone};

use crate::agreement::plain;
use crate::nodes::{Cluster, LOW_WATER_BYTES, drain, eventually, insist, post, propose};

const DISK_FULL: Failure = Failure::NotDone(NotDone::DiskFull);

fn fill(cluster: &Cluster, node: u64) {
    // One segment in use and a spare one, of 1 MiB each.
    cluster.disks[&node].log.set_capacity_bytes((2 << 20) + LOW_WATER_BYTES / 2);
}

fn empty(cluster: &Cluster, node: u64) {
    cluster.disks[&node].log.set_capacity_bytes(1 << 30);
}

/// Posts to `node` until it answers `wanted`; what one disk is like takes a moment to get round.
async fn until(cluster: &Cluster, node: u64, wanted: Option<Failure>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while propose(cluster.replica(node), post("other", "x")).await.err() != wanted {
        assert!(Instant::now() < deadline, "node {node} never answered {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_nearly_full_disk_only_growing_commands_are_refused() {
    let cluster = Cluster::start(1, plain).await;
    cluster.leader().await;
    cluster.project(1).await;
    propose(cluster.replica(1), post("q", "a")).await.unwrap();
    fill(&cluster, 1);
    eventually("the disk to be seen as full", || cluster.status(1).disk_low.then_some(())).await;
    let refused = propose(cluster.replica(1), post("q", "b")).await;
    assert_eq!(refused, Err(DISK_FULL));
    assert_eq!(drain(cluster.replica(1), "q").await, ["a"]);
    empty(&cluster, 1);
    eventually("room to be seen", || (!cluster.status(1).disk_low).then_some(())).await;
    propose(cluster.replica(1), post("q", "b")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_short_of_disk_is_spared_at_every_door() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let follower = 1 + leader % 3;
    propose(cluster.replica(leader), post("q", "a")).await.unwrap();
    fill(&cluster, leader);
    until(&cluster, follower, Some(DISK_FULL)).await;
    assert_eq!(drain(cluster.replica(follower), "q").await, ["a"]);
    empty(&cluster, leader);
    until(&cluster, follower, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_follower_short_of_disk_stops_nobody_else_and_two_stop_all() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let (one, two) = (1 + leader % 3, 1 + (leader + 1) % 3);
    fill(&cluster, one);
    until(&cluster, one, Some(DISK_FULL)).await;
    for node in [leader, two] {
        propose(cluster.replica(node), post("q", "b")).await.unwrap();
    }
    fill(&cluster, two);
    until(&cluster, leader, Some(DISK_FULL)).await;
    assert_eq!(drain(cluster.replica(leader), "q").await, ["b", "b"]);
    empty(&cluster, one);
    until(&cluster, leader, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_command_passes_and_a_larger_one_is_refused() {
    let cluster = Cluster::start_with(3, plain, 16 << 20).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let follower = 1 + leader % 3;
    // Half a KiB is left for what a request says beside its bodies.
    let bodies = (COMMAND_BYTES_MAX - 512) / 64 / 1024;
    let post_of = |messages: usize| match post("q", vec![b'x'; 64 << 10]) {
        Command::PostMessages { queue, messages: one } => {
            Command::PostMessages { queue, messages: vec![one[0].clone(); messages] }
        }
        other => other,
    };
    for node in [leader, follower] {
        insist(cluster.replica(node), post_of(bodies - 1)).await.unwrap();
        let refused = propose(cluster.replica(node), post_of(bodies + 1)).await;
        assert_eq!(refused, Err(Failure::NotDone(NotDone::TooLarge)));
    }
    insist(cluster.replica(follower), post("q", "after")).await.unwrap();
    cluster.converge().await;
}
