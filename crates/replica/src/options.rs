//! How a replica behaves: every number with its unit and its reason.

use bessemer_model::limits::ENTRY_BYTES_MAX;
use bessemer_model::{BootCount, DataId, GroupId, NodeId};

/// A follower that hears nothing for this long stands for election, at a random moment of the
/// range. Measured false elections under full load decided it.
pub const ELECTION_TIMEOUT_MS: (u64, u64) = (300, 600);
pub const HEARTBEAT_INTERVAL_MS: u64 = 100;

/// Options of one node's replica of one group. `ReplicaOptions::new` gives the defaults.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    pub node: NodeId,
    pub group: GroupId,
    /// Nodes of different clusters refuse each other.
    pub cluster_id: String,
    /// How often this node was started on its data; part of every lane number.
    pub boot: BootCount,
    /// Its data directory: peers refuse the node on another one.
    pub data: DataId,

    /// See `ELECTION_TIMEOUT_MS`.
    pub election_timeout_ms_min: u64,
    pub election_timeout_ms_max: u64,
    pub heartbeat_interval_ms: u64,

    /// Bytes of commands in one log entry at most; a single larger request is its own entry.
    pub entry_bytes_max: usize,
    /// Entries proposed and not yet applied, at most. More would wait in the log's queue.
    pub entries_in_flight_max: usize,
    /// Bytes of entries in one message to a follower at most; one larger entry is sent alone.
    pub append_bytes_max: usize,

    /// Requests and bytes that wait at this node for a place in its lane, at most.
    pub open_requests_max: usize,
    pub open_bytes_max: usize,
    /// Parts and bytes sent to the leader and not yet applied here, at most.
    pub lane_parts_max: usize,
    pub lane_bytes_max: usize,
    /// Bytes of parts of all nodes that wait at the leader for an entry, at most.
    pub intake_bytes_max: usize,
    /// Without an answer for this long, everything outstanding is sent again.
    pub lane_silence_ms: u64,
    /// Requests without a place in the lane fail with `NoLeader` after this long without a leader.
    pub leaderless_ms_max: u64,

    /// Connecting, and each answer to a vote, ping or read.
    pub call_timeout_ms: u64,
    /// A stream with something outstanding and no answer for this long is closed.
    pub stream_idle_ms_max: u64,
    /// An accepted stream without a message for this long is closed.
    pub accepted_idle_ms_max: u64,
    /// Streams that peers may have open to this node at once.
    pub accepted_streams_max: usize,
    /// How often nodes tell each other their wall clocks.
    pub ping_interval_ms: u64,

    /// The state is flushed after this many bytes of log, or when something applied is this old:
    /// what was applied since is applied again after a crash.
    pub flush_every_bytes: u64,
    pub flush_every_ms: u64,
    /// A new snapshot is taken after this many bytes of log.
    pub snapshot_every_bytes: u64,
    /// Bytes of a snapshot's file per message.
    pub snapshot_chunk_bytes: usize,
    /// Log that a lagging follower still needs is kept up to this many bytes; beyond, it gets a
    /// snapshot.
    pub log_bytes_max: u64,
    /// Log kept behind the newest snapshot though nobody is known to need it.
    pub log_bytes_keep: u64,
    /// How often the snapshot controller looks.
    pub snapshot_check_ms: u64,

    /// The leader moves log time at least this often, though nothing happens: tokens end by it.
    pub idle_tick_ms: u64,
    /// A leader whose wall clock is further than this from the voters' median gives way.
    pub clock_off_ms_max: u64,
    /// Wait at most this long for leadership to move, and for requests under way, at shutdown.
    pub shutdown_ms_max: u64,
}

impl ReplicaOptions {
    /// The defaults for `node`, in its `boot`-th run on the directory `data`.
    pub fn new(
        node: NodeId,
        cluster_id: impl Into<String>,
        boot: BootCount,
        data: DataId,
    ) -> ReplicaOptions {
        ReplicaOptions {
            node,
            group: GroupId(0),
            cluster_id: cluster_id.into(),
            boot,
            data,
            election_timeout_ms_min: ELECTION_TIMEOUT_MS.0,
            election_timeout_ms_max: ELECTION_TIMEOUT_MS.1,
            heartbeat_interval_ms: HEARTBEAT_INTERVAL_MS,
            entry_bytes_max: ENTRY_BYTES_MAX,
            entries_in_flight_max: 4,
            append_bytes_max: 4 << 20,
            open_requests_max: 20_000,
            open_bytes_max: 64 << 20,
            lane_parts_max: 16,
            lane_bytes_max: 8 << 20,
            intake_bytes_max: 32 << 20,
            lane_silence_ms: 1_000,
            leaderless_ms_max: 1_000,
            call_timeout_ms: 1_000,
            stream_idle_ms_max: 3_000,
            accepted_idle_ms_max: 60_000,
            accepted_streams_max: 1_024,
            ping_interval_ms: 1_000,
            flush_every_bytes: 16 << 20,
            flush_every_ms: 10_000,
            snapshot_every_bytes: 64 << 20,
            snapshot_chunk_bytes: 1 << 20,
            log_bytes_max: 256 << 20,
            log_bytes_keep: 32 << 20,
            snapshot_check_ms: 1_000,
            idle_tick_ms: 10_000,
            clock_off_ms_max: 500,
            shutdown_ms_max: 3_000,
        }
    }
}
