//! Leaders that stop, crash or are cut off; streams that break: nothing lost, nothing doubled.

use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::net::Channel;

use crate::agreement::plain;
use crate::nodes::{Cluster, eventually, post, propose};
use crate::workload::{Callers, check};

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_stops_and_the_others_go_on() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let callers = Callers::start(&cluster, &others, 4);
    pause(300).await;
    cluster.stop(leader).await;
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    pause(300).await;
    let known = callers.stop().await;
    check(cluster.replica(next), known).await;
    cluster.boot(leader, None).await;
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_loses_power_again_and_again() {
    let mut cluster = Cluster::start(3, plain).await;
    let first = cluster.leader().await;
    cluster.project(first).await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
        let callers = Callers::start(&cluster, &others, 4);
        pause(200).await;
        cluster.crash(leader).await;
        let next = cluster.leader().await;
        // Requests that were on their way to the old leader are sent again to the new one.
        pause(1_500).await;
        cluster.boot(leader, None).await;
        let known = callers.stop().await;
        assert!(known.iter().all(|(_, known)| known.unknown.is_empty()), "{known:?}");
        check(cluster.replica(next), known).await;
        cluster.converge().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_does_nothing_and_heals() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let callers = Callers::start(&cluster, &[1, 2, 3], 3);
    pause(200).await;
    cluster.hub.isolate(NodeId(leader), true);
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let next = eventually("another leader", || {
        let leads = |node: &&u64| cluster.replica(**node).metrics().serving;
        others.iter().find(leads).copied()
    })
    .await;
    let before = cluster.status(leader).applied;
    pause(1_000).await;
    assert!(cluster.status(next).applied > before);
    assert!(!cluster.replica(leader).metrics().serving);
    cluster.hub.isolate(NodeId(leader), false);
    let agreed = cluster.leader().await;
    let known = callers.stop().await;
    check(cluster.replica(agreed), known).await;
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_forward_streams_double_and_lose_nothing() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let callers = Callers::start(&cluster, &[1, 2, 3], 4);
    let mut cut = 0;
    for _ in 0..30 {
        pause(30).await;
        cut += cluster.hub.cut(|_, _, channel| channel == Channel::Forward);
    }
    assert!(cut >= 20, "only {cut} forward streams were cut");
    let known = callers.stop().await;
    assert!(known.iter().all(|(_, known)| known.unknown.is_empty()), "{known:?}");
    check(cluster.replica(leader), known).await;
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_streams_of_every_kind_lose_nothing() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let callers = Callers::start(&cluster, &[1, 2, 3], 4);
    for round in 0..20u64 {
        pause(50).await;
        cluster.hub.cut(|from, to, channel| (from.0 + to.0 * 2 + channel as u64 + round) % 3 == 0);
    }
    let leader = cluster.leader().await;
    let known = callers.stop().await;
    check(cluster.replica(leader), known).await;
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_is_refused_under_its_old_id() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    for number in 0..10 {
        propose(cluster.replica(leader), post("q", number.to_string())).await.unwrap();
    }
    cluster.converge().await;
    // The leader notes once per ping interval what the others hold.
    pause(500).await;
    let wiped = (1..=3).find(|node| *node != leader).expect("there are three");
    cluster.crash(wiped).await;
    cluster.disks.remove(&wiped);
    cluster.boot(wiped, None).await;
    pause(1_500).await;
    assert_eq!(cluster.status(wiped).applied.0, 0, "it took part again with an empty disk");
    // The others go on without it.
    propose(cluster.replica(leader), post("q", "more")).await.unwrap();
}
