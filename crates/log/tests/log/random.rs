//! Random work, crashes and restarts against the model.

use bessemer_log::Log;
use bessemer_log::memory_disk::{MemoryDisk, SplitMix};

use crate::model::{GROUPS, Model, ModelState, content, empty, options};

const SEEDS: u64 = 300;
const RUNS_PER_SEED: u64 = 8;
const STEPS_PER_RUN: u64 = 60;

#[test]
fn a_crash_leaves_a_prefix_that_holds_all_that_was_acknowledged() {
    for seed in 0..SEEDS {
        eprintln!("seed {seed}");
        one_seed(seed);
    }
}

fn one_seed(seed: u64) {
    let mut random = SplitMix(seed);
    let disk = MemoryDisk::new(seed);
    let mut possible = vec![empty()];
    for _ in 0..RUNS_PER_SEED {
        let (log, found) = open_at_last(&disk, &mut random);
        assert!(possible.contains(&found), "none of {} states", possible.len());
        let mut model = Model::new(found);
        if random.below(3) == 0 {
            disk.power_fails_after(random.below(60));
        }
        for _ in 0..random.below(STEPS_PER_RUN) {
            if step(&log, &mut model, &mut random).is_err() {
                break;
            }
        }
        possible = model.states.split_off(model.acked_state());
        if random.below(4) == 0 { disk.kill() } else { disk.crash() }
    }
}

/// Opens the log, through some crashes while it is being opened; never finds damage.
fn open_at_last(disk: &MemoryDisk, random: &mut SplitMix) -> (Log<MemoryDisk>, ModelState) {
    for _ in 0..random.below(3) {
        disk.power_fails_after(random.below(20));
        if let Ok((log, _)) = Log::open(disk.clone(), options()) {
            disk.power_fails_after(u64::MAX / 2);
            let found = content(&log);
            disk.crash();
            // What an open log shows is durable.
            let (log, _) = Log::open(disk.clone(), options()).unwrap();
            assert_eq!(content(&log), found);
        }
        disk.crash();
    }
    let (log, recovered) = Log::open(disk.clone(), options()).unwrap();
    assert!(recovered.last_durable <= recovered.end);
    let found = content(&log);
    (log, found)
}

/// One random call; an error when the power has failed.
fn step(log: &Log<MemoryDisk>, model: &mut Model, random: &mut SplitMix) -> Result<(), ()> {
    let group = log.group(GROUPS[random.below(2) as usize]);
    let next = model.group(group.id()).next_index();
    let mut payload = |max: u64| {
        let bytes = random.below(max) as usize;
        vec![random.next_u64() as u8; bytes]
    };
    let bytes = payload(32);
    let large = payload(1200);
    match random.below(20) {
        0..8 => model.append(&group, vec![large, bytes]),
        8 => model.vote(&group, bytes),
        9 => model.truncate(&group, Some(next.saturating_sub(random.below(4)))),
        10 if random.below(8) == 0 => model.truncate(&group, None),
        11 => model.purge(&group, next.saturating_sub(random.below(6)), bytes),
        12 => group.save_committed(bytes),
        13 => log.upkeep().map_err(drop)?,
        14 => log.seal().map(drop).map_err(drop)?,
        15 => {
            let entries = match group.read(next.saturating_sub(5), next, 2000) {
                Ok(entries) => entries,
                Err(_) => return Err(()),
            };
            let expected = &model.group(group.id()).entries;
            assert!(entries.iter().all(|(index, entry)| expected[index] == **entry));
            assert_eq!(entries.is_empty(), expected.is_empty());
        }
        _ => log.drain().map(drop).map_err(drop)?,
    }
    Ok(())
}
