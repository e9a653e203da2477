//! What goes wrong, when: a few kinds of faults per run, drawn from the seed, one after another
//! and at the same time; then everything is healed.
//!
//! Not here: how a fault works (`world`, `cluster`). Faults that would break what the design
//! promises to tolerate only from a majority are held back: at most a minority loses its disk's
//! word, while any number may lose power. Disks that were harmed stay so until their node is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::consensus::MembershipChange;
use bessemer_seam::net::Channel;

use crate::cluster::{Cluster, Death, Harm};
use crate::membership;
use crate::runtime::ClockChange;
use crate::scenes;
use crate::seed::Rng;
use crate::world::net::Link;

/// Blocking work on a slow disk takes this long, in nanoseconds.
const SLOW_DISK_NS: (u64, u64) = (5_000_000, 150_000_000);
const USUAL_DISK_NS: (u64, u64) = (20_000, 2_000_000);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    KillOne,
    KillAll,
    /// A clean stop, as for an upgrade.
    Stop,
    /// Power fails in the middle of some call to the disk.
    PowerInCall,
    /// The next sync fails: the process must end.
    SyncFails,
    /// One machine alone.
    Isolate,
    /// Two sides.
    Part,
    /// One direction of one link.
    OneWay,
    /// One link, cut and healed again and again.
    Flap,
    SlowLink,
    /// Streams break at random.
    BadLink,
    SlowDisk,
    DiskFull,
    /// The process stands still.
    Pause,
    WallJump,
    Drift,
    Transfer,
    /// A snapshot now, whatever else happens.
    Snapshot,
    /// A new node joins, or takes the place of another; or one leaves.
    Membership,
    /// The streams that carry commands to the leader break.
    DropForward,
    /// A link delivers late what its sender gave up and sends again elsewhere: messages twice,
    /// and out of order between streams.
    Late,
    /// Two sides, and one node that both can reach.
    Bridge,
    /// Each node reaches its two neighbors alone.
    Ring,
    /// The wall clock jumps to and fro.
    Strobe,
    /// Leadership is handed on and on.
    TransferStorm,
    /// Some reads of the log fail: the process must end, or do without.
    ReadFails,
    /// Answers get lost on their way to clients.
    LoseAnswers,
    /// Bits of the newest snapshot turn over.
    RottenSnapshot,
    /// Bits of a log turn over while its node is off.
    Flip,
    /// A node comes back on empty disks, under its old id.
    Wipe,
    /// A node comes back on a copy of its disks from earlier.
    OldCopy,
    // Scenes: see `scenes.rs`.
    OtherMajority,
    ForgottenVote,
    StaleMember,
    LearnerMajority,
}

impl Fault {
    /// What plans by chance draw from: all but scenes.
    pub const ALL: [Fault; 31] = [
        Fault::KillOne,
        Fault::KillAll,
        Fault::Stop,
        Fault::PowerInCall,
        Fault::SyncFails,
        Fault::Isolate,
        Fault::Part,
        Fault::OneWay,
        Fault::Flap,
        Fault::SlowLink,
        Fault::BadLink,
        Fault::SlowDisk,
        Fault::DiskFull,
        Fault::Pause,
        Fault::WallJump,
        Fault::Drift,
        Fault::Transfer,
        Fault::Snapshot,
        Fault::Membership,
        Fault::DropForward,
        Fault::Late,
        Fault::Bridge,
        Fault::Ring,
        Fault::Strobe,
        Fault::TransferStorm,
        Fault::ReadFails,
        Fault::LoseAnswers,
        Fault::RottenSnapshot,
        Fault::Flip,
        Fault::Wipe,
        Fault::OldCopy,
    ];

    pub const SCENES: [Fault; 4] =
        [Fault::OtherMajority, Fault::ForgottenVote, Fault::StaleMember, Fault::LearnerMajority];

    /// By the name that `Debug` gives it; letters of either case.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL
            .into_iter()
            .chain(Fault::SCENES)
            .find(|fault| format!("{fault:?}").eq_ignore_ascii_case(name))
    }

    /// The cluster may have other members afterwards.
    pub fn changes_members(self) -> bool {
        matches!(
            self,
            Fault::Membership
                | Fault::Flip
                | Fault::Wipe
                | Fault::OldCopy
                | Fault::OtherMajority
                | Fault::StaleMember
                | Fault::LearnerMajority
        )
    }

    /// A random non-empty choice: runs with few kinds reach deeper than runs with all.
    pub fn some(rng: &mut Rng) -> Vec<Fault> {
        let mut all = Fault::ALL.to_vec();
        rng.shuffle(&mut all);
        all.truncate(rng.between(1, 6) as usize);
        all.sort();
        all
    }
}

