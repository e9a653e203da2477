//! Snapshots: what one is, which one is current, and how much log must be kept.
//!
//! Not here: when one is taken (`retention.rs`), the transfer (`snapshot_send.rs`,
//! `snapshot_receive.rs`), files (the state store).
//! Invariants: a checkpoint is explained (log id, membership) by a record that was written to the
//! state before it was taken; the newest checkpoint of the store is the current snapshot.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use bessemer_model::{LogIndex, NodeId};
use bessemer_seam::state_store::{Checkpoint, Staging, StateStore};

use crate::bytes::{DecodeError, Reader, Writer};
use crate::codec::log_index;
use crate::event::lock;
use crate::growth::Growth;
use crate::types::{LogId, SnapshotMeta};
use crate::wire::{get_snapshot_meta, put_snapshot_meta};
use crate::world::{CheckpointOf, StagingOf, World};

/// Records kept of taken checkpoints: the newest, and those before it that a failed attempt
/// could leave as the newest on disk.
const RECORDS_MAX: usize = 4;
/// A transfer that takes so long that the log grows to this many times `log_bytes_max` is in vain.
const TRANSFER_TIMES: u64 = 8;
const RESTAGE_CHUNK_BYTES: usize = 1 << 20;

/// A snapshot on its way between openraft and us.
pub enum SnapshotData<W: World> {
    /// One of ours, to be sent.
    Held(Current<W>),
    /// A complete one from the leader, to be installed.
    Received { staging: StagingOf<W> },
}

/// A snapshot of this node. Clones share its files.
pub struct Current<W: World> {
    pub meta: SnapshotMeta,
    pub label: String,
    pub checkpoint: CheckpointOf<W>,
}

impl<W: World> Clone for Current<W> {
    fn clone(&self) -> Self {
        Current {
            meta: self.meta.clone(),
            label: self.label.clone(),
            checkpoint: self.checkpoint.clone(),
        }
    }
}

impl<W: World> Current<W> {
    /// The store's newest checkpoint, explained by the state's records; `None` when there is no
    /// checkpoint, or none that is explained.
    pub(crate) fn find(
        latest: Option<(String, CheckpointOf<W>)>,
        records: Option<&[u8]>,
    ) -> io::Result<Option<Current<W>>> {
        let Some((label, checkpoint)) = latest else { return Ok(None) };
        let Some(records) = records else { return Ok(None) };
        let meta = get_records(records)?.into_iter().find(|(known, _)| *known == label);
        Ok(meta.map(|(label, meta)| Current { meta, label, checkpoint }))
    }

    pub(crate) fn index(&self) -> LogIndex {
        self.meta.last_log_id.map_or(LogIndex(0), |id| log_index(id.index))
    }

    /// Copies this snapshot into a staging, as if it had been received. Blocks. For the case that
    /// the state is behind its own snapshot.
    pub(crate) fn restage(&self, state: &W::State) -> io::Result<StagingOf<W>> {
        let files = self.checkpoint.files();
        let mut staging = state.stage(&self.label, files)?;
        for file in files {
            let mut offset = staging.held(&file.name);
            while offset < file.bytes {
                let bytes = RESTAGE_CHUNK_BYTES.min((file.bytes - offset) as usize);
                let mut chunk = vec![0; bytes];
                self.checkpoint.read_at(&file.name, offset, &mut chunk)?;
                staging.write(&file.name, offset, &chunk)?;
                offset += bytes as u64;
            }
        }
        Ok(staging)
    }
}

/// The name of the snapshot that ends with `last`: equal names mean equal states.
pub(crate) fn label_of(last: Option<&LogId>) -> String {
    let Some(last) = last else { return "empty".to_owned() };
    let leader = &last.leader_id;
    format!("{:020}-{}-{}", log_index(last.index).0, leader.term, leader.node_id)
}

type Records = Vec<(String, SnapshotMeta)>;

