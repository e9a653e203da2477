//! The log's disk of one machine: the log's own faulty disk in memory, tied to a life.
//!
//! Not here: what a crash keeps (`bessemer_log::memory_disk`), how long a call takes (the
//! runtime's blocking time).
//! Invariants: a life that is over can neither read nor write; a disk whose power fails takes its
//!   life along.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bessemer_log::memory_disk::{MemoryDisk, MemoryFile};
use bessemer_model::NodeId;
use bessemer_seam::log_disk::{LogDisk, LogFile};
use bessemer_seam::mutants::{self, Mutant};

use crate::runtime::{Life, Sim};
use crate::seed::Rng;

/// More calls than any run makes.
const NEVER: u64 = 1 << 40;

struct State {
    rng: Rng,
    /// The operation at which the power fails, while that is planned.
    power_fails_at: Option<u64>,
    /// The device was told to fail in the present life.
    failed_on_purpose: bool,
    /// Chance that a read fails, in a million.
    read_fails_per_million: u32,
    counters: DiskCounters,
}

/// What happened to the disk, so that a run can show that its faults fired.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskCounters {
    pub syncs: u64,
    pub failed_syncs: u64,
    pub failed_reads: u64,
    /// Bits that turned over.
    pub flips: u64,
    /// Calls in the middle of which the power failed.
    pub halfway: u64,
    /// Calls that were refused for want of room, or told that there is none.
    pub full: u64,
}

/// One machine's disk. It outlives the lives of its node.
#[derive(Clone)]
pub struct Disk {
    sim: Sim,
    node: NodeId,
    memory: MemoryDisk,
    state: Arc<Mutex<State>>,
}

impl Disk {
    pub fn new(sim: &Sim, node: NodeId, capacity_bytes: u64) -> Disk {
        let mut rng = sim.fork_rng();
        let memory = MemoryDisk::new(rng.draw());
        memory.set_capacity_bytes(capacity_bytes);
        let state = State {
            rng,
            power_fails_at: None,
            failed_on_purpose: false,
            read_fails_per_million: 0,
            counters: DiskCounters::default(),
        };
        Disk { sim: sim.clone(), node, memory, state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk as the process of `life` sees it.
    pub fn open_for(&self, life: Life) -> SimDisk {
        SimDisk { disk: self.clone(), life }
    }

    /// Takes the power away: what was not synced is lost, whole or in part.
    pub fn cut_power(&self) {
        self.forget_faults();
        self.memory.crash();
    }

    /// Ends the process: what was written stays, though it is not durable yet.
    pub fn kill(&self) {
        self.forget_faults();
        self.memory.kill();
    }

    /// Every fault but a full device ends with the process it was meant for.
    fn forget_faults(&self) {
        let mut state = self.lock();
        state.power_fails_at = None;
        state.failed_on_purpose = false;
        state.read_fails_per_million = 0;
    }

    /// Lets the power fail in the middle of the `calls`-th call from now (0: the next).
    pub fn power_fails_after(&self, calls: u64) {
        self.lock().power_fails_at = Some(self.memory.operations() + calls);
        self.memory.power_fails_after(calls);
    }

    /// Takes back a planned power failure. What has failed, has failed.
    pub fn works_again(&self) {
        if self.lock().power_fails_at.take().is_some() {
            self.memory.power_fails_after(NEVER);
        }
    }

    /// A process that ends now has a reason.
    pub fn failed_on_purpose(&self) -> bool {
        self.lock().failed_on_purpose
    }

    /// Lets every sync fail, until the process ends.
    pub fn fail_syncs(&self) {
        self.lock().failed_on_purpose = true;
        self.memory.fail_syncs();
    }

    /// Lets some reads fail, until the process ends.
    pub fn fail_reads(&self, per_million: u32) {
        let mut state = self.lock();
        state.failed_on_purpose = true;
        state.read_fails_per_million = per_million;
    }

    /// Flips one bit of something that was written. False on a disk where nothing was.
    pub fn flip(&self) -> bool {
        let Some((name, offset)) = self.memory.flip_somewhere() else { return false };
        self.sim.note(format_args!("disk {} flips a bit of {name} at {offset}", self.node));
        self.lock().counters.flips += 1;
        true
    }

    /// What a copy of the disk, taken now, would hold: what was synced.
    pub fn copy(&self) -> MemoryDisk {
        let copy = self.memory.fork();
        copy.crash();
        copy
    }

    /// Puts a copy in the place of what the disk holds. The machine is off.
    pub fn restore(&self, copy: &MemoryDisk) {
        self.memory.become_copy_of(copy);
    }

    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.memory.set_capacity_bytes(bytes);
    }

    pub fn counters(&self) -> DiskCounters {
        self.lock().counters
    }
}

/// A machine's disk in one life.
#[derive(Clone)]
pub struct SimDisk {
    disk: Disk,
    life: Life,
}

impl SimDisk {
    /// One call: refused when the life is over, and its last when the power fails.
    fn call<T>(&self, call: impl FnOnce(&MemoryDisk) -> io::Result<T>) -> io::Result<T> {
        if !self.disk.sim.is_alive(self.life) {
            return Err(io::Error::other("the machine is off"));
        }
        let result = call(&self.disk.memory);
        let mut state = self.disk.lock();
        let full = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
        state.counters.full += u64::from(full);
        if state.power_fails_at.is_some_and(|at| self.disk.memory.operations() > at) {
            state.power_fails_at = None;
            state.counters.halfway += 1;
            self.disk.sim.note(format_args!("disk {} lost power in a call", self.disk.node));
            self.disk.sim.kill(self.life);
        }
        result
    }
}

impl LogDisk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.call(MemoryDisk::list)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<SimFile> {
        let file = self.call(|memory| memory.create(name, bytes))?;
        Ok(SimFile { disk: self.clone(), file })
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let file = self.call(|memory| memory.open(name))?;
        Ok(SimFile { disk: self.clone(), file })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(|memory| memory.remove(name))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let free_bytes = self.call(MemoryDisk::free_bytes)?;
        self.disk.lock().counters.full += u64::from(free_bytes == 0);
        Ok(free_bytes)
    }
}

