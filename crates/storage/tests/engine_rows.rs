//! The engine on RocksDB against the engine on the map in memory: random entries give the same
//! answers and the same rows, across flushes, compactions, restarts, crashes and installs.

mod still;

use std::collections::BTreeMap;

use bessemer_engine::{Engine, PartResult, Told, encode_batch, encode_part};
use bessemer_model::{
    BootCount, Command, DeadLetterPatch, GroupId, Handle, LaneSeq, LogIndex, MessageId, Millis,
    NewMessage, NodeId, OrderingKey, Outcome, ProjectId, QueueName, QueuePatch, Quota, Request,
    ReservationId, RetryKey,
};
use bessemer_seam::kv::{Kv, KvRead, Table};
use bessemer_seam::kv_memory::MemoryKv;
use bessemer_seam::kv_suite;
use bessemer_seam::state_store::{Checkpoint, Staging, StateStore};
use bessemer_storage::{RocksKv, RocksStore, StorageOptions};
use tempfile::TempDir;

use still::copy_still;

const ME: NodeId = NodeId(1);
const GROUP: GroupId = GroupId(0);
const ENTRIES: u64 = 3_000;
const QUEUES: [&str; 4] = ["a", "b", "c", "dead"];
const HELD_MAX: usize = 200;

/// Memtables so small that flushes and compactions happen under the test.
fn small() -> StorageOptions {
    StorageOptions {
        block_cache_bytes: 256 << 10,
        memtable_bytes_total: 256 << 10,
        file_bytes: 64 << 10,
        background_jobs: 2,
        open_files_max: 64,
    }
}

/// Xorshift64*: the same numbers for the same seed everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// Makes entries, and remembers what was reserved so that it can be named again.
struct Entries {
    chance: Chance,
    now: Millis,
    held: Vec<(QueueName, MessageId, ReservationId)>,
    /// How often each kind of outcome was heard.
    heard: BTreeMap<&'static str, u64>,
}

impl Entries {
    fn new(seed: u64) -> Entries {
        let heard = BTreeMap::new();
        Entries { chance: Chance(seed), now: Millis(0), held: Vec::new(), heard }
    }

    /// Entry number `index`, with the queue of each of its requests.
    fn next(&mut self, index: u64) -> (Vec<u8>, Vec<QueueName>) {
        self.now.0 += if self.chance.one_in(300) { 600_000 } else { self.chance.below(700) };
        let (mut requests, mut queues) = (Vec::new(), Vec::new());
        if index == 1 {
            let init = Command::InitGroup { cluster_version: 1, secret: [7; 32] };
            let create = Command::CreateProject { name: "p".into(), quota: Quota::default() };
            for (project, command) in [("", init), ("p", create)] {
                requests.push(Request { project: ProjectId::new(project), retry: None, command });
                queues.push(QueueName::new(""));
            }
        } else {
            for _ in 0..=self.chance.below(4) {
                let queue = QueueName::new(QUEUES[self.chance.below(4) as usize]);
                let command = self.command(queue.clone());
                let retry = self.chance.one_in(20).then(|| RetryKey {
                    key: format!("key{}", self.chance.below(40)).into(),
                    request_hash: [0; 16],
                });
                requests.push(Request { project: ProjectId::new("p"), retry, command });
                queues.push(queue);
            }
        }
        let lane = LaneSeq { node: ME, boot: BootCount(1), seq: index };
        (encode_batch(self.now, &[encode_part(Some(lane), &requests)]), queues)
    }