/// The records with one more at the end, the oldest dropped.
pub(crate) fn records_with(
    records: Option<&[u8]>,
    label: &str,
    meta: &SnapshotMeta,
) -> Result<Records, DecodeError> {
    let mut records = records.map_or(Ok(Vec::new()), get_records)?;
    records.retain(|(known, _)| known != label);
    records.push((label.to_owned(), meta.clone()));
    let surplus = records.len().saturating_sub(RECORDS_MAX);
    records.drain(..surplus);
    Ok(records)
}

pub(crate) fn put_records(records: &Records) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(1);
    w.length(records.len());
    for (label, meta) in records {
        w.text(label);
        put_snapshot_meta(&mut w, meta);
    }
    w.bytes
}

pub(crate) fn get_records(bytes: &[u8]) -> Result<Records, DecodeError> {
    let mut r = Reader::new(bytes, "the records of snapshots");
    if r.u8()? != 1 {
        return Err(r.error());
    }
    let mut records = Vec::new();
    for _ in 0..r.count(8)? {
        records.push((r.text()?, get_snapshot_meta(&mut r)?));
    }
    r.end()?;
    Ok(records)
}

/// Transfers that were completed since the start of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransferCounts {
    pub sent: u64,
    pub sent_bytes: u64,
    pub installed: u64,
}

struct Inner<W: World> {
    current: Option<Current<W>>,
    /// Everything up to here survives a crash of this node: the applied index read before the
    /// last completed flush of the state.
    flushed: LogIndex,
    /// Log index of each snapshot that is being sent: its follower continues from there.
    sending: BTreeMap<u64, LogIndex>,
    next_transfer: u64,
    /// Followers that got a snapshot and were not seen to go on from it yet: where they go on,
    /// and how long they may take.
    sent: BTreeMap<NodeId, (LogIndex, Duration)>,
    counts: TransferCounts,
    /// Log applied, and how many of its bytes came before the current snapshot.
    growth: Growth,
    bytes_before: u64,
    /// A snapshot is being received or installed.
    receiving: bool,
}

/// What the node may forget. Written by the apply worker and transfers, read by the controller.
pub(crate) struct Retention<W: World> {
    inner: Mutex<Inner<W>>,
}

impl<W: World> Retention<W> {
    /// `log_bytes`: what the log holds, taken for all applied, of which the current snapshot may
    /// cover a part. `keep_bytes`: log that is kept in any case.
    pub fn new(
        current: Option<Current<W>>,
        applied: LogIndex,
        log_bytes: u64,
        keep_bytes: u64,
    ) -> Retention<W> {
        let inner = Inner {
            // A checkpoint is durable, and the state is never behind it.
            flushed: current.as_ref().map_or(LogIndex(0), Current::index),
            current,
            sending: BTreeMap::new(),
            next_transfer: 0,
            sent: BTreeMap::new(),
            counts: TransferCounts::default(),
            growth: Growth::new(applied, log_bytes, keep_bytes),
            bytes_before: 0,
            receiving: false,
        };
        Retention { inner: Mutex::new(inner) }
    }

    pub fn current(&self) -> Option<Current<W>> {
        lock(&self.inner).current.clone()
    }

    pub fn set_current(&self, current: Option<Current<W>>) {
        let mut inner = lock(&self.inner);
        if let Some(current) = &current {
            inner.flushed = inner.flushed.max(current.index());
        }
        inner.current = current;
        inner.bytes_before = inner.growth.total_bytes();
    }

    /// `bytes` of log were applied, the last of them at `index`.
    pub fn applied(&self, index: LogIndex, bytes: u64) {
        lock(&self.inner).growth.add(index, bytes);
    }

    /// Bytes of log applied, counting what the log held at the start.
    pub fn bytes_total(&self) -> u64 {
        lock(&self.inner).growth.total_bytes()
    }

    /// Bytes of log applied since the current snapshot, as far as this process has seen them.
    pub fn bytes_since(&self) -> u64 {
        let inner = lock(&self.inner);
        inner.growth.total_bytes() - inner.bytes_before
    }

    /// The state up to this index is durable.
    pub fn flushed(&self) -> LogIndex {
        lock(&self.inner).flushed
    }