/// Makes faults of `kinds` happen until `until`, but for those whose number (0 is the first) is in
/// `skip`. Returns how often each did.
pub async fn run(
    cluster: &Cluster,
    kinds: &[Fault],
    skip: &BTreeSet<u64>,
    until: Duration,
    rng: &mut Rng,
) -> BTreeMap<Fault, u64> {
    let mut happened = BTreeMap::new();
    for number in 0.. {
        // Now and then a burst, now and then peace.
        let pause_ms = if rng.chance(300_000) { rng.below(50) } else { rng.between(100, 3_000) };
        cluster.sim.sleep(Duration::from_millis(pause_ms)).await;
        if cluster.sim.now() >= until {
            break;
        }
        if kinds.is_empty() {
            continue;
        }
        let fault = *rng.pick(kinds);
        let mut own_rng = rng.fork();
        if skip.contains(&number) {
            continue;
        }
        cluster.sim.note(format_args!("fault {number} {fault:?}"));
        *happened.entry(fault).or_default() += 1;
        // Some last long enough for others to purge what the victim lacks.
        let longest_ms = if own_rng.chance(200_000) { 15_000 } else { 4_000 };
        let length = Duration::from_millis(own_rng.between(50, longest_ms));
        begin(cluster, fault, length, &mut own_rng).await;
    }
    happened
}

/// Begins `fault`; what passes by itself passes after `length`.
async fn begin(cluster: &Cluster, fault: Fault, length: Duration, rng: &mut Rng) {
    let nodes = cluster.nodes();
    let one = *rng.pick(&nodes);
    match fault {
        Fault::KillOne => cluster.kill(one, death(rng), length),
        Fault::KillAll => {
            let death = death(rng);
            for node in nodes {
                cluster.kill(node, death, Duration::from_millis(rng.below(3_000)));
            }
        }
        Fault::Stop => {
            if let Some(door) = cluster.doors.door(one) {
                door.stop.set();
            }
        }
        Fault::PowerInCall => cluster.disk(one).power_fails_after(rng.below(200)),
        Fault::SyncFails => cluster.disk(one).fail_syncs(),
        Fault::Isolate => cut(cluster, &[one], length),
        Fault::Part => {
            let mut nodes = nodes;
            rng.shuffle(&mut nodes);
            let size = rng.between(1, nodes.len() as u64 - 1) as usize;
            cut(cluster, &nodes[..size], length);
        }
        Fault::OneWay => cut_links(cluster, vec![a_link(&nodes, rng)], length),
        Fault::Flap => flap(cluster, a_link(&nodes, rng), length, rng),
        Fault::SlowLink => {
            let link = Link { delay_us: (1_000, 120_000), bytes_per_ms: 500, ..Link::default() };
            change_link(cluster, a_link(&nodes, rng), link, length);
        }
        Fault::BadLink => {
            let link = Link { reset_per_million: 30_000, ..Link::default() };
            change_link(cluster, a_link(&nodes, rng), link, length);
        }
        Fault::SlowDisk => {
            if let Some(life) = cluster.life(one) {
                cluster.sim.set_blocking_ns(life, SLOW_DISK_NS);
                later(cluster, length, move |cluster| {
                    cluster.sim.set_blocking_ns(life, USUAL_DISK_NS);
                });
            }
        }
        Fault::DiskFull => {
            cluster.disk(one).set_capacity_bytes(0);
            later(cluster, length, move |cluster| {
                cluster.disk(one).set_capacity_bytes(cluster.settings.disk_bytes);
            });
        }
        Fault::Pause => {
            if let Some(life) = cluster.life(one) {
                cluster.sim.set_paused(life, true);
                later(cluster, length, move |cluster| cluster.sim.set_paused(life, false));
            }
        }
        Fault::WallJump => {
            let range = *rng.pick(&[100u64, 2_000, 100_000]);
            let by_ms = rng.between(0, 2 * range) as i64 - range as i64;
            cluster.sim.change_clock(one, ClockChange::JumpWall { by_ms });
        }
        Fault::Drift => {
            let ppm = rng.between(0, 20_000) as i64 - 10_000;
            cluster.sim.change_clock(one, ClockChange::Drift { ppm });
        }
        Fault::Transfer => {
            let change = MembershipChange::Transfer { to: one };
            membership::ask(cluster, change, Duration::from_secs(2));
        }
        Fault::Membership => membership::change(cluster, rng).await,
        Fault::Snapshot => snapshot(cluster, one),
        Fault::DropForward => {
            for other in nodes.into_iter().filter(|other| *other != one) {
                cluster.net.break_streams(one, other, Channel::Forward);
            }
        }
        Fault::Late => late(cluster, a_link(&nodes, rng), rng),
        Fault::Bridge => {
            let mut nodes = nodes;
            rng.shuffle(&mut nodes);
            let (_, others) = nodes.split_first().expect("a cluster has nodes");
            let size = rng.between(1, (others.len() as u64 / 2).max(1)) as usize;
            cut_between(cluster, &others[..size], &others[size..], length);
        }
        Fault::Ring => {
            let mut nodes = nodes;
            rng.shuffle(&mut nodes);
            let neighbors = |a: usize, b: usize| {
                let apart = a.abs_diff(b);
                apart <= 1 || apart == nodes.len() - 1
            };
            let mut links = Vec::new();
            for (a, from) in nodes.iter().enumerate() {
                for (b, to) in nodes.iter().enumerate() {
                    if !neighbors(a, b) {
                        links.push((*from, *to));
                    }
                }
            }
            cut_links(cluster, links, length);
        }
        Fault::Strobe => strobe(cluster, one, length, rng),
        Fault::TransferStorm => transfers(cluster, length, rng),
        Fault::ReadFails => cluster.disk(one).fail_reads(*rng.pick(&[20_000, 300_000])),
        Fault::LoseAnswers => {
            cluster.doors.lose_answers(*rng.pick(&[50_000, 400_000]));
            later(cluster, length, |cluster| cluster.doors.lose_answers(0));
        }
        Fault::RottenSnapshot => {
            let rotten = cluster.state(one).rot_checkpoint();
            cluster.sim.note(format_args!("rotten snapshot of {one}: {rotten}"));
        }
        Fault::Flip => {
            calm(cluster).await;
            cluster.harm(one, Harm::Flip, length);
            cluster.sim.sleep(length + CALM).await;
        }
        Fault::Wipe => cluster.harm(one, Harm::Wipe, length),
        Fault::OtherMajority => scenes::other_majority(cluster, rng).await,
        Fault::ForgottenVote => scenes::forgotten_vote(cluster, rng).await,
        Fault::StaleMember => scenes::stale_member(cluster).await,
        Fault::LearnerMajority => scenes::learner_majority(cluster).await,
        Fault::OldCopy => {
            cluster.take_copy(one);
            cluster.sim.sleep(length).await;
            calm(cluster).await;
            let down = Duration::from_millis(rng.below(2_000));
            cluster.harm(one, Harm::OldCopy, down);
            cluster.sim.sleep(down + CALM).await;
        }
    }
}

