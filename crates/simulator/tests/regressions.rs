//! What seeds have found, each as the shortest way there: named after the seed that found it.
//!
//! Not here: seeds themselves (`seeds.rs`), which find other things when the plan of a seed changes.

use std::time::Duration;

use bessemer_history::event::{Answer, Op};
use bessemer_model::{Millis, NodeId};
use bessemer_seam::consensus::MembershipChange;
use bessemer_simulator::cluster::{Cluster, Death, Harm};
use bessemer_simulator::membership;
use bessemer_simulator::run::Plan;
use bessemer_simulator::runtime::{Life, Sim, SimRuntime};
use bessemer_simulator::trace::TraceTo;
use bessemer_simulator::workload::Workload;
use openraft_rt::AsyncRuntime;

struct Stage {
    sim: Sim,
    cluster: Cluster,
    workload: std::sync::Arc<Workload>,
}

/// Runs `test` on three nodes whose queues are made, with a log that is soon purged.
fn on_three_nodes<F: Future<Output = ()>>(test: impl FnOnce(Stage) -> F) {
    on_three_nodes_from(1, test);
}

fn on_three_nodes_from<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Stage) -> F) {
    let mut runtime = SimRuntime::with_seed(seed, TraceTo::Hash);
    let sim = runtime.sim();
    runtime.block_on(async move {
        let mut settings = Plan::of(1).settings;
        settings.nodes = 3;
        settings.snapshot_every_bytes = 10_000;
        settings.log_bytes_max = 10_000;
        settings.log_bytes_keep = 0;
        let cluster = Cluster::new(&sim, settings);
        sim.spawn(Life::HARNESS, cluster.clone().supervise());
        let workload = Workload::new(&sim, cluster.doors.clone(), cluster.record.clone(), u64::MAX);
        workload.set_up(&mut sim.fork_rng()).await;
        test(Stage { sim, cluster, workload }).await;
    });
}

impl Stage {
    fn leader(&self) -> NodeId {
        membership::leader(&self.cluster).expect("there is a leader").me
    }

    /// The nodes that do not lead.
    fn others(&self) -> Vec<NodeId> {
        let leader = self.leader();
        self.cluster.nodes().into_iter().filter(|node| *node != leader).collect()
    }

    fn cut(&self, one: NodeId, other: NodeId, cut: bool) {
        self.cluster.net.set_cut(one, other, cut);
        self.cluster.net.set_cut(other, one, cut);
    }

    async fn post(&self, node: NodeId) -> Answer {
        let (uids, delay) = (vec![self.workload.uid()], Millis::ZERO);
        let op = Op::Post { queue: 0, uids, delay, key: None, keyed: false };
        self.workload.call(node, op, None, None).await
    }

    async fn pause_s(&self, seconds: u64) {
        self.sim.sleep(Duration::from_secs(seconds)).await;
    }

    fn last_words(&self, node: NodeId) -> Vec<String> {
        let ends = self.cluster.accidents().into_iter();
        ends.filter(|end| end.node == node).map(|end| end.text).collect()
    }
}

/// openraft refuses entries while it hands over; the leader's own lane asked it again and again.
#[test]
fn seed_12_a_leader_that_hands_over_to_a_node_it_cannot_reach_runs_in_no_circle() {
    on_three_nodes(|stage| async move {
        let (leader, target) = (stage.leader(), stage.others()[0]);
        stage.cut(leader, target, true);
        membership::ask(
            &stage.cluster,
            MembershipChange::Transfer { to: target },
            Duration::from_secs(2),
        );
        let (began, polls) = (stage.sim.now(), stage.sim.polls());
        for _ in 0..20 {
            drop(stage.post(leader).await);
        }
        let spent_s = (stage.sim.now() - began).as_secs_f64().max(1.0);
        let per_second = (stage.sim.polls() - polls) as f64 / spent_s;
        assert!(per_second < 30_000.0, "{per_second} polls a second");
    });
}