    pub fn set_flushed(&self, index: LogIndex) {
        let mut inner = lock(&self.inner);
        inner.flushed = inner.flushed.max(index);
    }

    /// Highest index that may be purged as far as this node alone goes, when its log holds
    /// `held_bytes`; 0 is none. Above `bytes_max` what is kept in any case is not kept any more,
    /// above `TRANSFER_TIMES` as much neither is what a slow transfer will need after it.
    pub fn purgeable(&self, held_bytes: u64, bytes_max: u64) -> LogIndex {
        let inner = lock(&self.inner);
        let current = inner.current.as_ref().map_or(LogIndex(0), Current::index);
        let mut upto = current.min(inner.flushed);
        if held_bytes <= bytes_max {
            upto = upto.min(inner.growth.keep_from());
        }
        if held_bytes <= bytes_max.saturating_mul(TRANSFER_TIMES) {
            let sent = inner.sent.values().map(|(index, _)| index);
            upto = inner.sending.values().chain(sent).fold(upto, |upto, index| upto.min(*index));
        }
        upto
    }

    /// Marks a snapshot as being sent until the guard drops.
    pub fn sending(&self, index: LogIndex) -> Sending<'_, W> {
        let mut inner = lock(&self.inner);
        inner.next_transfer += 1;
        let number = inner.next_transfer;
        inner.sending.insert(number, index);
        Sending { retention: self, number }
    }

    /// `follower` installed the snapshot up to `index`: what comes after it is kept until the
    /// follower is seen beyond it, at most until `deadline`.
    pub fn sent(&self, follower: NodeId, index: LogIndex, bytes: u64, deadline: Duration) {
        let mut inner = lock(&self.inner);
        inner.sent.insert(follower, (index, deadline));
        inner.counts.sent += 1;
        inner.counts.sent_bytes += bytes;
    }

    /// Forgets followers that went on, by what `matched` says they hold, or took too long.
    pub fn went_on(&self, now: Duration, matched: impl Fn(NodeId) -> LogIndex) {
        let waits = |follower: &NodeId, (index, deadline): &mut (LogIndex, Duration)| {
            now < *deadline && matched(*follower) <= *index
        };
        lock(&self.inner).sent.retain(waits);
    }

    pub fn installed(&self) {
        lock(&self.inner).counts.installed += 1;
    }

    pub fn counts(&self) -> TransferCounts {
        lock(&self.inner).counts
    }

    /// Marks a snapshot as being received until the guard drops; `None` while another one is.
    pub fn receive(&self) -> Option<Receiving<'_, W>> {
        let taken = std::mem::replace(&mut lock(&self.inner).receiving, true);
        (!taken).then_some(Receiving { retention: self })
    }

    pub fn is_receiving(&self) -> bool {
        lock(&self.inner).receiving
    }
}

pub(crate) struct Sending<'a, W: World> {
    retention: &'a Retention<W>,
    number: u64,
}

impl<W: World> Drop for Sending<'_, W> {
    fn drop(&mut self) {
        lock(&self.retention.inner).sending.remove(&self.number);
    }
}

pub(crate) struct Receiving<'a, W: World> {
    retention: &'a Retention<W>,
}

impl<W: World> Drop for Receiving<'_, W> {
    fn drop(&mut self) {
        lock(&self.retention.inner).receiving = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LeaderId;

    #[test]
    fn records_keep_the_newest_and_read_back() {
        let mut bytes = None;
        for index in 0..10 {
            let last = LogId { leader_id: LeaderId { term: 1, node_id: 2 }, index };
            let meta = SnapshotMeta { last_log_id: Some(last), ..SnapshotMeta::default() };
            let records = records_with(bytes.as_deref(), &label_of(Some(&last)), &meta).unwrap();
            bytes = Some(put_records(&records));
        }
        let records = get_records(&bytes.unwrap()).unwrap();
        assert_eq!(records.len(), RECORDS_MAX);
        assert_eq!(records[3].0, "00000000000000000010-1-2");
        assert_eq!(records[3].1.last_log_id.unwrap().index, 9);
        assert!(get_records(&[2]).is_err());
    }
}
