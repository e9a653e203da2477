//! An engine's life: opening, entries in order, commits, faults; and what reads give.

use std::io;
use std::ops::ControlFlow;

use bessemer_engine::{DecodeError, Engine, Fault, encode_batch, encode_part, read};
use bessemer_model::{
    BootCount, Command, GroupId, LogIndex, Millis, NodeId, Outcome, ProjectId, QueueName, Request,
    TokenId,
};
use bessemer_seam::kv::{Kv, KvRead, Table, Write, WriteBatch};
use bessemer_seam::kv_memory::{MemoryKv, MemoryView};

use crate::world::{BOOT, ME, World};

fn open(kv: &MemoryKv) -> Engine<MemoryKv> {
    Engine::open(kv.clone(), GroupId(0), ME, BOOT).unwrap()
}

fn tick(stamp: u64) -> Vec<u8> {
    let request = Request { project: ProjectId::new(""), retry: None, command: Command::Tick };
    encode_batch(Millis(stamp), &[encode_part(None, &[request])])
}

#[test]
fn the_chain_holds_every_batch_its_index_and_its_order() {
    let chain = |entries: &[(u64, u64)]| {
        let mut engine = open(&MemoryKv::new());
        for (index, stamp) in entries {
            engine.apply(LogIndex(*index), &tick(*stamp)).unwrap();
        }
        engine.applied().chain
    };
    let first = chain(&[(1, 5), (2, 6)]);
    assert_eq!(first, chain(&[(1, 5), (2, 6)]));
    for other in [&[(1, 4), (2, 6)][..], &[(2, 6)], &[(1, 5), (3, 6)], &[(1, 6), (2, 5)]] {
        assert_ne!(first, chain(other), "{other:?}");
    }
}

#[test]
fn skipped_entries_move_the_index_alone() {
    let kv = MemoryKv::new();
    let mut engine = open(&kv);
    engine.apply(LogIndex(1), &tick(9)).unwrap();
    let before = engine.applied();
    engine.skip(LogIndex(2));
    let after = engine.applied();
    assert_eq!((after.index, after.chain, after.log_time), (LogIndex(2), before.chain, Millis(9)));
    assert_eq!(open(&kv).applied().index, LogIndex(0), "nothing is written before the commit");
    engine.commit(&[("raft/vote", b"v".to_vec())]).unwrap();
    let again = open(&kv);
    assert_eq!(again.applied(), after);
    assert_eq!(again.meta("raft/vote").unwrap(), Some(b"v".to_vec()));
    assert_eq!(again.meta("raft/other").unwrap(), None);
}

#[test]
fn entries_out_of_order_are_a_fault() {
    let mut engine = open(&MemoryKv::new());
    engine.apply(LogIndex(3), &tick(1)).unwrap();
    let fault = engine.apply(LogIndex(3), &tick(1)).unwrap_err();
    assert!(matches!(fault, Fault::IndexNotAbove { index: LogIndex(3), .. }), "{fault}");
    assert!(engine.apply(LogIndex(4), &tick(1)).is_ok(), "it was refused before anything changed");
}

#[test]
fn an_entry_of_an_unknown_version_stops_the_engine() {
    let kv = MemoryKv::new();
    let mut engine = open(&kv);
    engine.apply(LogIndex(1), &tick(1)).unwrap();
    engine.commit(&[]).unwrap();
    let mut newer = tick(2);
    newer[0] = 2;
    let fault = engine.apply(LogIndex(2), &newer).unwrap_err();
    let unknown = DecodeError::UnknownVersion { what: "batch", version: 2 };
    assert!(matches!(fault, Fault::Decode(error) if error == unknown), "{fault}");
    assert!(matches!(engine.apply(LogIndex(3), &tick(3)), Err(Fault::Stopped)));
    assert!(matches!(engine.commit(&[]), Err(Fault::Stopped)));
    assert_eq!(open(&kv).applied().index, LogIndex(1));
}

#[test]
fn bodies_go_to_the_run_that_asked() {
    let mut world = World::new();
    world.say("post q a b");
    let seq = world.engine.lane(ME).unwrap().1 + 1;
    // Another run of the node applies what the one before had asked for.
    world.engine = Engine::open(world.engine.kv().clone(), GroupId(0), ME, BootCount(2)).unwrap();
    let old = world.say(&format!("lane 1 boot 1 seq {seq} reserve q 1"));
    assert_eq!(old, "m1 (gone) r1 x1");
    assert_eq!(world.say("lane 1 boot 2 seq 1 reserve q 1"), "m2 b r2 x1");
    assert_eq!(world.say("lane 2 boot 2 seq 1 reserve q 1"), "nothing");
}

