//! Caches and commits change nothing: the same entries give the same rows and the same answers,
//! whatever was forgotten between them and however they were grouped into commits.

use bessemer_engine::{Engine, PartResult, Told, encode_batch, encode_part};
use bessemer_model::{
    BootCount, Command, GroupId, Handle, LaneSeq, LogIndex, Millis, NewMessage, NodeId, Outcome,
    ProjectId, QueueName, Quota, Request, ReservedMessage,
};
use bessemer_seam::kv_memory::MemoryKv;

use crate::operations::{Chance, Operations, PROJECTS, quota};
use crate::world::{BOOT, ME, SECRET};

/// One node applying entries.
struct Node {
    engine: Engine<MemoryKv>,
    kv: MemoryKv,
}

impl Node {
    fn new(me: NodeId) -> Node {
        let kv = MemoryKv::new();
        Node { engine: Engine::open(kv.clone(), GroupId(0), me, BOOT).unwrap(), kv }
    }
}

/// Entries of one to `requests_max` random requests each. They learn from a node of their own.
fn entries(seed: u64, count: u64, requests_max: u64) -> Vec<Vec<u8>> {
    let mut operations = Operations::new(seed);
    let mut node = Node::new(ME);
    let mut entries = Vec::new();
    for index in 1..=count {
        let mut requests = Vec::new();
        if index == 1 {
            let command = Command::InitGroup { cluster_version: 1, secret: SECRET };
            requests.push(Request { project: ProjectId::new(""), retry: None, command });
            for id in PROJECTS {
                let command = Command::CreateProject { name: "first".into(), quota: quota() };
                requests.push(Request { project: ProjectId::new(id), retry: None, command });
            }
        } else {
            // What one hears, one may name from the next entry on.
            for _ in 0..=operations.chance.below(requests_max) {
                requests.push(operations.next().1);
            }
        }
        let lane = LaneSeq { node: ME, boot: BootCount(1), seq: index };
        let batch = encode_batch(operations.now, &[encode_part(Some(lane), &requests)]);
        let told = node.engine.apply(LogIndex(index), &batch).unwrap();
        let PartResult::Fresh(results) = &told.parts[0].result else { panic!("{told:?}") };
        if let (Some(request), Some(Ok(outcome))) = (requests.last(), results.last()) {
            operations.hear(&request.command, outcome);
        }
        entries.push(batch);
    }
    entries
}

/// Entries over two queues that are deeper than any window, with thousands held at once.
fn deep_entries(seed: u64, count: u64) -> Vec<Vec<u8>> {
    let mut chance = Chance(seed);
    let mut node = Node::new(ME);
    let mut held: Vec<(QueueName, ReservedMessage)> = Vec::new();
    let (mut entries, mut now) = (Vec::new(), Millis(0));
    for index in 1..=count {
        now.0 += chance.below(40);
        let queue = QueueName::new(chance.pick(&["deep", "deeper"]));
        let command = match (index, chance.below(10)) {
            (1, _) => {
                let quota = Quota::default();
                Command::CreateProject { name: "deep".into(), quota }
            }
            (2..=21, _) | (_, 0) => {
                let message = NewMessage {
                    body: vec![b'x'],
                    delay: Millis(chance.pick(&[0, 0, 0, 900])),
                    expiration: None,
                    ordering_key: None,
                };
                Command::PostMessages { queue, messages: vec![message; 500] }
            }
            (_, 1..=5) => Command::ReserveMessages {
                queue,
                count: 100,
                timeout: Some(Millis(1000 + chance.below(8000))),
                delete: chance.one_in(9),
            },
            (_, choice) if !held.is_empty() => {
                let place = chance.below(held.len() as u64) as usize;
                let (queue, message) = held.swap_remove(place);
                let (id, reservation) = (message.id, message.reservation);
                if choice < 8 {
                    let delay = Millis(chance.pick(&[0, 700]));
                    Command::ReleaseMessage { queue, message: id, reservation, delay }
                } else {
                    let handle = Handle { message: id, reservation: Some(reservation) };
                    Command::AckMessage { queue, handle }
                }
            }
            _ => Command::Tick,
        };
        let queue = match &command {
            Command::ReserveMessages { queue, .. } => Some(queue.clone()),
            _ => None,
        };
        let request = Request { project: ProjectId::new("p"), retry: None, command };
        let lane = LaneSeq { node: ME, boot: BootCount(1), seq: index };
        let batch = encode_batch(now, &[encode_part(Some(lane), &[request])]);
        let told = node.engine.apply(LogIndex(index), &batch).unwrap();
        if let PartResult::Fresh(results) = &told.parts[0].result
            && let Ok(Outcome::Reserved { messages }) = &results[0]
            && let Some(queue) = queue
        {
            held.extend(messages.iter().map(|message| (queue.clone(), message.clone())));
        }
        entries.push(batch);
    }
    entries
}

