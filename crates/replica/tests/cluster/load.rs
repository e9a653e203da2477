//! Many callers: few streams, many requests per sync.

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
    callers.more(1_000).await;
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
    callers.more(2_000).await;
    let known = callers.stop().await;
    let done: u64 = known.iter().map(|(_, known)| known.done.len() as u64).sum();
    let (syncs, metrics) = (syncs(leader) - before, cluster.replica(leader).metrics());
    let entries = metrics.entries_proposed - metrics_before.entries_proposed;
    println!("{done} posts, {entries} entries, {syncs} syncs");
    assert!(entries < done, "{entries} entries for {done} posts");
    assert!(syncs < done, "{syncs} syncs for {done} posts");
}
