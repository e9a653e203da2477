//! The machines of a cluster: started, killed, restarted.
//!
//! Not here: what one process is made of (`node.rs`), when faults happen (`faults.rs`).
//! Invariants: a machine has at most one life at a time; its disk and state directory meet the
//!   crash before any task of the next life runs; a boot count is never used twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bessemer_log::memory_disk::MemoryDisk;
use bessemer_model::{BootCount, DataId, NodeId};

use crate::doors::Doors;
use crate::node;
use crate::record::Record;
use crate::runtime::{Clock, Life, Sim};
use crate::seed::Rng;
use crate::world::disk::Disk;
use crate::world::net::{Farewell, Link, SimNet};
use crate::world::state::{StateCopy, StateDirectory};

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// The process alone: what it wrote stays in the machine's memory.
    Process,
    /// The machine loses power: what was not synced is lost.
    Power,
}

/// What is done to the disks of a machine that is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Harm {
    /// A few bits of the log turn over.
    Flip,
    /// Everything is gone, and the node starts on new, empty disks.
    Wipe,
    /// A copy from earlier takes the place of what was there.
    OldCopy,
}

/// How a cluster is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub nodes: u64,
    pub link: Link,
    /// Room for the log of each node.
    pub disk_bytes: u64,
    /// Size of a segment of the log: small, so that runs fill many.
    pub segment_bytes: u64,
    /// A snapshot is taken after this much log.
    pub snapshot_every_bytes: u64,
    /// Log kept for followers that lag, at most, and at least.
    pub log_bytes_max: u64,
    pub log_bytes_keep: u64,
    /// Drift and wall offset of each machine's clock, drawn up to these.
    pub drift_ppm_max: i64,
    pub wall_off_ms_max: i64,
}

struct Machine {
    /// Taken out of service for good.
    retired: bool,
    /// Its disks do not hold what they should: it may refuse to start, and others may refuse it.
    damaged: bool,
    /// Name of its data directory.
    data: DataId,
    /// A copy of its disks from earlier.
    copy: Option<Copy>,
    /// What happens to its disks before it starts again.
    harm: Option<Harm>,
    harms: u64,
    disk: Disk,
    state: StateDirectory,
    clock: Clock,
    boot: u64,
    life: Option<Life>,
    /// How the present life is to end when somebody ends it on purpose.
    death: Death,
    /// Not started again before this time; never while `None` and alive.
    down_until: Option<Duration>,
}

/// A machine's disks as they were at some moment.
struct Copy {
    disk: MemoryDisk,
    state: StateCopy,
    boot: u64,
}

struct State {
    rng: Rng,
    machines: BTreeMap<NodeId, Machine>,
    /// Lives that ended for a reason of their own, in order.
    accidents: Vec<Accident>,
    deaths: u64,
    starts: u64,
}

/// A process that ended by itself: it met an error it cannot go on after, or refused to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accident {
    pub node: NodeId,
    pub text: String,
    /// An injected fault explains it.
    pub expected: bool,
}

impl Machine {
    /// Does `harm` to the disks of a machine that is off.
    fn suffer(&mut self, harm: Harm, rng: &mut Rng) {
        self.harms += 1;
        match harm {
            Harm::Flip => {
                for _ in 0..rng.between(1, 4) {
                    self.disk.flip();
                }
            }
            Harm::Wipe => {
                self.disk.restore(&MemoryDisk::new(rng.draw()));
                self.state.restore(&StateCopy::default());
                self.data = DataId(rng.draw() | 1);
                self.boot = 0;
            }
            Harm::OldCopy => {
                let copy = self.copy.take().expect("a machine without a copy is not harmed so");
                self.disk.restore(&copy.disk);
                self.state.restore(&copy.state);
                self.boot = copy.boot;
            }
        }
    }
}

/// A machine that was never on.
fn machine(sim: &Sim, settings: &Settings, node: NodeId, rng: &mut Rng) -> Machine {
    let drift = settings.drift_ppm_max.unsigned_abs();
    let wall = settings.wall_off_ms_max.unsigned_abs();
    Machine {
        retired: false,
        damaged: false,
        data: DataId(rng.draw() | 1),
        copy: None,
        harm: None,
        harms: 0,
        disk: Disk::new(sim, node, settings.disk_bytes),
        state: StateDirectory::new(sim),
        clock: Clock::new(
            rng.below(1_000_000),
            rng.between(0, 2 * drift) as i64 - drift as i64,
            rng.between(0, 2 * wall) as i64 - wall as i64,
        ),
        boot: 0,
        life: None,
        death: Death::Power,
        down_until: Some(sim.now()),
    }
}