pub struct SimFile {
    disk: SimDisk,
    file: MemoryFile,
}

impl LogFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        self.disk.call(|_| self.file.bytes())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.call(|_| self.file.write_at(offset, data))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let fails = {
            let mut state = self.disk.disk.lock();
            let per_million = state.read_fails_per_million;
            let fails = per_million > 0 && state.rng.chance(per_million);
            state.counters.failed_reads += u64::from(fails);
            fails
        };
        if fails {
            return self.disk.call(|_| Err(io::Error::other("the device cannot read this")));
        }
        self.disk.call(|_| self.file.read_at(offset, into))
    }

    fn sync(&self) -> io::Result<()> {
        let lies = {
            let mut state = self.disk.disk.lock();
            state.counters.syncs += 1;
            mutants::on(Mutant::SyncBeforeDurable) && state.rng.chance(900_000)
        };
        if lies {
            return self.disk.call(|_| Ok(()));
        }
        let result = self.disk.call(|_| self.file.sync());
        self.disk.disk.lock().counters.failed_syncs += u64::from(result.is_err());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Clock, SimRuntime};
    use crate::trace::TraceTo;

    fn disk(seed: u64) -> (Sim, Disk) {
        let sim = SimRuntime::with_seed(seed, TraceTo::Hash).sim();
        let disk = Disk::new(&sim, NodeId(1), 4096);
        (sim, disk)
    }

    /// Whether eight synced bytes survive a power cut.
    fn synced_bytes_survive(seed: u64) -> bool {
        let (sim, disk) = disk(seed);
        let first = disk.open_for(sim.begin_life(NodeId(1), Clock::exact()));
        let file = first.create("a", 64).unwrap();
        file.write_at(0, &[1; 8]).unwrap();
        file.sync().unwrap();
        disk.cut_power();
        let mut into = [0; 8];
        first.open("a").unwrap().read_at(0, &mut into).unwrap();
        into == [1; 8]
    }

    #[test]
    fn synced_bytes_survive_unless_the_disk_lies() {
        assert!((0..32).all(synced_bytes_survive));
        if mutants::COMPILED {
            mutants::choose(Some(Mutant::SyncBeforeDurable));
            assert!(!(0..32).all(synced_bytes_survive));
            mutants::choose(None);
        }
    }

    #[test]
    fn a_dead_life_writes_nothing_and_a_power_failure_ends_one() {
        let (sim, disk) = disk(1);
        let life = sim.begin_life(NodeId(1), Clock::exact());
        let old = disk.open_for(life);
        let file = old.create("a", 64).unwrap();
        disk.power_fails_after(1);
        file.write_at(0, &[1]).unwrap();
        assert!(sim.is_alive(life));
        assert!(file.sync().is_err());
        assert!(!sim.is_alive(life) && old.list().is_err());
        disk.cut_power();
        let new = disk.open_for(sim.begin_life(NodeId(1), Clock::exact()));
        assert_eq!((new.list().unwrap().len(), disk.counters().halfway), (1, 1));
    }

    #[test]
    fn a_full_disk_refuses_and_leaves_nothing_behind() {
        let (sim, disk) = disk(1);
        let sim_disk = disk.open_for(sim.begin_life(NodeId(1), Clock::exact()));
        sim_disk.create("a", 4000).unwrap();
        let error = sim_disk.create("b", 100).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!((sim_disk.list().unwrap().len(), disk.counters().full), (1, 1));
    }
}