/// The world's map with one value changed.
fn damaged(world: &World, key: &[u8], change: impl Fn(&mut Vec<u8>)) -> MemoryKv {
    let mut pairs = world.engine.kv().dump();
    let pair = pairs.iter_mut().find(|(_, at, _)| at.starts_with(key)).unwrap();
    change(&mut pair.2);
    MemoryKv::load(pairs)
}

#[test]
fn rows_of_an_unknown_version_are_a_fault() {
    let mut world = World::new();
    world.say("post q a");
    world.say("lane 2 boot 1 seq 1 tick");
    for key in ["P", "Q", "M"] {
        let kv = damaged(&world, key.as_bytes(), |value| value[0] = 9);
        let mut engine = open(&kv);
        let command = Command::ReserveMessages {
            queue: QueueName::new("q"),
            count: 1,
            timeout: None,
            delete: false,
        };
        let request = Request { project: ProjectId::new("p"), retry: None, command };
        let batch = encode_batch(Millis(0), &[encode_part(None, &[request])]);
        let index = LogIndex(engine.applied().index.0 + 1);
        let fault = engine.apply(index, &batch).unwrap_err();
        let version =
            matches!(fault, Fault::Decode(DecodeError::UnknownVersion { version: 9, .. }));
        assert!(version, "{key}: {fault}");
    }
    for key in ["L", "engine/core"] {
        let kv = damaged(&world, key.as_bytes(), |value| value[0] = 9);
        assert!(Engine::open(kv, GroupId(0), ME, BOOT).is_err(), "{key}");
    }
    // The cluster's version follows the row's.
    let kv = damaged(&world, b"engine/core", |value| value[1] = 2);
    let fault = Engine::open(kv, GroupId(0), NodeId(1), BOOT).err().unwrap();
    assert!(matches!(fault, Fault::UnknownVersion { cluster_version: 2 }), "{fault}");
}

#[test]
fn rows_that_contradict_each_other_are_a_fault() {
    let mut world = World::new();
    world.say("post q a");
    let pairs = world.engine.kv().dump();
    let without = |tag: u8| {
        let left = pairs.iter().filter(|(_, key, _)| key[0] != tag).cloned();
        World::over(MemoryKv::load(left))
    };
    for (tag, words) in [(b'M', "reserve q 1"), (b'T', "ack q m1"), (0x0d, "reserve q 1")] {
        let mut world = without(tag);
        world.messages = vec![bessemer_model::MessageId::new(GroupId(0), 1)];
        let fault = world.try_say(words).unwrap_err();
        assert!(matches!(fault, Fault::Corrupt { .. }), "{words}: {fault}");
    }
}

/// A map whose writes fail.
#[derive(Clone)]
struct Broken(MemoryKv);

impl KvRead for Broken {
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        self.0.scan(table, from, to, each)
    }
}

impl Kv for Broken {
    type View = MemoryView;

    fn view(&self) -> MemoryView {
        self.0.view()
    }

