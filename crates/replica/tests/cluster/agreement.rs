//! Elections, outcomes, order, reads, restarts without faults.

use std::ops::ControlFlow;
use std::time::Duration;

use bessemer_engine::read;
use bessemer_model::{
    Command, Effect, Failure, Millis, NotDone, Outcome, ProjectId, QueueName, Rejection,
};
use bessemer_replica::ReplicaOptions;
use bessemer_seam::consensus::{Consensus, Effects};
use bessemer_seam::kv::Table;
use bessemer_seam::runtime::Runtime;

use crate::nodes::{Cluster, PATIENCE, drain, eventually, post, propose, request};
use crate::workload::{Callers, check};

pub fn plain(_: &mut ReplicaOptions) {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_alone_is_a_cluster() {
    let mut cluster = Cluster::start(1, plain).await;
    assert_eq!(cluster.leader().await, 1);
    cluster.project(1).await;
    propose(cluster.replica(1), post("q", "a")).await.unwrap();
    cluster.replica(1).barrier(PATIENCE).await.unwrap();
    assert_eq!(drain(cluster.replica(1), "q").await, ["a"]);
    cluster.stop(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_elect_and_each_may_be_asked() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    for node in 1..=3 {
        let outcome = propose(cluster.replica(node), post("q", format!("from {node}"))).await;
        assert!(matches!(outcome, Ok(Outcome::Posted { .. })), "{outcome:?}");
    }
    assert_eq!(drain(cluster.replica(2), "q").await, ["from 1", "from 2", "from 3"]);
    cluster.converge().await;
    for node in 1..=3 {
        cluster.stop(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_are_right_and_in_order_for_every_caller() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let callers = Callers::start(&cluster, &[1, 2, 3], 8);
    callers.more(200).await;
    let known = callers.stop().await;
    assert!(known.iter().all(|(_, known)| known.unknown.is_empty() && known.not_done == 0));
    assert!(known.iter().all(|(_, known)| !known.done.is_empty()));
    check(cluster.replica(leader), known).await;
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_comes_back_as_one() {
    let cluster = Cluster::start(3, plain).await;
    cluster.leader().await;
    let project = ProjectId::new("p");
    for node in 1..=3 {
        let outcome = propose(cluster.replica(node), Command::DeleteProject).await;
        let missing = Rejection::ProjectMissing { project: project.clone() };
        assert_eq!(outcome, Err(Failure::Rejected(missing)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_a_barrier_sees_what_another_node_was_told() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let (project, queue) = (ProjectId::new("p"), QueueName::new("q"));
    for round in 1..=30u64 {
        let (writer, reader) = (1 + round % 3, 1 + (round + 1) % 3);
        propose(cluster.replica(writer), post("q", "x")).await.unwrap();
        cluster.replica(reader).barrier(PATIENCE).await.unwrap();
        let view = cluster.replica(reader).view();
        let info = read::queue_info(&*view, &project, &queue).unwrap().unwrap();
        assert_eq!(info.size, round, "node {reader} after node {writer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_are_seen_on_every_node() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    cluster.converge().await;
    let mut streams: Vec<_> = (1..=3).map(|node| cluster.replica(node).effects()).collect();
    propose(cluster.replica(2), post("q", "x")).await.unwrap();
    for stream in &mut streams {
        let ready =
            Effect::MessagesReady { project: ProjectId::new("p"), queue: QueueName::new("q") };
        let got = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
        let Effects::Some(effects) = got else { panic!("{got:?}") };
        assert!(effects.contains(&ready), "{effects:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_everything_again() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    for number in 0..20 {
        propose(cluster.replica(1), post("q", number.to_string())).await.unwrap();
    }
    for node in 1..=3 {
        cluster.stop(node).await;
    }
    for node in 1..=3 {
        cluster.boot(node, None).await;
    }
    cluster.leader().await;
    let expected: Vec<String> = (0..20).map(|number: u64| number.to_string()).collect();
    assert_eq!(drain(cluster.replica(2), "q").await, expected);
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_all_nodes_loses_nothing_that_was_answered() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    for round in 0..3 {
        let callers = Callers::start(&cluster, &[1, 2, 3], 4);
        callers.more(100).await;
        for node in 1..=3 {
            cluster.crash(node).await;
        }
        let known = callers.stop().await;
        for node in 1..=3 {
            cluster.boot(node, None).await;
        }
        cluster.leader().await;
        let done = check(cluster.replica(1 + round), known).await;
        assert!(done > 0);
        cluster.converge().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_done_and_it_is_said_soon() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    for node in others {
        cluster.crash(node).await;
    }
    let replica = cluster.replica(leader).clone();
    eventually("the leader to notice", || (!replica.metrics().serving).then_some(())).await;
    let refused = eventually("requests to be refused", || {
        let attempt = replica.propose(request(post("q", "x")), Duration::from_millis(1));
        match futures_util::FutureExt::now_or_never(attempt) {
            Some(Err(Failure::NotDone(why))) => Some(why),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    })
    .await;
    assert_eq!(refused, NotDone::NoLeader);
    assert!(replica.barrier(Duration::from_millis(300)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_node_refuses_and_the_others_go_on() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let replica = cluster.replica(leader).clone();
    let began = std::time::Instant::now();
    cluster.stop(leader).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let refused = propose(&replica, post("q", "x")).await;
    assert_eq!(refused, Err(Failure::NotDone(NotDone::ShuttingDown)));
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    propose(cluster.replica(next), post("q", "y")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_time_passes_when_nobody_asks() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let mut delayed = post("q", "later");
    if let Command::PostMessages { messages, .. } = &mut delayed {
        messages[0].delay = Millis(300);
    }
    let before = cluster.replica(leader).log_time();
    propose(cluster.replica(leader), delayed).await.unwrap();
    assert!(drain(cluster.replica(leader), "q").await.is_empty());
    let mut effects = cluster.replica(leader).effects();
    let ready = tokio::time::timeout(PATIENCE, effects.next()).await.unwrap();
    assert!(matches!(ready, Some(Effects::Some(_))), "{ready:?}");
    let passed = cluster.replica(leader).log_time().0 - before.0;
    assert!((250..2_000).contains(&passed), "{passed} ms of log time");
    assert_eq!(drain(cluster.replica(leader), "q").await, ["later"]);
    let wall = cluster.nodes[&leader].runtime.wall_ms();
    let off = wall.abs_diff(cluster.replica(leader).log_time().0);
    assert!(off < 2_000, "log time is {off} ms off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_swept_without_being_asked() {
    let cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    for number in 0..50 {
        propose(cluster.replica(leader), post("q", number.to_string())).await.unwrap();
    }
    let bodies = || {
        let mut bodies = 0;
        let mut count = |_: &[u8], _: &[u8]| {
            bodies += 1;
            ControlFlow::Continue(())
        };
        cluster.replica(leader).view().scan(Table::Body, b"", &[0xff; 16], &mut count).unwrap();
        bodies
    };
    assert_eq!(bodies(), 50);
    let clear = Command::ClearQueue { queue: QueueName::new("q") };
    propose(cluster.replica(leader), clear).await.unwrap();
    eventually("the sweep", || (bodies() == 0).then_some(())).await;
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_different_clusters_refuse_each_other() {
    let mut cluster = Cluster::start(3, plain).await;
    let leader = cluster.leader().await;
    cluster.project(leader).await;
    let stranger = (1..=3).find(|node| *node != leader).expect("there are three");
    cluster.stop(stranger).await;
    cluster.boot_as(stranger, None, "another cluster").await;
    propose(cluster.replica(leader), post("q", "x")).await.unwrap();
    let before = cluster.status(stranger).applied;
    cluster.tries(10).await;
    assert_eq!(cluster.status(stranger).applied, before);
    cluster.stop(stranger).await;
    cluster.boot(stranger, None).await;
    cluster.converge().await;
}
