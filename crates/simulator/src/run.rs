//! One run: a cluster, its clients and its faults, all from one seed; then heal, drain, judge.
//!
//! Invariants: the same seed gives the same trace hash; a run without violations has shown that
//!   its faults and its checks had something to do (`Report::opportunities`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bessemer_history::{Check, Report as Judgement, Verdict, judge};
use bessemer_seam::kv::Table;
use bessemer_seam::mutants::{self, Mutant};
use openraft_rt::AsyncRuntime;

use crate::client;
use crate::cluster::{Cluster, Settings};
use crate::faults::{self, Fault};
use crate::membership;
use crate::mishaps::{Kind, Mishaps};
use crate::queues::{TENANTS, rules};
use crate::runtime::{Life, Sim, SimRuntime};
use crate::seed::Rng;
use crate::trace::TraceTo;
use crate::workload::{self, Workload};
use crate::world::net::Link;

/// A cluster without faults has a leader, and answers, within this.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Polls in one second of virtual time beyond which something runs in a circle: several times what
/// the busiest second of a healthy run takes.
const POLLS_PER_SECOND_MAX: u64 = 250_000;
/// After the heal it has emptied its queues within this: reservations last 9 s, delays 5 s, and
/// log time may lag by as much as clocks were wrong.
const DRAINED_WITHIN: Duration = Duration::from_secs(240);

/// What one run does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    pub seed: u64,
    pub settings: Settings,
    pub clients: u64,
    /// How long clients work while faults happen.
    pub work: Duration,
    pub kinds: Vec<Fault>,
    /// Numbers of faults that are left out.
    pub skip: BTreeSet<u64>,
    /// Clients stop after this many operations in all.
    pub operations_max: u64,
    /// The planted bug that has its way in this run.
    pub mutant: Option<Mutant>,
}

impl Plan {
    /// The plan of `seed`.
    pub fn of(seed: u64) -> Plan {
        // Another stream than the simulation's own.
        let mut rng = Rng::new(seed ^ 0x706c_616e);
        let slow = rng.chance(300_000);
        let link = match slow {
            true => Link { delay_us: (500, 20_000), ..Link::default() },
            false => Link::default(),
        };
        Plan {
            seed,
            settings: Settings {
                nodes: if rng.chance(300_000) { 5 } else { 3 },
                link,
                disk_bytes: 64 << 20,
                segment_bytes: *rng.pick(&[64 << 10, 256 << 10]),
                snapshot_every_bytes: *rng.pick(&[10_000, 40_000, 1 << 20]),
                log_bytes_max: *rng.pick(&[10_000, 60_000, 4 << 20]),
                log_bytes_keep: *rng.pick(&[0, 2_000, 30_000]),
                drift_ppm_max: 500,
                wall_off_ms_max: *rng.pick(&[0, 50, 400]),
            },
            clients: rng.between(2, 6),
            work: Duration::from_secs(rng.between(8, 20)),
            kinds: Fault::some(&mut rng),
            skip: BTreeSet::new(),
            operations_max: u64::MAX,
            mutant: None,
        }
    }
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    pub hash: u64,
    pub trace_lines: u64,
    pub polls: u64,
    pub virtual_time: Duration,
    pub events: u64,
    pub deaths: u64,
    pub faults: BTreeMap<Fault, u64>,
    /// What the faults did, as network, disks and states saw it.
    pub proofs: BTreeMap<&'static str, u64>,
    pub judged: Judgement,
    pub mishaps: Mishaps,
    /// How often the mutant had its way.
    pub strikes: u64,
    /// The newest lines of the trace.
    pub tail: Vec<String>,
}

impl Report {
    /// `Violation` also when something happened that no run may show.
    pub fn verdict(&self) -> Verdict {
        if self.mishaps.list.is_empty() { self.judged.verdict } else { Verdict::Violation }
    }

    /// Names of what was broken, each once.
    pub fn broken(&self) -> BTreeSet<String> {
        let mishaps = self.mishaps.list.iter().map(|mishap| mishap.kind.name().to_string());
        self.judged.broken.keys().map(Check::to_string).chain(mishaps).collect()
    }