fn count() -> u64 {
    crate::rounds(2_000, 50_000)
}

/// Applies the entries, with `between` called before each.
fn replay(
    entries: &[Vec<u8>],
    me: NodeId,
    mut between: impl FnMut(&mut Node, u64),
) -> (Node, Vec<Told>) {
    let mut node = Node::new(me);
    let mut told = Vec::new();
    for (entry, index) in entries.iter().zip(1..) {
        between(&mut node, index);
        told.push(node.engine.apply(LogIndex(index), entry).unwrap());
    }
    node.engine.commit(&[]).unwrap();
    (node, told)
}

fn same(one: &(Node, Vec<Told>), other: &(Node, Vec<Told>)) {
    for (place, (one, other)) in one.1.iter().zip(&other.1).enumerate() {
        assert_eq!(one, other, "entry {}", place + 1);
    }
    assert_eq!(one.0.engine.applied(), other.0.engine.applied());
    let (one, other) = (one.0.kv.dump(), other.0.kv.dump());
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one, other);
    }
}

/// Entries hold one request each: what one command leaves in a cache, the next must not need.
#[test]
fn forgetting_everything_before_each_command_changes_nothing() {
    let entries = entries(7, count(), 1);
    let warm = replay(&entries, ME, |node, _| node.engine.commit(&[]).unwrap());
    let cold = replay(&entries, ME, |node, _| {
        node.engine.clear_caches();
        node.engine.commit(&[]).unwrap();
    });
    same(&warm, &cold);
    let lazy = replay(&entries, ME, |node, index| {
        if index % 3 == 0 {
            node.engine.clear_caches();
        }
    });
    same(&warm, &lazy);
}

#[test]
fn grouping_entries_into_commits_changes_nothing() {
    let entries = entries(8, count(), 5);
    let each = replay(&entries, ME, |node, _| node.engine.commit(&[]).unwrap());
    let every_50 = replay(&entries, ME, |node, index| {
        if index % 50 == 0 {
            node.engine.commit(&[]).unwrap();
        }
    });
    same(&each, &every_50);
}

#[test]
fn a_restart_at_any_commit_changes_nothing() {
    let entries = entries(9, count(), 5);
    let through = replay(&entries, ME, |node, _| node.engine.commit(&[]).unwrap());
    let restarted = replay(&entries, ME, |node, index| {
        node.engine.commit(&[]).unwrap();
        if index % 17 == 0 {
            node.engine = Engine::open(node.kv.clone(), GroupId(0), ME, BOOT).unwrap();
        }
    });
    same(&through, &restarted);
}

#[test]
fn who_i_am_changes_no_row() {
    let entries = entries(10, count(), 5);
    let mine = replay(&entries, ME, |_, _| {});
    let theirs = replay(&entries, NodeId(9), |_, _| {});
    assert_eq!(mine.0.kv.dump(), theirs.0.kv.dump());
    assert_ne!(mine.1, theirs.1, "bodies go to the node that asked");
}

#[test]
fn windows_over_deep_queues_change_nothing() {
    let entries = deep_entries(11, crate::rounds(600, 10_000));
    let warm = replay(&entries, ME, |node, index| {
        if index % 3 == 0 {
            node.engine.commit(&[]).unwrap();
        }
    });
    let cold = replay(&entries, ME, |node, _| {
        node.engine.clear_caches();
        node.engine.commit(&[]).unwrap();
    });
    same(&warm, &cold);
}
