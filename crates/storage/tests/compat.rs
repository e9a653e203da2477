//! Data directories of every released version open, and hold what they held. See
//! `tests/compat/README.md`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bessemer_engine::{Engine, read};
use bessemer_log::{Log, LogOptions};
use bessemer_model::{BootCount, DataId, GroupId, NodeId, ProjectId};
use bessemer_seam::kv::{Kv, KvRead};
use bessemer_seam::state_store::{Checkpoint, StateStore};
use bessemer_storage::disk::FileDisk;
use bessemer_storage::{LOG_DIR, RocksStore, STATE_DIR, StorageOptions, open_boot};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/compat");
const GROUP: GroupId = GroupId(0);
const NODE: NodeId = NodeId(1);

fn versions() -> Vec<PathBuf> {
    let found = fs::read_dir(SAMPLES).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = found.filter(|path| path.join("data.tar.gz").exists()).collect();
    found.sort();
    found
}

fn unpack(sample: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tar = Command::new("tar")
        .arg("-xzf")
        .arg(sample.join("data.tar.gz"))
        .arg("-C")
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(tar.success(), "{} cannot be unpacked", sample.display());
    dir
}

/// Everything that is in a data directory, as text.
fn describe(data: &Path) -> String {
    let mut text = String::new();
    let cluster = fs::read_to_string(data.join("node")).unwrap();
    let cluster = cluster.lines().find_map(|line| line.strip_prefix("cluster ")).unwrap();
    let boot = open_boot(data, NODE, cluster, DataId(1)).unwrap();
    assert_ne!(boot.data, DataId(1));
    writeln!(text, "boot {}", boot.count).unwrap();
    describe_log(data, &mut text);
    describe_state(data, &mut text);
    text
}

fn describe_log(data: &Path, text: &mut String) {
    let disk = FileDisk::open(&data.join(LOG_DIR)).unwrap();
    let (log, _) =
        Log::open(disk, LogOptions { segment_bytes: 16 << 20, ..LogOptions::default() }).unwrap();
    let group = log.group(GROUP);
    let state = group.state();
    let (first, last) = (state.first.unwrap(), state.last.unwrap());
    writeln!(text, "log from {first} to {last}, purged {:?}", state.purged.map(|(at, _)| at))
        .unwrap();
    writeln!(text, "vote {} bytes", state.vote.map_or(0, |vote| vote.len())).unwrap();
    let (mut sum, mut from) = (0, first);
    while from <= last {
        let entries = group.read(from, last + 1, 1 << 20).unwrap();
        assert!(!entries.is_empty());
        for (_, entry) in &entries {
            sum = crc32c::crc32c_append(sum, entry);
        }
        from += entries.len() as u64;
    }
    writeln!(text, "entries crc {sum:08x}").unwrap();
}

fn describe_state(data: &Path, text: &mut String) {
    let store = RocksStore::open(&data.join(STATE_DIR), StorageOptions::default()).unwrap();
    let kv = store.open().unwrap();
    let engine = Engine::open(kv.clone(), GROUP, NODE, BootCount(1)).unwrap();
    let applied = engine.applied();
    let chain: String = applied.chain.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(text, "applied {} chain {chain}", applied.index).unwrap();
    let view = kv.view();
    let (label, checkpoint) = store.latest().unwrap().expect("the sample holds a snapshot");
    let files = checkpoint.files().len();
    writeln!(text, "snapshot {label}, {files} files").unwrap();
    for project in read::list_projects(&view, "", 100).unwrap() {
        describe_project(&view, &project.id, text);
    }
}

fn describe_project(view: &dyn KvRead, project: &ProjectId, text: &mut String) {
    writeln!(text, "project {project}").unwrap();
    for queue in read::list_queues(view, project, "", "", 100).unwrap() {
        let info = read::queue_info(view, project, &queue).unwrap().unwrap();
        writeln!(text, "queue {queue} {info:?}").unwrap();
        for message in read::peek(view, project, &queue, 100).unwrap().unwrap() {
            writeln!(text, "message {} {}", message.id, String::from_utf8_lossy(&message.body))
                .unwrap();
        }
    }
}

#[test]
fn compat_data_directories_of_all_versions_open() {
    for version in versions() {
        let dir = unpack(&version);
        let found = describe(&dir.path().join("data"));
        let expected = version.join("data.txt");
        let name = version.file_name().unwrap().to_str().unwrap();
        if std::env::var("BESSEMER_COMPAT_WRITE").is_ok_and(|writing| writing == name) {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(fs::read_to_string(&expected).unwrap(), found, "{name}");
    }
}

#[test]
fn compat_there_are_samples() {
    assert!(!versions().is_empty());
}
