//! openraft's configuration from ours.

use bessemer_seam::mutants::{self, Mutant};
use openraft::{Config, ConfigError, SnapshotPolicy};

use crate::options::ReplicaOptions;

/// What openraft is told. Snapshots and purging are ours alone (`retention.rs`).
pub(crate) fn raft_config(options: &ReplicaOptions) -> Result<Config, ConfigError> {
    let config = Config {
        cluster_name: options.cluster_id.clone(),
        election_timeout_min: options.election_timeout_ms_min,
        election_timeout_max: options.election_timeout_ms_max,
        heartbeat_interval: options.heartbeat_interval_ms,
        // Ours bounds every step of a transfer; the whole of it may take long.
        install_snapshot_timeout: u64::from(u32::MAX),
        max_payload_entries: 4096,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_pre_vote: Some(true),
        // A leader sends entries before they are durable on its own disk. Back after a crash, it
        // must not lead the same term with a shorter log: others hold entries of that term which
        // it would write a second time, with other content.
        enable_leader_restore: Some(mutants::on(Mutant::OpenraftRestoredLeader)),
        ..Config::default()
    };
    config.validate()
}
