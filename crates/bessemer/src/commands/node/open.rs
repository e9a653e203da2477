//! Opens what a node keeps on disk: the directory's identity, the log, the state.
//!
//! Not here: replay (crate `replica`). Everything blocks, so it runs off the async threads.

use bessemer_log::{Log, LogOptions};
use bessemer_model::{DataId, NodeId};
use bessemer_storage::disk::FileDisk;
use bessemer_storage::{Boot, LOG_DIR, RocksStore, STATE_DIR, StorageOptions, open_boot};

use crate::config::NodeConfig;
use crate::exit::{Exit, ended};
use crate::world::tokio_runtime::random_bytes;

/// A node's directory, claimed and opened.
pub struct Opened {
    pub boot: Boot,
    pub log: Log<FileDisk>,
    pub state: RocksStore,
}

/// Claims `data_dir`, counts the opening durably, opens the log. Refuses with `Exit::Fatal` what
/// no restart will mend: a foreign or damaged directory.
pub async fn open(config: &NodeConfig) -> anyhow::Result<Opened> {
    let config = config.clone();
    let opening = tokio::task::spawn_blocking(move || open_blocking(&config));
    opening.await.expect("opening does not panic and is not aborted")
}

fn open_blocking(config: &NodeConfig) -> anyhow::Result<Opened> {
    let dir = &config.data_dir;
    let failed = |what: &str, error: anyhow::Error| {
        ended(Exit::Fatal, format!("cannot open {what} in {}: {error:#}", dir.display()))
    };
    let new_data = DataId(u64::from_le_bytes(random_bytes()));
    let boot = open_boot(dir, NodeId(config.node_id), &config.cluster_id, new_data)
        .map_err(|e| failed("the node", e.into()))?;
    let disk = FileDisk::open(&dir.join(LOG_DIR)).map_err(|e| failed("the log", e.into()))?;
    let options = LogOptions {
        segment_bytes: config.log_segment_bytes,
        cache_bytes: config.log_cache_bytes,
        low_water_bytes: config.disk_low_water_bytes,
        salt: u64::from_le_bytes(random_bytes()),
        ..LogOptions::default()
    };
    let (log, recovered) = Log::open(disk, options).map_err(|e| failed("the log", e.into()))?;
    tracing::info!(?recovered, "log opened");
    let storage = StorageOptions {
        block_cache_bytes: config.block_cache_bytes,
        memtable_bytes_total: config.memtable_bytes,
        ..StorageOptions::default()
    };
    let state = RocksStore::open(&dir.join(STATE_DIR), storage)
        .map_err(|e| failed("the state", e.into()))?;
    Ok(Opened { boot, log, state })
}
