//! Leaders that stop, crash or are cut off; streams that break: nothing lost, nothing doubled.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bessemer_model::{Failure, NodeId, NotDone};
use bessemer_seam::consensus::{Consensus, MembershipChange};
use bessemer_seam::net::Channel;
use bessemer_seam::runtime::Runtime;

use crate::agreement::plain;
use crate::nodes::{Cluster, PATIENCE, eventually, insist, member, post, propose, request};
use crate::workload::{Callers, check};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_stops_and_the_others_go_on() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let callers = Callers::start(&cluster, &others, 4);
    callers.more(100).await;
    cluster.stop(leader).await;
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    callers.more(100).await;
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
        callers.more(100).await;
        cluster.crash(leader).await;
        let next = cluster.leader().await;
        // Requests that were on their way to the old leader are sent again to the new one.
        callers.more(100).await;
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
    callers.more(50).await;
    cluster.hub.isolate(NodeId(leader), true);
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let next = eventually("another leader", || {
        let leads = |node: &&u64| cluster.replica(**node).metrics().serving;
        others.iter().find(leads).copied()
    })
    .await;
    let before = cluster.status(leader).applied;
    callers.more(50).await;
    assert!(cluster.status(next).applied > before);
    let noticed = || (!cluster.replica(leader).metrics().serving).then_some(());
    eventually("the old leader to notice", noticed).await;
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
    while cut < 20 {
        callers.more(10).await;
        cut += cluster.hub.cut(|_, _, channel| channel == Channel::Forward);
    }
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
        callers.more(10).await;
        cluster.hub.cut(|from, to, channel| {
            (from.0 + to.0 * 2 + channel as u64 + round).is_multiple_of(3)
        });
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
    let wiped = (1..=3).find(|node| *node != leader).expect("there are three");
    let committed = cluster.status(leader).committed;
    let known = || cluster.replica(leader).remembered(NodeId(wiped)) >= committed;
    eventually("the leader to note what the node holds", || known().then_some(())).await;
    cluster.crash(wiped).await;
    cluster.disks.remove(&wiped);
    cluster.boot(wiped, None).await;
    cluster.tries(20).await;
    assert_eq!(cluster.status(wiped).applied.0, 0, "it took part again with an empty disk");
    // The others go on without it.
    propose(cluster.replica(leader), post("q", "more")).await.unwrap();
}

/// Nodes that never led remember it, too: a wiped node would vote with a forgotten log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_is_refused_by_whoever_leads() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    propose(cluster.replica(leader), post("q", "kept")).await.unwrap();
    let mut others = (1..=3).filter(|node| *node != leader);
    let (wiped, other) = (others.next().unwrap(), others.next().unwrap());
    let told = || (cluster.replica(other).remembered(NodeId(wiped)).0 > 0).then_some(());
    eventually("the other follower to hear what the node holds", told).await;
    cluster.crash(wiped).await;
    cluster.disks.remove(&wiped);
    // Its configuration still lists it as a first member.
    let members = (1..=3).map(member).collect();
    cluster.boot(wiped, Some(members)).await;
    let transfer = MembershipChange::Transfer { to: NodeId(other) };
    cluster.replica(leader).change_membership(transfer, PATIENCE).await.unwrap();
    propose(cluster.replica(other), post("q", "more")).await.unwrap();
    cluster.stop(leader).await;
    cluster.tries(20).await;
    assert_eq!(cluster.status(wiped).applied.0, 0, "it took part again with an empty disk");
    let alone =
        cluster.replica(other).propose(request(post("q", "x")), Duration::from_secs(2)).await;
    assert!(alone.is_err(), "the wiped node gave its vote or its acknowledgement: {alone:?}");
    cluster.boot(leader, None).await;
    insist(cluster.replica(other), post("q", "again")).await.unwrap();
}