    fn command(&mut self, queue: QueueName) -> Command {
        let choice = self.chance.below(200);
        if (80..150).contains(&choice) && !self.held.is_empty() {
            let place = self.chance.below(self.held.len() as u64) as usize;
            let (queue, message, reservation) = self.held.swap_remove(place);
            return match choice {
                80..=119 => {
                    let handle = Handle { message, reservation: Some(reservation) };
                    Command::AckMessage { queue, handle }
                }
                120..=134 => {
                    let delay = Millis([0, 900][self.chance.below(2) as usize]);
                    Command::ReleaseMessage { queue, message, reservation, delay }
                }
                _ => Command::TouchMessage { queue, message, reservation, timeout: None },
            };
        }
        match choice {
            0..=59 => {
                let count = 1 + self.chance.below(4);
                Command::PostMessages { queue, messages: (0..count).map(|_| self.post()).collect() }
            }
            190..=196 => Command::PutQueue { queue, patch: self.patch() },
            197 => Command::ClearQueue { queue },
            198 if self.chance.one_in(3) => Command::DeleteQueue { queue },
            198 | 199 => Command::Sweep,
            _ => Command::ReserveMessages {
                queue,
                count: 1 + self.chance.below(4) as u32,
                timeout: Some(Millis(1_000 + self.chance.below(20_000))),
                delete: self.chance.one_in(4),
            },
        }
    }

    fn post(&mut self) -> NewMessage {
        let length = [0, 10, 300, 3_000][self.chance.below(4) as usize];
        NewMessage {
            body: (0..length).map(|_| self.chance.below(256) as u8).collect(),
            delay: Millis(if self.chance.one_in(5) { 2_000 } else { 0 }),
            expiration: self.chance.one_in(4).then_some(Millis(30_000)),
            ordering_key: self.chance.one_in(4).then(|| OrderingKey::new("k")),
        }
    }

    fn patch(&mut self) -> QueuePatch {
        let dead_letter = DeadLetterPatch::Set {
            queue: Some(QueueName::new("dead")),
            max_reservations: Some(1 + self.chance.below(3) as u32),
        };
        QueuePatch {
            message_timeout: Some(Millis(1_000 + self.chance.below(9_000))),
            message_expiration: None,
            dead_letter: self.chance.one_in(2).then_some(dead_letter),
        }
    }

    fn hear(&mut self, told: &Told, queues: &[QueueName]) {
        let PartResult::Fresh(results) = &told.parts[0].result else { panic!("{told:?}") };
        for (result, queue) in results.iter().zip(queues) {
            let kind = match result {
                Err(_) => "rejected",
                Ok(Outcome::Posted { .. }) => "posted",
                Ok(Outcome::Reserved { messages }) => {
                    let held = messages.iter().map(|one| (queue.clone(), one.id, one.reservation));
                    self.held.extend(held);
                    if messages.is_empty() { "nothing" } else { "reserved" }
                }
                Ok(Outcome::Deleted { .. }) => "acked",
                Ok(Outcome::Released) => "released",
                Ok(Outcome::Touched { .. }) => "touched",
                Ok(Outcome::Cleared | Outcome::QueueDeleted) => "emptied",
                Ok(_) => "other",
            };
            *self.heard.entry(kind).or_default() += 1;
        }
        self.held.drain(..self.held.len().saturating_sub(HELD_MAX));
    }
}

type Pairs = Vec<(Table, Vec<u8>, Vec<u8>)>;

fn dump(kv: &dyn KvRead) -> Pairs {
    let mut pairs = Vec::new();
    for table in Table::ALL {
        let rows = kv_suite::collect(kv, table, b"", &[0xff; 64]);
        pairs.extend(rows.into_iter().map(|(key, value)| (table, key, value)));
    }
    pairs
}

/// The engine on RocksDB, and what may happen to the machine it runs on.
///
/// Fields are dropped in order: the map is closed before its directory goes.
struct Machine {
    engine: Engine<RocksKv>,
    store: RocksStore,
    dir: TempDir,
}

impl Machine {
    fn start(dir: TempDir) -> Machine {
        let store = RocksStore::open(dir.path(), small()).unwrap();
        let engine = Engine::open(store.open().unwrap(), GROUP, ME, BootCount(1)).unwrap();
        Machine { engine, store, dir }
    }

    fn restart(self) -> Machine {
        let Machine { engine, store, dir } = self;
        drop((engine, store));
        Machine::start(dir)
    }

    /// Another machine with the files of this one as they are now.
    fn crash(self) -> Machine {
        let copy = tempfile::tempdir().unwrap();
        copy_still(self.dir.path(), copy.path());
        Machine::start(copy)
    }

