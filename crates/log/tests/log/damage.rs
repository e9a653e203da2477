//! Damage: every byte of a small log, sectors, whole files.

use bessemer_log::memory_disk::MemoryDisk;
use bessemer_log::{Log, LogError};
use bessemer_seam::log_disk::LogDisk;

use crate::model::{GROUPS, Model, ModelState, content, drain_all, empty, options};

/// A log of a few segments: all states since the start of its last drain, oldest first.
fn small_log(seal: bool) -> (MemoryDisk, Vec<ModelState>) {
    let disk = MemoryDisk::default();
    let (log, _) = Log::open(disk.clone(), options()).unwrap();
    let mut model = Model::new(empty());
    for n in 0..12u8 {
        let group = log.group(GROUPS[usize::from(n % 2)]);
        model.append(&group, vec![vec![n; 500 + usize::from(n)], vec![n; 3]]);
        model.vote(&group, vec![n]);
        if n == 7 {
            model.truncate(&group, Some(6));
        }
        if n == 8 {
            model.purge(&group, 2, vec![n]);
        }
        drain_all(&log);
    }
    let acked = model.states.len() - 1;
    model.append(&log.group(GROUPS[0]), vec![b"in the".to_vec(), b"last drain".to_vec()]);
    drain_all(&log);
    log.upkeep().unwrap();
    if seal {
        assert!(log.seal().unwrap());
        return (disk, vec![model.now().clone()]);
    }
    (disk, model.states.split_off(acked))
}

/// Opens a damaged log: it is refused, or holds one of `allowed`, and can be used after.
fn check(disk: &MemoryDisk, allowed: &[ModelState], what: &str) -> bool {
    let log = match Log::open(disk.clone(), options()) {
        Ok((log, _)) => log,
        Err(LogError::Corrupt { .. }) => return false,
        Err(error) => panic!("{what}: {error}"),
    };
    let found = content(&log);
    assert!(allowed.contains(&found), "{what}");
    let mut model = Model::new(found);
    model.append(&log.group(GROUPS[0]), vec![b"after".to_vec()]);
    drain_all(&log);
    disk.crash();
    let (log, recovered) = Log::open(disk.clone(), options()).unwrap();
    assert_eq!(&content(&log), model.now(), "{what}");
    assert_eq!(recovered.torn_bytes, 0);
    true
}

fn flip_every_byte(seal: bool) {
    let (disk, allowed) = small_log(seal);
    let names = disk.list().unwrap();
    assert!(names.len() >= 4, "{names:?}");
    let (mut opened, mut refused) = (0, 0);
    // Only the last segment that is used, and the empty one behind it, tell a sealed log from one
    // that is not.
    let from = if seal { 0 } else { names.len() - 2 };
    for name in &names[from..] {
        // The spare holds nothing but zeros.
        let step = if Some(name) == names.last() { 61 } else { 1 };
        for offset in (0..options().segment_bytes).step_by(step) {
            let damaged = disk.fork();
            let mask = 1 << (offset % 8);
            damaged.damage(name, offset, mask);
            let what = format!("{name} byte {offset}");
            if check(&damaged, &allowed, &what) { opened += 1 } else { refused += 1 }
        }
    }
    assert!(refused > 500, "written bytes are guarded: {refused}");
    assert!(opened > 500, "the unused bytes and the last drain are not: {opened}");
}

#[test]
fn any_flipped_byte_of_a_sealed_log_is_refused_or_harmless() {
    flip_every_byte(true);
}

#[test]
fn any_flipped_byte_of_an_unsealed_log_loses_at_most_its_last_drain() {
    flip_every_byte(false);
}

/// The sector with the log's very last records is another matter: what said that they were durable
/// goes with them.
#[test]
fn a_zeroed_sector_is_refused_or_harmless() {
    let (disk, allowed) = small_log(true);
    let end = Log::open(disk.fork(), options()).unwrap().1.end;
    let mut refused = 0;
    for (number, name) in disk.list().unwrap().iter().enumerate() {
        for sector in 0..options().segment_bytes / 512 {
            let last = u64::from(end.offset - 1) / 512;
            if number as u32 + 1 == end.segment && sector == last {
                continue;
            }
            let damaged = disk.fork();
            damaged.zero(name, sector * 512, 512);
            refused += u32::from(!check(&damaged, &allowed, &format!("{name} {sector}")));
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_missing_or_empty_segment_is_refused() {
    let (disk, allowed) = small_log(true);
    let names = disk.list().unwrap();
    let (spare, used) = names.split_last().unwrap();
    for (number, name) in used.iter().enumerate() {
        let damaged = disk.fork();
        damaged.remove(name).unwrap();
        let last = number + 1 == used.len();
        // With the spare still behind it, even the last one is missed.
        assert!(!check(&damaged, &[], name));
        if !last {
            let damaged = disk.fork();
            damaged.zero(name, 0, options().segment_bytes);
            assert!(!check(&damaged, &[], name));
        }
    }
    let damaged = disk.fork();
    damaged.remove(spare).unwrap();
    assert!(check(&damaged, &allowed, spare));
}

#[test]
fn damage_found_while_reading_is_an_error() {
    let (disk, _) = small_log(true);
    let (log, _) = Log::open(disk.clone(), options()).unwrap();
    let group = log.group(GROUPS[0]);
    let first = group.state().first.unwrap();
    let names = disk.list().unwrap();
    for offset in 0..options().segment_bytes {
        disk.damage(&names[0], offset, 0xff);
    }
    assert!(matches!(group.read(first, first + 1, 0), Err(LogError::Corrupt { segment: 1, .. })));
}

#[test]
fn a_record_of_a_newer_program_is_not_skipped() {
    // A salt of 0 and known bytes: an unknown kind, as a newer program would write it.
    let disk = MemoryDisk::default();
    let options = bessemer_log::LogOptions { salt: 0, ..options() };
    let (log, recovered) = Log::open(disk.clone(), options.clone()).unwrap();
    let end = log.durable();
    assert!(recovered.fresh);
    drop(log);
    let mut frame = Vec::new();
    frame.extend_from_slice(&24u32.to_le_bytes());
    let mut rest = vec![0, 0, 200, 1];
    let watermark = (u64::from(end.segment) << 32) | u64::from(end.offset);
    rest.extend_from_slice(&watermark.to_le_bytes());
    let mut seed = [0; 16];
    seed[8..].copy_from_slice(&watermark.to_le_bytes());
    let seed = crc32c::crc32c(&seed);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &frame), &rest);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(&rest);
    frame.extend_from_slice(&crc32c::crc32c_append(seed, &frame).to_le_bytes());
    for (place, byte) in frame.iter().enumerate() {
        disk.damage(&disk.list().unwrap()[0], u64::from(end.offset) + place as u64, *byte);
    }
    let refused = Log::open(disk, options).err();
    assert!(matches!(refused, Some(LogError::UnknownRecord { kind: 200, version: 1, .. })));
}