/// A whole cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub sim: Sim,
    pub net: SimNet,
    pub doors: Doors,
    pub record: Record,
    pub settings: Arc<Settings>,
    state: Arc<Mutex<State>>,
}

impl Cluster {
    /// Makes the machines; none is on yet.
    pub fn new(sim: &Sim, settings: Settings) -> Cluster {
        let mut rng = sim.fork_rng();
        let nodes: Vec<NodeId> = (1..=settings.nodes).map(NodeId).collect();
        let machines = nodes.iter().map(|node| (*node, machine(sim, &settings, *node, &mut rng)));
        let machines = machines.collect();
        let state = State { rng, machines, accidents: Vec::new(), deaths: 0, starts: 0 };
        Cluster {
            sim: sim.clone(),
            net: SimNet::new(sim, settings.link),
            doors: Doors::new(sim, nodes),
            record: Record::default(),
            settings: Arc::new(settings),
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes in service, in ascending order.
    pub fn nodes(&self) -> Vec<NodeId> {
        let state = self.lock();
        let serving = state.machines.iter().filter(|(_, machine)| !machine.retired);
        serving.map(|(node, _)| *node).collect()
    }

    /// Puts a new machine into service under an id that was never used; it starts soon.
    pub fn add(&self) -> NodeId {
        let node = {
            let mut state = self.lock();
            let newest = state.machines.keys().next_back().map_or(0, |node| node.0);
            let node = NodeId(newest + 1);
            let added = machine(&self.sim, &self.settings, node, &mut state.rng);
            state.machines.insert(node, added);
            node
        };
        self.sim.note(format_args!("add {node}"));
        self.doors.set_nodes(self.nodes());
        node
    }

    /// Takes a machine out of service for good.
    pub fn retire(&self, node: NodeId) {
        self.sim.note(format_args!("retire {node}"));
        if let Some(machine) = self.lock().machines.get_mut(&node) {
            machine.retired = true;
        }
        self.doors.set_nodes(self.nodes());
        self.kill(node, Death::Power, Duration::ZERO);
    }

    /// Nodes in service whose disks do not hold what they should.
    pub fn damaged(&self) -> Vec<NodeId> {
        let state = self.lock();
        let damaged = |machine: &&Machine| machine.damaged && !machine.retired;
        let machines = state.machines.iter().filter(|(_, machine)| damaged(machine));
        machines.map(|(node, _)| *node).collect()
    }

    /// Takes a copy of what is durable on the disks of `node`.
    pub fn take_copy(&self, node: NodeId) {
        self.sim.note(format_args!("copy {node}"));
        if let Some(machine) = self.lock().machines.get_mut(&node) {
            let (disk, state) = (machine.disk.copy(), machine.state.copy());
            machine.copy = Some(Copy { disk, state, boot: machine.boot });
        }
    }

    /// Ends the process of `node` and does `harm` to its disks before it starts again, after
    /// `down`. Nothing happens when so many are damaged that no majority would be left, or when
    /// there is no copy to go back to.
    pub fn harm(&self, node: NodeId, harm: Harm, down: Duration) {
        let damaged = self.damaged();
        let voters = self.doors.nodes().len().min(self.settings.nodes as usize);
        if !damaged.contains(&node) && damaged.len() >= (voters - 1) / 2 {
            return;
        }
        {
            let mut state = self.lock();
            let Some(machine) = state.machines.get_mut(&node) else { return };
            if harm == Harm::OldCopy && machine.copy.is_none() {
                return;
            }
            machine.damaged = true;
            machine.harm = Some(harm);
        }
        self.kill(node, Death::Power, down);
    }

    /// The present life of `node`.
    pub fn life(&self, node: NodeId) -> Option<Life> {
        let life = self.lock().machines.get(&node).and_then(|machine| machine.life);
        life.filter(|life| self.sim.is_alive(*life))
    }

    pub fn disk(&self, node: NodeId) -> Disk {
        self.lock().machines[&node].disk.clone()
    }

    pub fn state(&self, node: NodeId) -> StateDirectory {
        self.lock().machines[&node].state.clone()
    }

    pub fn accidents(&self) -> Vec<Accident> {
        self.lock().accidents.clone()
    }

    /// Ends of processes and starts so far.
    pub fn turnover(&self) -> (u64, u64) {
        let state = self.lock();
        (state.deaths, state.starts)
    }

    /// Ends the process of `node`; it starts again after `down`.
    pub fn kill(&self, node: NodeId, death: Death, down: Duration) {
        let now = self.sim.now();
        let life = {
            let mut state = self.lock();
            let Some(machine) = state.machines.get_mut(&node) else { return };
            machine.death = death;
            machine.down_until = Some(now + down);
            machine.life
        };
        if let Some(life) = life {
            self.sim.note(format_args!("kill {node} {death:?} for {down:?}"));
            self.sim.kill(life);
        }
    }

    /// Lets every machine that is down start at the next look of `supervise`.
    pub fn start_all_soon(&self) {
        let now = self.sim.now();
        for machine in self.lock().machines.values_mut().filter(|machine| machine.life.is_none()) {
            machine.down_until = Some(now);
        }
    }

    /// Starts machines whose time has come, for as long as it is polled.
    pub async fn supervise(self) {
        loop {
            let now = self.sim.now();
            let due: Vec<NodeId> = {
                let state = self.lock();
                let down = state
                    .machines
                    .iter()
                    .filter(|(_, machine)| machine.life.is_none() && !machine.retired);
                down.filter(|(_, machine)| machine.down_until.is_none_or(|until| until <= now))
                    .map(|(node, _)| *node)
                    .collect()
            };
            for node in due {
                self.start(node);
            }
            self.sim.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Begins a life of `node`.
    fn start(&self, node: NodeId) {
        let (life, boot, harms, data, disk, state_directory) = {
            let mut state = self.lock();
            let State { machines, rng, .. } = &mut *state;
            let machine = machines.get_mut(&node).expect("only machines are started");
            if let Some(harm) = machine.harm.take() {
                self.sim.note(format_args!("harm {node} {harm:?}"));
                machine.suffer(harm, rng);
            }
            let life = self.sim.begin_life(node, machine.clock.clone());
            machine.life = Some(life);
            machine.boot += 1;
            machine.down_until = None;
            machine.death = Death::Power;
            let (boot, harms, data) = (BootCount(machine.boot), machine.harms, machine.data);
            let (disk, directory) = (machine.disk.clone(), machine.state.clone());
            state.starts += 1;
            (life, boot, harms, data, disk, directory)
        };
        self.sim.note(format_args!("start {node} boot {boot}"));
        let mourner = self.clone();
        self.sim.on_death(life, move || mourner.mourn(node, life));
        let net = self.net.open(node, life);
        let world = node::SimWorld::new(&self.sim, net, node, life, self.record.clone());
        let process = node::Process {
            world,
            life,
            node,
            boot,
            harms,
            data,
            disk: disk.open_for(life),
            state: state_directory.open_for(life),
            doors: self.doors.clone(),
            settings: self.settings.clone(),
            members: (node.0 <= self.settings.nodes).then(|| {
                (1..=self.settings.nodes).map(|node| node::member(NodeId(node))).collect()
            }),
        };
        let cluster = self.clone();
        self.sim.spawn(life, async move {
            let end = process.run().await;
            cluster.end_by_itself(node, life, end);
        });
    }

    /// A process ended by itself: it was asked to, or met an error it cannot go on after.
    fn end_by_itself(&self, node: NodeId, life: Life, end: Result<(), String>) {
        if !self.sim.is_alive(life) {
            // The power failed under it, and the error was its last word.
            return;
        }
        let expected = self.disk(node).failed_on_purpose() || self.damaged().contains(&node);
        self.sim.note(format_args!("node {node} ends: {end:?}"));
        {
            let mut state = self.lock();
            if let Some(machine) = state.machines.get_mut(&node) {
                machine.death = Death::Process;
            }
            if let Err(text) = end {
                state.accidents.push(Accident { node, text, expected });
            }
        }
        self.sim.kill(life);
    }

    /// What the world sees of a death: first the seams, then the disks.
    fn mourn(&self, node: NodeId, life: Life) {
        self.doors.close(node);
        let now = self.sim.now();
        let (death, reset, disk, directory) = {
            let mut state = self.lock();
            state.deaths += 1;
            let reset = state.rng.chance(500_000);
            let pause_ms = state.rng.between(100, 2_000);
            let Some(machine) = state.machines.get_mut(&node) else { return };
            assert!(machine.life == Some(life), "a machine has one life at a time");
            machine.life = None;
            machine.down_until.get_or_insert(now + Duration::from_millis(pause_ms));
            (machine.death, reset, machine.disk.clone(), machine.state.clone())
        };
        // Only a machine that stays on can say good-bye for its process.
        let farewell = match death {
            Death::Process => Farewell::Reset,
            Death::Power if reset => Farewell::Reset,
            Death::Power => Farewell::Silence,
        };
        self.net.close(node, farewell);
        match death {
            Death::Process => disk.kill(),
            Death::Power => disk.cut_power(),
        }
        directory.crash();
        self.sim.note(format_args!("dead {node} {death:?} {farewell:?}"));
    }
}