    fn write(&self, batch: WriteBatch) -> io::Result<()> {
        let wrote = batch.writes.iter().any(|write| matches!(write, Write::Put { .. }));
        assert!(wrote, "a commit writes the group's row at least");
        Err(io::Error::other("broken"))
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_failed_commit_stops_the_engine() {
    let mut engine = Engine::open(Broken(MemoryKv::new()), GroupId(0), ME, BOOT).unwrap();
    engine.apply(LogIndex(1), &tick(1)).unwrap();
    assert!(matches!(engine.commit(&[]), Err(Fault::Kv(_))));
    assert!(matches!(engine.commit(&[]), Err(Fault::Stopped)), "the rows are lost with it");
    assert!(matches!(engine.apply(LogIndex(2), &tick(1)), Err(Fault::Stopped)));
}

#[test]
fn the_leader_learns_what_to_propose() {
    let mut world = World::empty();
    assert!(!world.engine.initialized());
    world.say("init");
    world.say("project");
    assert!(world.engine.initialized());
    assert_eq!(world.engine.next_due(), None);
    world.say("at 0 post q a+5s b~1h");
    assert_eq!(world.engine.next_due(), Some(Millis(5000)));
    world.say("reserve q 1 for 2s");
    assert_eq!(world.engine.next_due(), Some(Millis(2000)));
    world.restart();
    assert_eq!(world.engine.next_due(), Some(Millis(2000)));
    world.say("at 5s tick");
    assert_eq!(world.engine.next_due(), Some(Millis(3_600_000)));
    assert!(!world.engine.garbage_left());
    world.say("clear q");
    assert!(world.engine.garbage_left());
    world.restart();
    assert!(world.engine.garbage_left());
    world.say("sweep");
    assert_eq!((world.engine.garbage_left(), world.engine.next_due()), (false, None));
}

#[test]
fn lists_are_paged_in_ascending_order() {
    let mut world = World::new();
    for id in ["a", "b", "p0"] {
        world.say(&format!("in {id}"));
        world.say("project");
    }
    for name in ["x", "xa", "xb", "y", "X"] {
        world.say(&format!("put {name}"));
        world.say(&format!("token {name} of"));
    }
    let view = world.engine.kv().view();
    let (a, p0) = (ProjectId::new("a"), ProjectId::new("p0"));
    let projects = |previous: &str, n: u32| {
        let page = read::list_projects(&view, previous, n).unwrap();
        page.iter().map(|info| info.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(projects("", 100), ["a", "b", "p", "p0"]);
    assert_eq!(projects("b", 1), ["p"]);
    assert_eq!(projects("aa", 100), ["b", "p", "p0"]);
    let queues = |previous: &str, prefix: &str, n: u32| {
        let page = read::list_queues(&view, &p0, previous, prefix, n).unwrap();
        page.iter().map(QueueName::to_string).collect::<Vec<_>>()
    };
    assert_eq!(queues("", "", 100), ["X", "x", "xa", "xb", "y"]);
    assert_eq!(queues("x", "x", 100), ["xa", "xb"]);
    assert_eq!(queues("0", "x", 2), ["x", "xa"]);
    assert_eq!(queues("y", "x", 2), [""; 0]);
    assert_eq!(queues("", "", 0), [""; 0]);
    assert_eq!(read::list_queues(&view, &a, "", "", 9).unwrap(), []);
    let tokens = read::list_tokens(&view, &p0, "x", 2).unwrap().unwrap();
    assert_eq!(tokens.iter().map(|token| token.id.as_str()).collect::<Vec<_>>(), ["xa", "xb"]);
    assert_eq!(read::list_tokens(&view, &a, "", 9).unwrap(), Some(Vec::new()));
    assert_eq!(read::list_tokens(&view, &ProjectId::new("none"), "", 9).unwrap(), None);
    let id = TokenId::new("xa");
    let (owner, token) = read::find_token(&view, &id).unwrap().unwrap();
    assert_eq!((&owner, &token.id), (&p0, &id));
    assert_eq!(read::token(&view, &p0, &id).unwrap(), Some(token));
    assert_eq!(read::token(&view, &a, &id).unwrap(), None);
    let group = read::group(&view).unwrap();
    assert_eq!((group.cluster_version, group.garbage), (1, 0));
    assert_eq!(group.applied, world.engine.applied().index);
}

#[test]
fn tokens_of_an_ended_project_open_nothing() {
    let mut world = World::new();
    world.say("token t");
    world.say("drop-project");
    let find = |world: &World| {
        read::find_token(&world.engine.kv().view(), &TokenId::new("t")).unwrap().is_some()
    };
    assert!(!find(&world), "at once, before any sweep");
    world.say("project");
    assert!(!find(&world), "not even where the project is made again");
}

#[test]
fn touch_numbers_saturate_and_stay_valid() {
    let mut world = World::new();
    world.say("at 0 post q a");
    world.say("reserve q 1 for 60s");
    let (message, first) = (world.messages[0], world.reservations[0]);
    let touch = || Request {
        project: ProjectId::new("p"),
        retry: None,
        command: Command::TouchMessage {
            queue: QueueName::new("q"),
            message,
            reservation: first,
            timeout: None,
        },
    };
    let mut touched = |times: u32| {
        let mut last = first;
        for _ in 0..times {
            let (answer, _) = world.request(touch());
            let Ok(Outcome::Touched { reservation }) = answer else { panic!("{answer:?}") };
            last = reservation;
        }
        last
    };
    let last = touched(u32::from(u16::MAX));
    assert_eq!(last.touch(), u16::MAX);
    assert_eq!(touched(1), last, "the same id again");
    world.reservations.push(last);
    assert_eq!(world.say("ack q m1 r2"), "deleted 1");
}
