//! Whole logs. Input: a number of steps, the steps (two bytes each), then damages (four bytes
//! each) to the segments they left.
//!
//! What the log itself showed after each step is what it may be found to hold later: steps queue
//! one record each, so these are all the prefixes of its sequence.

use std::collections::BTreeMap;
use std::sync::Arc;

use bessemer_model::GroupId;
use bessemer_seam::log_disk::{LogDisk, LogFile};

use crate::memory_disk::MemoryDisk;
use crate::{GroupLog, Log, LogError, LogOptions};

const GROUPS: [GroupId; 2] = [GroupId(0), GroupId(3)];
const STEPS_MAX: u8 = 64;
const DAMAGES_MAX: usize = 8;
const SECTOR_BYTES: u64 = 512;
/// Small, so that a few entries fill one.
const SEGMENT_BYTES: u64 = 4096;

/// All a log shows of its groups but committed marks, which may be behind.
type Content = BTreeMap<GroupId, GroupContent>;

#[derive(Clone, PartialEq, Eq, Debug)]
struct GroupContent {
    entries: Vec<crate::Entry>,
    purged: Option<(u64, Vec<u8>)>,
    vote: Option<Vec<u8>>,
}

/// A log that was synced and sealed, then damaged, is refused, or shows a state it was once in;
/// after a single flipped bit, its last state. What was opened opens again to the same, without
/// anything to cut, and holds what is appended after.
pub fn segments(bytes: &[u8]) {
    let Some((steps, rest)) = bytes.split_first() else { return };
    let (steps, damages) = rest.split_at(rest.len().min(2 * usize::from(steps % STEPS_MAX)));
    let disk = MemoryDisk::default();
    let states = work(&disk, steps);
    let damages: Vec<[u8; 4]> = damages.as_chunks().0.iter().take(DAMAGES_MAX).copied().collect();
    let flips = damages.iter().filter(|damage| damaged(&disk, **damage)).count();
    let Some(found) = reopened(&disk) else {
        assert!(!damages.is_empty(), "an undamaged log opens");
        return;
    };
    let last = states.last().expect("a log begins in a state");
    match (damages.len(), flips) {
        (0, _) | (1, 1) => assert_eq!(&found, last, "all that was synced is there"),
        _ => assert!(states.contains(&found), "{found:?} was never written"),
    }
}

/// Runs `steps` on a new log; all its states, the last of which is synced and sealed.
fn work(disk: &MemoryDisk, steps: &[u8]) -> Vec<Content> {
    let (mut log, _) = open(disk).expect("a new log opens");
    let mut states = vec![content(&log)];
    for step in steps.as_chunks::<2>().0 {
        let [what, how] = *step;
        let group = log.group(GROUPS[usize::from(what >> 7)]);
        let next = next_index(&group);
        match what & 0x7f {
            0..60 => append(&group, next, vec![how; 8 * usize::from(what & 0x3f)]),
            60..70 => append(&group, next, vec![what; 7 * usize::from(how)]),
            70..80 => group.save_vote(vec![how; usize::from(how % 40)], Box::new(drop)),
            80..90 => group.truncate_after(Some(next.saturating_sub(u64::from(how)))),
            90 => group.truncate_after(None),
            91..98 => {
                let index = next.saturating_sub(1 + u64::from(how));
                group.purge(index, vec![how; usize::from(how % 40)]);
            }
            98 => group.save_committed(vec![how; usize::from(how % 40)]),
            99..104 => log.upkeep().expect("memory does not fail"),
            104..108 => seal(&log),
            108..112 => {
                drain(&log);
                log = open(disk).expect("an undamaged log opens").0;
                assert_eq!(states.last(), Some(&content(&log)));
            }
            _ => drain(&log),
        }
        states.push(content(&log));
    }
    drain(&log);
    log.upkeep().expect("memory does not fail");
    seal(&log);
    states
}

/// Does one damage; whether it flipped a single bit and nothing else.
fn damaged(disk: &MemoryDisk, [what, high, low, how]: [u8; 4]) -> bool {
    let names = disk.list().expect("memory does not fail");
    let name = &names[usize::from(what >> 3) % names.len()];
    let offset = u64::from(u16::from_be_bytes([high, low])) % SEGMENT_BYTES;
    match what & 7 {
        0..4 => disk.damage(name, offset, 1 << (how % 8)),
        4 => disk.damage(name, offset, how),
        5 => disk.zero(name, offset - offset % SECTOR_BYTES, SECTOR_BYTES),
        6 => disk.zero(name, offset, SEGMENT_BYTES - offset),
        _ => {
            // A write that went astray.
            let other = &names[usize::from(how) % names.len()];
            let mut bytes = vec![0; (SEGMENT_BYTES - offset).min(SECTOR_BYTES) as usize];
            let from = disk.open(other).expect("memory does not fail");
            from.read_at(u64::from(how) * 8, &mut bytes).expect("memory does not fail");
            let to = disk.open(name).expect("memory does not fail");
            to.write_at(offset, &bytes).and_then(|()| to.sync()).expect("memory does not fail");
        }
    }
    what & 7 < 4
}

/// Opens the log, looks, opens it again, appends, opens it a third time. `None` when refused.
fn reopened(disk: &MemoryDisk) -> Option<Content> {
    let log = match open(disk) {
        Ok((log, _)) => log,
        Err(LogError::Corrupt { .. } | LogError::UnknownRecord { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    let found = content(&log);
    disk.crash();
    let (log, torn_bytes) = open(disk).expect("what was opened opens again");
    assert_eq!((&content(&log), torn_bytes), (&found, 0));
    let group = log.group(GROUPS[0]);
    append(&group, next_index(&group), b"after".to_vec());
    drain(&log);
    let with_more = content(&log);
    disk.crash();
    let (log, torn_bytes) = open(disk).expect("what was written after opens, too");
    assert_eq!((content(&log), torn_bytes), (with_more, 0));
    Some(found)
}

fn open(disk: &MemoryDisk) -> Result<(Log<MemoryDisk>, u64), LogError> {
    let options = LogOptions {
        segment_bytes: SEGMENT_BYTES,
        spare_segments: 1,
        cache_bytes: 512,
        room_bytes: 1 << 19,
        queue_bytes_max: 1 << 20,
        low_water_bytes: 4096,
        salt: 77,
    };
    let (log, recovered) = Log::open(disk.clone(), options)?;
    assert!(recovered.last_durable <= recovered.end);
    Ok((log, recovered.torn_bytes))
}

fn content(log: &Log<MemoryDisk>) -> Content {
    GROUPS.into_iter().map(|group| (group, group_content(&log.group(group)))).collect()
}

fn group_content(log: &GroupLog<MemoryDisk>) -> GroupContent {
    let state = log.state();
    let entries = log.read(0, u64::MAX, usize::MAX).expect("an open log is read");
    assert_eq!(state.first, entries.first().map(|(index, _)| *index));
    assert_eq!(state.last, entries.last().map(|(index, _)| *index));
    GroupContent { entries, purged: state.purged, vote: state.vote }
}

fn next_index(log: &GroupLog<MemoryDisk>) -> u64 {
    let state = log.state();
    state.last.or(state.purged.map(|(index, _)| index)).map_or(1, |last| last + 1)
}

fn append(log: &GroupLog<MemoryDisk>, index: u64, payload: Vec<u8>) {
    log.append(vec![(index, Arc::from(payload))], Box::new(drop));
}

fn drain(log: &Log<MemoryDisk>) {
    while log.drain().expect("memory does not fail") {}
}

fn seal(log: &Log<MemoryDisk>) {
    log.seal().expect("memory does not fail");
}
