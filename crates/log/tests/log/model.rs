//! What a log should hold after each record, and the calls that make it so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bessemer_log::memory_disk::MemoryDisk;
use bessemer_log::{Done, GroupLog, Log, LogError, LogOptions};
use bessemer_model::GroupId;

pub const GROUPS: [GroupId; 2] = [GroupId(0), GroupId(3)];

/// Small enough that a few entries fill a segment and most reads miss memory.
pub fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 4096,
        spare_segments: 1,
        cache_bytes: 512,
        room_bytes: 1 << 19,
        queue_bytes_max: 1 << 20,
        low_water_bytes: 4096,
        salt: 77,
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ModelGroup {
    pub entries: BTreeMap<u64, Vec<u8>>,
    pub purged: Option<(u64, Vec<u8>)>,
    pub vote: Option<Vec<u8>>,
}

impl ModelGroup {
    pub fn next_index(&self) -> u64 {
        let last = self.entries.keys().next_back().copied();
        last.or(self.purged.as_ref().map(|(index, _)| *index)).map_or(1, |last| last + 1)
    }
}

pub type ModelState = BTreeMap<GroupId, ModelGroup>;

/// All states a crash may leave: after each record since the last known one.
#[derive(Default)]
pub struct Model {
    pub states: Vec<ModelState>,
    /// Number of the newest state that was acknowledged, and whether all came in order.
    pub acked: Arc<Mutex<Acked>>,
}

#[derive(Default, Debug)]
pub struct Acked {
    pub state: usize,
    pub oks: usize,
    pub errors: Vec<LogError>,
}

impl Model {
    pub fn new(state: ModelState) -> Model {
        Model { states: vec![state], acked: Arc::default() }
    }

    pub fn now(&self) -> &ModelState {
        self.states.last().expect("there is always a state")
    }

    pub fn group(&self, group: GroupId) -> &ModelGroup {
        &self.now()[&group]
    }

    pub fn acked_state(&self) -> usize {
        self.acked.lock().unwrap().state
    }

    /// A callback that checks the order of acknowledgements and counts them.
    pub fn done(&self) -> Done {
        let (acked, state) = (self.acked.clone(), self.states.len() - 1);
        Box::new(move |result| {
            let mut acked = acked.lock().unwrap();
            match result {
                Ok(()) => {
                    assert!(acked.errors.is_empty(), "no success after an error");
                    assert!(acked.state <= state, "acknowledgements are in order");
                    acked.state = state;
                    acked.oks += 1;
                }
                Err(error) => acked.errors.push(error),
            }
        })
    }

    fn step(&mut self, group: GroupId, change: impl FnOnce(&mut ModelGroup)) {
        let mut state = self.now().clone();
        change(state.get_mut(&group).expect("the model knows all groups"));
        self.states.push(state);
    }

    pub fn append(&mut self, log: &GroupLog<MemoryDisk>, payloads: Vec<Vec<u8>>) {
        let mut entries = Vec::new();
        for payload in payloads {
            let index = self.group(log.id()).next_index();
            entries.push((index, Arc::from(payload.as_slice())));
            self.step(log.id(), |group| {
                group.entries.insert(index, payload);
            });
        }
        log.append(entries, self.done());
    }

    pub fn vote(&mut self, log: &GroupLog<MemoryDisk>, vote: Vec<u8>) {
        self.step(log.id(), |group| group.vote = Some(vote.clone()));
        log.save_vote(vote, self.done());
    }

    pub fn truncate(&mut self, log: &GroupLog<MemoryDisk>, after: Option<u64>) {
        self.step(log.id(), |group| {
            group.entries.retain(|index, _| after.is_some_and(|after| *index <= after));
        });
        log.truncate_after(after);
    }

    pub fn purge(&mut self, log: &GroupLog<MemoryDisk>, index: u64, log_id: Vec<u8>) {
        self.step(log.id(), |group| {
            if group.purged.as_ref().is_none_or(|(purged, _)| *purged < index) {
                group.purged = Some((index, log_id.clone()));
                group.entries.retain(|entry, _| *entry > index);
            }
        });
        log.purge(index, log_id);
    }
}

/// Everything `log` holds, read back through its public calls.
pub fn content(log: &Log<MemoryDisk>) -> ModelState {
    GROUPS.into_iter().map(|group| (group, group_content(&log.group(group)))).collect()
}

fn group_content(log: &GroupLog<MemoryDisk>) -> ModelGroup {
    let state = log.state();
    let entries: BTreeMap<u64, Vec<u8>> = log
        .read(0, u64::MAX, usize::MAX)
        .unwrap()
        .into_iter()
        .map(|(index, entry)| (index, entry.to_vec()))
        .collect();
    assert_eq!(state.first, entries.keys().next().copied());
    assert_eq!(state.last, entries.keys().next_back().copied());
    assert_eq!(state.entry_bytes, entries.values().map(|entry| entry.len() as u64).sum::<u64>());
    assert_eq!(log.last_entry().unwrap().map(|(index, _)| index), state.last);
    ModelGroup { entries, purged: state.purged, vote: state.vote }
}

pub fn empty() -> ModelState {
    GROUPS.into_iter().map(|group| (group, ModelGroup::default())).collect()
}

/// Drains until nothing is queued.
pub fn drain_all(log: &Log<MemoryDisk>) {
    while log.drain().unwrap() {}
}