    /// One line for each thing that is wrong, or unknown.
    pub fn complaints(&self) -> Vec<String> {
        let mishaps = self.mishaps.list.iter().map(|mishap| format!("violation: {mishap}"));
        let violations = self.judged.violations.iter().map(|each| format!("violation: {each}"));
        let unknown = self.judged.why_unknown.iter().map(|why| format!("unknown: {why}"));
        mishaps.chain(violations).chain(unknown).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {} hash {:016x}: {} events, {} deaths, {} trace lines, {} polls, {:.1} s",
            self.seed,
            self.hash,
            self.events,
            self.deaths,
            self.trace_lines,
            self.polls,
            self.virtual_time.as_secs_f32()
        )
    }
}

/// Runs `plan` from beginning to end.
///
/// Panics when the plan has a mutant and none is compiled in.
pub fn run(plan: &Plan, trace: TraceTo) -> Report {
    mutants::choose(plan.mutant);
    let mut runtime = SimRuntime::with_seed(plan.seed, trace);
    let sim = runtime.sim();
    sim.note(format_args!("{plan:?}"));
    let end = runtime.block_on(live(&sim, plan));
    let strikes = mutants::strikes();
    mutants::choose(None);
    let End { cluster, faults, mut mishaps, healed_ns, drained_ns } = end;
    no_accidents(&cluster, &mut mishaps);
    let history = cluster.record.take(rules(), healed_ns, drained_ns);
    let judged = judge(&history);
    let report = Report {
        seed: plan.seed,
        hash: sim.trace_hash(),
        trace_lines: sim.trace_lines(),
        polls: sim.polls(),
        virtual_time: sim.now(),
        events: history.operations.len() as u64,
        deaths: cluster.turnover().0,
        faults,
        proofs: proofs(&cluster),
        judged,
        mishaps,
        strikes,
        tail: sim.trace_tail(),
    };
    report.complaints().iter().for_each(|complaint| sim.note(format_args!("{complaint}")));
    Report { hash: sim.trace_hash(), trace_lines: sim.trace_lines(), ..report }
}

/// What a run leaves behind.
struct End {
    cluster: Cluster,
    faults: BTreeMap<Fault, u64>,
    mishaps: Mishaps,
    healed_ns: Option<u64>,
    drained_ns: Option<u64>,
}

async fn live(sim: &Sim, plan: &Plan) -> End {
    let mut rng = sim.fork_rng();
    let cluster = Cluster::new(sim, plan.settings.clone());
    let workload =
        Workload::new(sim, cluster.doors.clone(), cluster.record.clone(), plan.operations_max);
    sim.spawn(Life::HARNESS, cluster.clone().supervise());
    sim.spawn(Life::HARNESS, observe(cluster.clone()));
    let faults = BTreeMap::new();
    let (healed_ns, drained_ns) = (None, None);
    let mut end = End { cluster, faults, mishaps: Mishaps::default(), healed_ns, drained_ns };
    let mut set_up_rng = rng.fork();
    let set_up = workload.set_up(&mut set_up_rng);
    if SimRuntime::timeout(READY_WITHIN, Box::pin(set_up)).await.is_err() {
        end.mishaps.blame(Kind::Beyond, format!("not ready after {READY_WITHIN:?}"));
        return end;
    }
    for number in 0..plan.clients {
        let client = client::run(workload.clone(), number % TENANTS, rng.fork());
        sim.spawn(Life::HARNESS, client);
    }
    let until = sim.now() + plan.work;
    end.faults = faults::run(&end.cluster, &plan.kinds, &plan.skip, until, &mut rng).await;
    workload.stop();
    faults::heal(&end.cluster);
    let limit = sim.now() + DRAINED_WITHIN;
    // Faults that began just before the heal, and were to pass by themselves, are over then.
    sim.sleep(Duration::from_secs(16)).await;
    faults::heal(&end.cluster);
    end.mishaps.looked(Kind::Beyond, 1);
    if !membership::repair(&end.cluster, limit).await {
        end.mishaps.blame(Kind::Beyond, "harmed members are not replaced");
    }
    end.healed_ns = Some(sim.now().as_nanos() as u64);
    if plan.kinds.iter().any(|kind| kind.changes_members())
        && !membership::settle(&end.cluster, limit).await
    {
        end.mishaps.blame(Kind::Beyond, "the membership does not settle");
    }
    if workload::drain(&workload, &mut rng, limit).await {
        end.drained_ns = Some(sim.now().as_nanos() as u64);
    }
    same_everywhere(&end.cluster, end.drained_ns.is_some(), &mut end.mishaps).await;
    end
}