/// On that copy it is the only voter: it would lead, and has nobody to ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_from_when_a_node_was_alone_ends_when_its_peers_ask_it() {
    let mut cluster = Cluster::start(1, plain).await;
    cluster.project(1).await;
    let disks = &cluster.disks[&1];
    let (log, state, boot) = (disks.log.fork(), disks.state.crash(), disks.boot);
    for node in [2, 3] {
        cluster.boot(node, None).await;
        let join = MembershipChange::Join {
            node: NodeId(node),
            peer_address: format!("node-{node}"),
            http_address: format!("http-{node}"),
        };
        cluster.replica(1).change_membership(join, PATIENCE).await.unwrap();
    }
    propose(cluster.replica(1), post("q", "kept")).await.unwrap();
    let told = |node: u64| (cluster.replica(node).remembered(NodeId(1)).0 > 0).then_some(());
    for node in [2, 3] {
        eventually("a follower to hear what the leader holds", || told(node)).await;
    }
    cluster.crash(1).await;
    let disks = cluster.disks.get_mut(&1).unwrap();
    // Copies are made of nodes that started as often: only what it holds gives it away.
    (disks.log, disks.state, disks.boot) = (log, state, boot);
    cluster.boot(1, None).await;
    let over = || cluster.replica(1).failure();
    let why = eventually("the copy to end", over).await;
    assert!(why.contains("lost data"), "{why}");
    let late = cluster.replica(1).propose(request(post("q", "x")), Duration::from_secs(1)).await;
    assert!(late.is_err(), "the copy took a message: {late:?}");
    insist(cluster.replica(2), post("q", "more")).await.unwrap();
}

/// Who leads is held to what it committed, like those that follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_on_an_older_copy_is_refused() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let disks = &cluster.disks[&leader];
    let (log, state) = (disks.log.fork(), disks.state.crash());
    propose(cluster.replica(leader), post("q", "kept")).await.unwrap();
    let committed = cluster.status(leader).committed;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    for node in &others {
        let told = || cluster.replica(*node).remembered(NodeId(leader)) >= committed;
        eventually("a follower to hear what the leader holds", || told().then_some(())).await;
    }
    cluster.crash(leader).await;
    let disks = cluster.disks.get_mut(&leader).unwrap();
    (disks.log, disks.state) = (log, state);
    cluster.boot(leader, None).await;
    let why = eventually("the copy to end", || cluster.replica(leader).failure()).await;
    assert!(why.contains("lost data"), "{why}");
    insist(cluster.replica(others[0]), post("q", "more")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_reads_fail_instead_of_waiting() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.replica(leader).barrier(PATIENCE).await.unwrap();
    let away: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    for node in &away {
        cluster.crash(*node).await;
    }
    let hour = Duration::from_secs(3_600);
    for _ in 0..2 {
        let refused = cluster.replica(leader).barrier(hour).await;
        assert_eq!(refused, Err(Failure::NotDone(NotDone::NoLeader)));
    }
    for node in &away {
        cluster.boot(*node, None).await;
    }
    cluster.leader().await;
    cluster.replica(leader).barrier(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_time_moves_though_nothing_happens() {
    let cluster = Cluster::start(3, |options| options.idle_tick_ms = 50).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let follower = 1 + leader % 3;
    let before = cluster.replica(follower).log_time();
    let later = || (cluster.replica(follower).log_time().0 > before.0 + 200).then_some(());
    eventually("log time to move", later).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_clock_is_off_gives_way_and_log_time_does_not_jump() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    cluster.nodes[&leader].runtime.ahead_ms.store(3_600_000, Ordering::SeqCst);
    let moved = || cluster.status(leader).leader.filter(|now| now.0 != leader);
    let next = eventually("leadership to move", moved).await;
    assert!(cluster.replica(leader).metrics().clock_off);
    propose(cluster.replica(next.0), post("q", "x")).await.unwrap();
    let wall = cluster.nodes[&next.0].runtime.wall_ms();
    let off = wall.abs_diff(cluster.replica(next.0).log_time().0);
    assert!(off < 2_000, "log time is {off} ms off");
}

/// A leader that resumed its term after a power cut would write other entries under log ids it
/// has already used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_leader_never_resumes_its_term() {
    let mut cluster = Cluster::start(1, plain).await;
    cluster.leader().await;
    cluster.project(1).await;
    for _ in 0..3 {
        let before = cluster.status(1).term;
        cluster.crash(1).await;
        cluster.boot(1, None).await;
        cluster.leader().await;
        assert!(cluster.status(1).term > before);
    }
}
