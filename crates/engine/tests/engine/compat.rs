//! Entries of every released version read as they did. See `tests/compat/README.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use bessemer_engine::{Batch, decode_batch};
use bessemer_model::Command;

use crate::decoder::{batch, encode};
use crate::operations::Operations;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/compat");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// The first word of what a command is: its variant.
fn kind(command: &Command) -> String {
    let text = format!("{command:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// Random entries until every kind of command came up that the generator knows.
fn samples() -> Vec<Batch> {
    let mut operations = Operations::new(11);
    let (mut seen, mut kept) = (BTreeSet::new(), Vec::new());
    for _ in 0..2_000 {
        let batch = batch(&mut operations);
        let known = seen.len();
        let requests = batch.parts.iter().flat_map(|part| &part.requests);
        seen.extend(requests.map(|request| kind(&request.command)));
        if seen.len() > known {
            kept.push(batch);
        }
    }
    kept
}

#[test]
fn compat_entries_of_all_versions_read_as_they_did() {
    if let Ok(version) = std::env::var("BESSEMER_COMPAT_WRITE") {
        let line = |batch: &Batch| format!("{} {batch:?}\n", hex(&encode(batch)));
        let text: String = samples().iter().map(line).collect();
        fs::write(PathBuf::from(SAMPLES).join(version).join("commands.txt"), text).unwrap();
    }
    let mut lines = 0;
    for entry in fs::read_dir(SAMPLES).unwrap() {
        let path = entry.unwrap().path().join("commands.txt");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for line in text.lines() {
            let (bytes, says) = line.split_once(' ').unwrap();
            let batch = decode_batch(&bytes_of(bytes));
            assert_eq!(batch.map(|batch| format!("{batch:?}")), Ok(says.to_owned()));
            lines += 1;
        }
    }
    assert!(lines > 5, "{lines} samples");
}