/// Proof that faults fired: counted where they struck.
fn proofs(cluster: &Cluster) -> BTreeMap<&'static str, u64> {
    let net = cluster.net.counters();
    let mut proofs = BTreeMap::from([
        ("connects", net.connects),
        ("connects failed", net.connects_failed),
        ("messages", net.messages),
        ("messages stalled", net.stalled),
        ("streams reset", net.resets),
        ("messages late", net.late),
        ("answers lost", cluster.doors.answers_lost()),
    ]);
    for node in cluster.nodes() {
        let (disk, state) = (cluster.disk(node).counters(), cluster.state(node).counters());
        for (name, count) in [
            ("syncs", disk.syncs),
            ("syncs failed", disk.failed_syncs),
            ("power lost in a call", disk.halfway),
            ("disk full", disk.full),
            ("reads failed", disk.failed_reads),
            ("bits flipped", disk.flips),
            ("snapshots rotten", state.rotten),
            ("checkpoints", state.checkpoints),
            ("snapshots installed", state.installs),
            ("snapshots resumed", state.resumed),
        ] {
            *proofs.entry(name).or_default() += count;
        }
    }
    proofs
}

/// Looks at every node's status, often.
async fn observe(cluster: Cluster) {
    let (mut since, mut polls) = (cluster.sim.now(), cluster.sim.polls());
    loop {
        let now = cluster.sim.now();
        if now >= since + Duration::from_secs(1) {
            cluster.record.polled(cluster.sim.polls() - polls);
            (since, polls) = (now, cluster.sim.polls());
        }
        for (door, status) in cluster.doors.statuses() {
            cluster.record.sighting(now.as_nanos() as u64, &door, &status);
        }
        cluster.sim.sleep(Duration::from_millis(25)).await;
    }
}

/// In the end all nodes have applied the same, and hold the same rows.
async fn same_everywhere(cluster: &Cluster, drained: bool, mishaps: &mut Mishaps) {
    let limit = cluster.sim.now() + Duration::from_secs(30);
    let nodes = cluster.nodes().len();
    loop {
        let statuses = cluster.doors.statuses();
        let applied: Vec<_> =
            statuses.iter().map(|(_, status)| (status.applied, status.chain)).collect();
        if applied.len() == nodes && applied.windows(2).all(|pair| pair[0] == pair[1]) {
            break;
        }
        if cluster.sim.now() > limit {
            let said: Vec<_> = statuses.iter().map(|(_, status)| status).collect();
            mishaps.blame(Kind::Beyond, format!("nodes do not converge: {said:?}"));
            return;
        }
        cluster.sim.sleep(Duration::from_millis(3)).await;
    }
    mishaps.looked(Kind::OtherRows, nodes as u64 - 1);
    let rows = |node| -> Vec<_> {
        let dump = cluster.state(node).map().dump();
        // Meta rows hold what each node remembers of its peers.
        dump.into_iter().filter(|(table, _, _)| *table != Table::Meta).collect()
    };
    let first = rows(cluster.nodes()[0]);
    for node in &cluster.nodes()[1..] {
        let other = rows(*node);
        if first != other {
            let differ = first.iter().find(|row| !other.contains(row));
            let differ = differ.or_else(|| other.iter().find(|row| !first.contains(row)));
            let text = format!("nodes 1 and {node} hold other rows: {differ:?}");
            mishaps.blame(Kind::OtherRows, text);
        }
    }
    let bodies = first.iter().filter(|(table, _, _)| *table == Table::Body).count();
    if drained && bodies > 0 {
        mishaps.blame(Kind::OtherRows, format!("{bodies} bodies are left in empty queues"));
    }
}

/// Nothing panicked or ran in a circle, no process ended but for a fault that was injected, and
/// every entry brought about the same wherever it was applied.
fn no_accidents(cluster: &Cluster, mishaps: &mut Mishaps) {
    for panic in cluster.sim.panics() {
        mishaps.blame(Kind::Panic, format!("node {}: {}", panic.node, panic.message));
    }
    for accident in cluster.accidents().into_iter().filter(|accident| !accident.expected) {
        mishaps.blame(Kind::Accident, format!("node {}: {}", accident.node, accident.text));
    }
    let (compared, conflicts) = cluster.record.conflicts();
    mishaps.looked(Kind::OtherOutcome, compared);
    conflicts.into_iter().for_each(|text| mishaps.blame(Kind::OtherOutcome, text));
    let busiest = cluster.record.busiest();
    mishaps.looked(Kind::Circle, 1);
    if busiest > POLLS_PER_SECOND_MAX {
        let text = format!("tasks ran {busiest} times in a second of virtual time");
        mishaps.blame(Kind::Circle, text);
    }
}
