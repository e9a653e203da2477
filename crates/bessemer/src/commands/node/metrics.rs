//! What a node counts beside its doors: log, agreement, process.
//!
//! Not here: requests (crate `gateway`). Every metric is read when it is asked for; no labels but
//! the version. Names: `bessemer_` first, base unit last; counters get `_total` when written.

use std::fmt;
use std::sync::Arc;

use bessemer_log::{Log, LogStats};
use bessemer_replica::{Replica, ReplicaMetrics};
use bessemer_seam::consensus::{ClusterStatus, Consensus};
use bessemer_storage::disk::FileDisk;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::world::real::RealWorld;

/// Reads the parts of a node on each scrape.
pub struct NodeCollector {
    log: Log<FileDisk>,
    replica: Arc<Replica<RealWorld>>,
}

/// Adds the node's metrics to `registry`.
pub fn register(registry: &mut Registry, log: Log<FileDisk>, replica: Arc<Replica<RealWorld>>) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    registry.register("bessemer_build", "The program", Info::new(version));
    registry.register_collector(Box::new(NodeCollector { log, replica }));
}

impl fmt::Debug for NodeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCollector").finish_non_exhaustive()
    }
}

impl Collector for NodeCollector {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut out = Out { encoder };
        log(&mut out, &self.log.stats())?;
        agreement(&mut out, &self.replica.status())?;
        replica(&mut out, &self.replica.metrics())?;
        out.gauge(
            "bessemer_process_resident_memory_bytes",
            "Memory of the process that is in RAM",
            resident_bytes(),
        )
    }
}

struct Out<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Out<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
        let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        metric.encode(self.encoder.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
        let metric = ConstCounter::new(value);
        metric.encode(self.encoder.encode_descriptor(name, help, None, metric.metric_type())?)
    }
}

fn log(out: &mut Out<'_>, stats: &LogStats) -> Result<(), fmt::Error> {
    out.counter("bessemer_log_drains", "Times the log's queue was written", stats.drains)?;
    out.counter("bessemer_log_syncs", "Times the log was made durable", stats.syncs)?;
    out.counter("bessemer_log_records", "Records written to the log", stats.records)?;
    out.counter("bessemer_log_entries", "Entries among the log's records", stats.entries)?;
    out.counter("bessemer_log_written_bytes", "Bytes written to the log", stats.bytes)?;
    out.counter("bessemer_log_reads_cached", "Entries read from memory", stats.reads_cached)?;
    out.counter("bessemer_log_reads_disk", "Entries read from files", stats.reads_disk)?;
    out.gauge("bessemer_log_queue_bytes", "Bytes not yet durable", stats.queue_bytes as u64)?;
    out.gauge("bessemer_log_cache_bytes", "Entries held in memory", stats.cache_bytes as u64)?;
    out.gauge("bessemer_log_segments", "Files that hold records", stats.segments as u64)?;
    out.gauge("bessemer_log_spare_segments", "Files held ready", stats.spares as u64)?;
    out.gauge("bessemer_disk_free_bytes", "Free bytes of the log's device", stats.free_bytes)?;
    out.gauge(
        "bessemer_disk_low",
        "1 while growing work is refused for lack of space",
        u64::from(stats.low || stats.disk_full),
    )
}

fn agreement(out: &mut Out<'_>, status: &ClusterStatus) -> Result<(), fmt::Error> {
    let leads = status.leader == Some(status.me);
    out.gauge("bessemer_raft_term", "Term of the newest election", status.term)?;
    out.gauge("bessemer_raft_leads", "1 while this node leads", u64::from(leads))?;
    out.gauge(
        "bessemer_raft_has_leader",
        "1 while this node knows a leader",
        u64::from(status.leader.is_some()),
    )?;
    out.gauge("bessemer_raft_members", "Nodes of the cluster", status.members.len() as u64)?;
    out.gauge("bessemer_committed_index", "Newest entry known committed", status.committed.0)?;
    out.gauge("bessemer_applied_index", "Newest entry applied here", status.applied.0)
}

fn replica(out: &mut Out<'_>, metrics: &ReplicaMetrics) -> Result<(), fmt::Error> {
    out.counter(
        "bessemer_entries_proposed",
        "Entries this node proposed as leader",
        metrics.entries_proposed,
    )?;
    out.counter("bessemer_parts_proposed", "Parts in those entries", metrics.parts_proposed)?;
    out.gauge(
        "bessemer_forward_streams",
        "Streams of commands from other nodes",
        metrics.forward_streams,
    )?;
    out.gauge(
        "bessemer_clock_off_milliseconds",
        "Distance of the wall clock from the voters' median",
        metrics.clock_off_ms,
    )?;
    out.gauge("bessemer_snapshot_index", "Last entry in the snapshot", metrics.snapshot.0)?;
    out.gauge("bessemer_purged_index", "Newest entry cut from the log", metrics.purged.0)?;
    let transfers = metrics.transfers;
    out.counter("bessemer_snapshots_sent", "Snapshots followers installed", transfers.sent)?;
    out.counter("bessemer_snapshots_sent_bytes", "Bytes of those", transfers.sent_bytes)?;
    out.counter(
        "bessemer_snapshots_installed",
        "Snapshots of a leader that this node installed",
        transfers.installed,
    )?;
    out.gauge("bessemer_log_held_bytes", "Entries the log holds", metrics.log_bytes_held)
}

/// Resident bytes of this process; 0 where the kernel does not say.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