/// A peer that had crashed since it met a node knew its boot and its directory no more.
#[test]
fn seed_5003_a_node_on_an_empty_disk_is_refused_by_a_peer_that_crashed_right_after_it_met_it() {
    on_three_nodes(|stage| async move {
        let others = stage.others();
        let (emptied, forgetful) = (others[0], others[1]);
        let leader = stage.leader();
        assert!(matches!(stage.post(leader).await, Answer::Posted(_)));
        stage.cluster.kill(forgetful, Death::Power, Duration::ZERO);
        stage.cluster.harm(emptied, Harm::Wipe, Duration::ZERO);
        stage.cut(leader, emptied, true);
        stage.cut(leader, forgetful, true);
        stage.pause_s(10).await;
        // The two of them are a majority, of which one lost what it had acknowledged.
        let led = membership::leader(&stage.cluster).map(|status| status.me);
        assert!(led.is_none_or(|node| node == leader), "{led:?} leads");
        assert!(!stage.last_words(emptied).is_empty(), "it is not told");
    });
}

/// A node on an older disk was refused by a peer that knew, and let in by one that did not.
#[test]
fn seed_5003_a_node_that_was_refused_once_keeps_away_from_peers_that_know_less() {
    on_three_nodes(|stage| async move {
        let (leader, others) = (stage.leader(), stage.others());
        let (old, isolated) = (others[0], others[1]);
        stage.cluster.take_copy(old);
        stage.cut(isolated, leader, true);
        stage.cut(isolated, old, true);
        for _ in 0..20 {
            assert!(matches!(stage.post(leader).await, Answer::Posted(_)));
        }
        stage.pause_s(2).await;
        // It meets the leader, which knows what it held; then only the one that was away.
        stage.cluster.harm(old, Harm::OldCopy, Duration::ZERO);
        stage.pause_s(3).await;
        assert!(!stage.last_words(old).is_empty(), "it is not told");
        stage.cut(leader, old, true);
        stage.cut(isolated, old, false);
        stage.pause_s(10).await;
        let led = membership::leader(&stage.cluster).map(|status| status.me);
        assert!(led.is_none_or(|node| node == leader), "{led:?} leads without what was posted");
        stage.cut(isolated, leader, false);
        stage.pause_s(5).await;
        assert!(matches!(stage.post(leader).await, Answer::Posted(_)));
    });
}

/// A node whose join was never finished stayed a member, however often it was replaced.
#[test]
fn seed_80_a_node_that_never_caught_up_is_replaced_as_well() {
    on_three_nodes(|stage| async move {
        let (lost, new) = (stage.cluster.add(), stage.cluster.add());
        for node in stage.cluster.nodes().into_iter().filter(|node| *node != lost) {
            stage.cut(node, lost, true);
        }
        let address = |node: NodeId| (format!("node-{node}:7000"), format!("node-{node}:8080"));
        let (peer_address, http_address) = address(lost);
        let join = MembershipChange::Join { node: lost, peer_address, http_address };
        membership::ask(&stage.cluster, join, Duration::from_secs(2));
        stage.pause_s(4).await;
        let (peer_address, http_address) = address(new);
        let replace = MembershipChange::Replace { old: lost, new, peer_address, http_address };
        membership::ask(&stage.cluster, replace, Duration::from_secs(10));
        stage.pause_s(10).await;
        let status = membership::leader(&stage.cluster).expect("there is a leader");
        let members: Vec<NodeId> = status.members.iter().map(|member| member.node).collect();
        assert_eq!(members, [NodeId(1), NodeId(2), NodeId(3), new]);
    });
}

/// A node that has just installed a snapshot holds more than its log says.
#[test]
fn a_node_that_installs_a_snapshot_on_a_slow_disk_is_not_taken_for_one_that_lost_data() {
    for seed in 0..2 {
        on_three_nodes_from(seed, |stage| async move {
            let (leader, others) = (stage.leader(), stage.others());
            let (behind, other) = (others[0], others[1]);
            stage.cut(behind, leader, true);
            stage.cut(behind, other, true);
            for _ in 0..200 {
                assert!(matches!(stage.post(leader).await, Answer::Posted(_)));
            }
            stage.pause_s(10).await;
            let life = stage.cluster.life(behind).expect("it runs");
            stage.sim.set_blocking_ns(life, (200_000_000, 400_000_000));
            stage.cluster.net.heal_all();
            stage.pause_s(90).await;
            assert_eq!(stage.last_words(behind), Vec::<String>::new());
            let installs = stage.cluster.state(behind).counters().installs;
            assert!(installs > 0, "it came back by log");
        });
    }
}