/// Nodes have heard by then what others hold: they tell each other once a second.
const CALM: Duration = Duration::from_secs(3);

/// Waits until every node is on and can be reached. What a node lost is known to its peers alone, so
/// that it must meet one that knows: no log can tell that it was longer.
async fn calm(cluster: &Cluster) {
    heal(cluster);
    cluster.sim.sleep(CALM).await;
    heal(cluster);
    cluster.sim.sleep(CALM).await;
}

fn death(rng: &mut Rng) -> Death {
    *rng.pick(&[Death::Process, Death::Power])
}

fn a_link(nodes: &[NodeId], rng: &mut Rng) -> (NodeId, NodeId) {
    let from = *rng.pick(nodes);
    let others: Vec<NodeId> = nodes.iter().copied().filter(|node| *node != from).collect();
    (from, *rng.pick(&others))
}

/// Does something after `length`, whatever else happens until then.
fn later(cluster: &Cluster, length: Duration, act: impl FnOnce(&Cluster) + Send + 'static) {
    let cluster = cluster.clone();
    let sim = cluster.sim.clone();
    sim.spawn(crate::runtime::Life::HARNESS, async move {
        cluster.sim.sleep(length).await;
        act(&cluster);
    });
}

/// Cuts every link between `side` and the others, both ways.
fn cut(cluster: &Cluster, side: &[NodeId], length: Duration) {
    let others: Vec<NodeId> =
        cluster.nodes().into_iter().filter(|node| !side.contains(node)).collect();
    cut_between(cluster, side, &others, length);
}

fn cut_between(cluster: &Cluster, side: &[NodeId], other: &[NodeId], length: Duration) {
    let pairs = side.iter().flat_map(|from| other.iter().map(|to| (*from, *to)));
    let links = pairs.flat_map(|(from, to)| [(from, to), (to, from)]).collect();
    cut_links(cluster, links, length);
}

