//! Joining, leaving, replacing, handing leadership over, while callers go on.

use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::consensus::{Consensus, MembershipChange, MembershipError};
use bessemer_seam::net::Channel;

use crate::agreement::plain;
use crate::nodes::{Cluster, PATIENCE, eventually, post, propose};
use crate::workload::{Callers, check};

fn join(node: u64) -> MembershipChange {
    MembershipChange::Join {
        node: NodeId(node),
        peer_address: format!("node-{node}"),
        http_address: format!("http-{node}"),
    }
}

async fn change(
    cluster: &Cluster,
    node: u64,
    change: MembershipChange,
) -> Result<(), MembershipError> {
    cluster.replica(node).change_membership(change, PATIENCE).await
}

fn voters(cluster: &Cluster, node: u64) -> Vec<u64> {
    let members = cluster.status(node).members;
    members.into_iter().filter(|member| member.voter).map(|member| member.node.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_and_serves() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let callers = Callers::start(&cluster, &[1, 2, 3], 2);
    cluster.boot(4, None).await;
    change(&cluster, leader, join(4)).await.unwrap();
    assert_eq!(voters(&cluster, leader), [1, 2, 3, 4]);
    eventually("the new node to know", || (voters(&cluster, 4).len() == 4).then_some(())).await;
    propose(cluster.replica(4), post("q", "from 4")).await.unwrap();
    let known = callers.stop().await;
    check(cluster.replica(4), known).await;
    cluster.converge().await;
    let again = change(&cluster, leader, join(4)).await;
    assert_eq!(again, Err(MembershipError::NodeExists { node: NodeId(4) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_leaves_and_never_comes_back_under_its_id() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let gone = (1..=3).find(|node| *node != leader).expect("there are three");
    change(&cluster, leader, MembershipChange::Leave { node: NodeId(gone) }).await.unwrap();
    assert_eq!(voters(&cluster, leader).len(), 2);
    assert_eq!(cluster.status(leader).members.len(), 2);
    cluster.stop(gone).await;
    let back = change(&cluster, leader, join(gone)).await;
    assert_eq!(back, Err(MembershipError::NodeExists { node: NodeId(gone) }));
    let missing = change(&cluster, leader, MembershipChange::Leave { node: NodeId(gone) }).await;
    assert_eq!(missing, Err(MembershipError::UnknownNode { node: NodeId(gone) }));
    // Neither after a restart.
    let rest: Vec<u64> = cluster.nodes.keys().copied().collect();
    for node in &rest {
        cluster.stop(*node).await;
    }
    for node in &rest {
        cluster.boot(*node, None).await;
    }
    let leader = cluster.leader().await;
    let back = change(&cluster, leader, join(gone)).await;
    assert_eq!(back, Err(MembershipError::NodeExists { node: NodeId(gone) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_leaves_and_another_takes_over() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let callers = Callers::start(&cluster, &others, 2);
    change(&cluster, leader, MembershipChange::Leave { node: NodeId(leader) }).await.unwrap();
    let next = eventually("another leader", || {
        others.iter().find(|node| cluster.replica(**node).metrics().serving).copied()
    })
    .await;
    let known = callers.stop().await;
    check(cluster.replica(next), known).await;
    assert_eq!(voters(&cluster, next), others);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_replaced() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let dead = (1..=3).find(|node| *node != leader).expect("there are three");
    cluster.crash(dead).await;
    cluster.boot(4, None).await;
    let replace = MembershipChange::Replace {
        old: NodeId(dead),
        new: NodeId(4),
        peer_address: "node-4".into(),
        http_address: "http-4".into(),
    };
    change(&cluster, leader, replace).await.unwrap();
    let expected: Vec<u64> = (1..=4).filter(|node| *node != dead).collect();
    assert_eq!(voters(&cluster, leader), expected);
    propose(cluster.replica(4), post("q", "from 4")).await.unwrap();
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_of_a_learner_that_ended_half_way_is_repeated() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    // Node 5 does not run: it stays a learner.
    let stuck = change(&cluster, leader, join(5));
    assert!(tokio::time::timeout(Duration::from_millis(300), stuck).await.is_err());
    cluster.boot(4, None).await;
    // What the first of the two changes leaves.
    change(&cluster, leader, join(4)).await.unwrap();
    assert_eq!(cluster.status(leader).members.len(), 5);
    let replace = MembershipChange::Replace {
        old: NodeId(5),
        new: NodeId(4),
        peer_address: "node-4".into(),
        http_address: "http-4".into(),
    };
    change(&cluster, leader, replace.clone()).await.unwrap();
    assert_eq!(voters(&cluster, leader), [1, 2, 3, 4]);
    assert_eq!(cluster.status(leader).members.len(), 4);
    let again = change(&cluster, leader, replace).await;
    assert_eq!(again, Err(MembershipError::UnknownNode { node: NodeId(5) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_while_callers_go_on() {
    let cluster = Cluster::start(3, plain).await;
    let first = cluster.leader().await;
    cluster.project(first).await;
    let callers = Callers::start(&cluster, &[1, 2, 3], 3);
    for _ in 0..4 {
        let leader = cluster.leader().await;
        let to = 1 + leader % 3;
        let moved = change(&cluster, leader, MembershipChange::Transfer { to: NodeId(to) }).await;
        assert_eq!(moved, Ok(()));
        callers.more(50).await;
    }
    let known = callers.stop().await;
    assert!(known.iter().all(|(_, known)| known.unknown.is_empty()), "{known:?}");
    check(cluster.replica(1), known).await;
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_change_waits_for_the_first_to_end() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    let replica = cluster.replica(leader).clone();
    // Node 4 is not started: it never catches up.
    let first = tokio::spawn(async move {
        replica.change_membership(join(4), Duration::from_millis(500)).await
    });
    let learning = || (cluster.status(leader).members.len() == 4).then_some(());
    eventually("node 4 to be fed", learning).await;
    assert_eq!(change(&cluster, leader, join(5)).await, Err(MembershipError::InProgress));
    assert_eq!(first.await.expect("it does not panic"), Err(MembershipError::Unknown));
    cluster.boot(4, None).await;
    assert_eq!(change(&cluster, leader, join(4)).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_left_half_way_is_finished() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    cluster
        .hub
        .refuse(move |from, _, channel| from == NodeId(leader) && channel == Channel::Append);
    let leave = MembershipChange::Leave { node: NodeId(others[0]) };
    let given_up =
        cluster.replica(leader).change_membership(leave, Duration::from_millis(200)).await;
    assert_eq!(given_up, Err(MembershipError::Unknown));
    cluster.hub.refuse(|_, _, _| false);
    let mut rest = vec![leader, others[1]];
    rest.sort_unstable();
    let finished = || (voters(&cluster, leader) == rest).then_some(());
    eventually("the change to be finished", finished).await;
    assert_eq!(cluster.status(leader).members.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_make_no_sense_are_refused() {
    let cluster = Cluster::start(1, plain).await;
    cluster.leader().await;
    let leave = change(&cluster, 1, MembershipChange::Leave { node: NodeId(1) }).await;
    assert_eq!(leave, Err(MembershipError::LastVoter));
    let transfer = change(&cluster, 1, MembershipChange::Transfer { to: NodeId(7) }).await;
    assert_eq!(transfer, Err(MembershipError::UnknownNode { node: NodeId(7) }));
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|node| *node != leader).expect("there are three");
    let elsewhere = change(&cluster, follower, join(9)).await;
    assert_eq!(elsewhere, Err(MembershipError::NotLeader { leader: Some(NodeId(leader)) }));
}
