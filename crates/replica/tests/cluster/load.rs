//! Many callers: few streams, many requests per sync.

use std::time::Duration;

use bessemer_seam::net::Channel;

use crate::agreement::plain;
use crate::nodes::Cluster;
use crate::workload::{Callers, check};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_with_64_callers_hold_one_stream_each_to_the_leader() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let followers: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let before = cluster.hub.connects(Channel::Forward);
    let callers = Callers::start(&cluster, &followers, 64);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(cluster.replica(leader).metrics().forward_streams, 2);
    let known = callers.stop().await;
    let opened = cluster.hub.connects(Channel::Forward) - before;
    assert!(opened <= 2, "{opened} forward streams were opened under load");
    let done = check(cluster.replica(leader), known).await;
    assert!(done > 500, "only {done} posts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sync_serves_many_requests() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let syncs = |node: u64| cluster.disks[&node].log.syncs();
    let before = syncs(leader);
    let metrics_before = cluster.replica(leader).metrics();
    let callers = Callers::start(&cluster, &[1, 2, 3], 64);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let known = callers.stop().await;
    let done: u64 = known.iter().map(|(_, known)| known.done.len() as u64).sum();
    let (syncs, metrics) = (syncs(leader) - before, cluster.replica(leader).metrics());
    let entries = metrics.entries_proposed - metrics_before.entries_proposed;
    println!("{done} posts, {entries} entries, {syncs} syncs");
    assert!(entries < done, "{entries} entries for {done} posts");
    assert!(syncs < done, "{syncs} syncs for {done} posts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adhoc_latency() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let follower = 1 + leader % 3;
    for (name, node, callers) in [("leader", leader, 1), ("follower", follower, 1), ("l64", leader, 64), ("f64", follower, 64)] {
        let m0 = cluster.replica(leader).metrics();
        let began = std::time::Instant::now();
        let c = Callers::start(&cluster, &[node], callers);
        tokio::time::sleep(Duration::from_millis(2000)).await;
        let known = c.stop().await;
        let done: u64 = known.iter().map(|(_, known)| known.done.len() as u64).sum();
        let m1 = cluster.replica(leader).metrics();
        println!("{name}: {} posts/s, {} entries, {} parts", done * 1000 / began.elapsed().as_millis() as u64, m1.entries_proposed - m0.entries_proposed, m1.parts_proposed - m0.parts_proposed);
    }
}