    /// This machine's checkpoint, installed on a new one.
    fn moved(self, label: &str) -> Machine {
        let checkpoint = self.store.checkpoint(self.engine.kv(), label).unwrap();
        let other = tempfile::tempdir().unwrap();
        let store = RocksStore::open(other.path(), small()).unwrap();
        let mut staging = store.stage(label, checkpoint.files()).unwrap();
        for file in checkpoint.files() {
            let mut content = vec![0; file.bytes as usize];
            checkpoint.read_at(&file.name, 0, &mut content).unwrap();
            staging.write(&file.name, 0, &content).unwrap();
        }
        let engine =
            Engine::open(store.install(staging, &|_| Ok(())).unwrap(), GROUP, ME, BootCount(1))
                .unwrap();
        Machine { engine, store, dir: other }
    }

    /// Applies again what the files do not hold, as the log would.
    fn replay(&mut self, log: &[Vec<u8>], wanted: &[Told]) -> u64 {
        let from = self.engine.applied().index.0;
        for index in from + 1..=log.len() as u64 {
            let told = self.engine.apply(LogIndex(index), &log[index as usize - 1]).unwrap();
            assert_eq!(told, wanted[index as usize - 1], "entry {index}, applied again");
        }
        self.engine.commit(&[]).unwrap();
        log.len() as u64 - from
    }
}

fn run(seed: u64) {
    let memory = MemoryKv::new();
    let mut reference = Engine::open(memory.clone(), GROUP, ME, BootCount(1)).unwrap();
    let mut machine = Machine::start(tempfile::tempdir().unwrap());
    let mut entries = Entries::new(seed);
    let mut events = Chance(seed ^ 0xdead_beef);
    let (mut log, mut wanted) = (Vec::new(), Vec::new());
    let (mut crashes, mut replayed) = (0, 0);
    for index in 1..=ENTRIES {
        let (entry, queues) = entries.next(index);
        let told = reference.apply(LogIndex(index), &entry).unwrap();
        entries.hear(&told, &queues);
        let ours = machine.engine.apply(LogIndex(index), &entry).unwrap();
        assert_eq!(ours, told, "entry {index}, seed {seed}");
        log.push(entry);
        wanted.push(told);
        if events.one_in(3) {
            machine.engine.commit(&[]).unwrap();
        }
        match events.below(400) {
            0 | 1 => machine.engine.kv().flush().unwrap(),
            2 => {
                machine = machine.restart();
                machine.replay(&log, &wanted);
            }
            3 | 4 => {
                machine = machine.crash();
                replayed += machine.replay(&log, &wanted);
                crashes += 1;
            }
            5 => {
                machine = machine.moved(&format!("i{index}"));
                machine.replay(&log, &wanted);
            }
            6 => machine.engine.clear_caches(),
            _ => {}
        }
        if events.one_in(500) {
            compare(&mut machine, &mut reference, &memory, seed);
        }
    }
    compare(&mut machine, &mut reference, &memory, seed);
    assert!(crashes > 2 && replayed > 10, "{crashes} crashes lost {replayed} entries: too tame");
    for kind in ["posted", "reserved", "acked", "released", "touched", "emptied", "rejected"] {
        assert!(entries.heard.get(kind).is_some_and(|count| *count > 5), "{:?}", entries.heard);
    }
}

fn compare(machine: &mut Machine, reference: &mut Engine<MemoryKv>, memory: &MemoryKv, seed: u64) {
    machine.engine.commit(&[]).unwrap();
    reference.commit(&[]).unwrap();
    assert_eq!(machine.engine.applied(), reference.applied(), "seed {seed}");
    let (ours, theirs) = (dump(machine.engine.kv()), memory.dump());
    let differing = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
    assert_eq!((differing, ours.len()), (None, theirs.len()), "the rows differ, seed {seed}");
}

/// One history by default, ten with `BESSEMER_TESTS=full`.
#[test]
fn random_entries_give_the_same_rows_on_disk_and_in_memory() {
    let full = std::env::var_os("BESSEMER_TESTS").is_some_and(|size| size == "full");
    for seed in 1..=if full { 10 } else { 1 } {
        run(seed);
    }
}