/// Slows a link down until much is on its way, then breaks its streams for their senders alone.
fn late(cluster: &Cluster, (from, to): (NodeId, NodeId), rng: &mut Rng) {
    let slow = Link { delay_us: (100_000, 900_000), ..Link::default() };
    let length = Duration::from_millis(rng.between(100, 900));
    change_link(cluster, (from, to), slow, length);
    let late = Duration::from_millis(rng.between(200, 4_000));
    later(cluster, length, move |cluster| {
        for channel in [Channel::Append, Channel::Control, Channel::Snapshot, Channel::Forward] {
            cluster.net.break_streams_late(from, to, channel, late);
        }
    });
}

fn strobe(cluster: &Cluster, node: NodeId, length: Duration, rng: &mut Rng) {
    let cluster = cluster.clone();
    let mut rng = rng.fork();
    let sim = cluster.sim.clone();
    sim.spawn(crate::runtime::Life::HARNESS, async move {
        let end = cluster.sim.now() + length;
        let by_ms = rng.between(4, 260_000) as i64;
        let mut ahead = false;
        while cluster.sim.now() < end || ahead {
            ahead = !ahead;
            let by_ms = if ahead { by_ms } else { -by_ms };
            cluster.sim.change_clock(node, ClockChange::JumpWall { by_ms });
            cluster.sim.sleep(Duration::from_millis(rng.between(1, 200))).await;
        }
    });
}

fn transfers(cluster: &Cluster, length: Duration, rng: &mut Rng) {
    let cluster = cluster.clone();
    let mut rng = rng.fork();
    let sim = cluster.sim.clone();
    sim.spawn(crate::runtime::Life::HARNESS, async move {
        let end = cluster.sim.now() + length;
        while cluster.sim.now() < end {
            let to = *rng.pick(&cluster.nodes());
            membership::ask(&cluster, MembershipChange::Transfer { to }, Duration::from_secs(2));
            cluster.sim.sleep(Duration::from_millis(rng.between(50, 700))).await;
        }
    });
}

fn cut_links(cluster: &Cluster, links: Vec<(NodeId, NodeId)>, length: Duration) {
    for (from, to) in &links {
        cluster.net.set_cut(*from, *to, true);
    }
    later(cluster, length, move |cluster| {
        for (from, to) in links {
            cluster.net.set_cut(from, to, false);
        }
    });
}

fn change_link(cluster: &Cluster, (from, to): (NodeId, NodeId), link: Link, length: Duration) {
    cluster.net.set_link(from, to, link);
    later(cluster, length, move |cluster| {
        cluster.net.set_link(from, to, cluster.settings.link);
    });
}

fn flap(cluster: &Cluster, (from, to): (NodeId, NodeId), length: Duration, rng: &mut Rng) {
    let cluster = cluster.clone();
    let mut rng = rng.fork();
    let sim = cluster.sim.clone();
    sim.spawn(crate::runtime::Life::HARNESS, async move {
        let end = cluster.sim.now() + length;
        let mut is_cut = false;
        while cluster.sim.now() < end || is_cut {
            is_cut = !is_cut;
            cluster.net.set_cut(from, to, is_cut);
            cluster.sim.sleep(Duration::from_millis(rng.between(20, 700))).await;
        }
    });
}

fn snapshot(cluster: &Cluster, node: NodeId) {
    let Some(door) = cluster.doors.door(node) else { return };
    let sim = cluster.sim.clone();
    cluster.sim.spawn(door.life, async move {
        let result = door.node.replica().take_snapshot().await;
        sim.note(format_args!("snapshot of {node}: {:?}", result.map_err(|error| error.kind())));
    });
}

/// Ends every fault: links, disks and clocks are right again, and all machines on.
pub fn heal(cluster: &Cluster) {
    cluster.sim.note(format_args!("heal"));
    cluster.net.heal_all();
    cluster.doors.lose_answers(0);
    for node in cluster.nodes() {
        cluster.sim.change_clock(node, ClockChange::SetRight);
        let disk = cluster.disk(node);
        disk.set_capacity_bytes(cluster.settings.disk_bytes);
        disk.works_again();
        if let Some(life) = cluster.life(node) {
            cluster.sim.set_paused(life, false);
            cluster.sim.set_blocking_ns(life, USUAL_DISK_NS);
        }
    }
    cluster.start_all_soon();
}
