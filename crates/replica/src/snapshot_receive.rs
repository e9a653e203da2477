//! Receiving a snapshot and handing it to openraft.
//!
//! Not here: the sending side (`snapshot_send.rs`), switching to it (`state_machine.rs`).
//! Invariants: one is received at a time; it is complete, undamaged and on the device before
//! openraft hears of it; from then until it is installed no commit reaches openraft and everything
//! that can be applied is, so that openraft never applies an entry the snapshot has swept away (its
//! issue 2116).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bessemer_model::LogIndex;
use bessemer_seam::mutants::{self, Mutant};
use bessemer_seam::state_store::{SnapshotFile, Staging, StateStore};
use openraft::AsyncRuntime;

use crate::codec::log_index;
use crate::event::within;
use crate::link::{Link, timed_out, unexpected};
use crate::shared::Shared;
use crate::snapshot::SnapshotData;
use crate::types::{LeaderId, PeerNode, SnapshotMeta, Vote};
use crate::wire::{Message, Refusal};
use crate::world::{StagingOf, World};

type SnapshotOf<W> = openraft::Snapshot<LeaderId, u64, PeerNode, SnapshotData<W>>;

struct Offer {
    vote: Vote,
    meta: SnapshotMeta,
    label: String,
    files: Vec<SnapshotFile>,
}

/// Serves one snapshot stream until it ends.
pub(crate) async fn serve<W: World>(shared: &Arc<Shared<W>>, mut link: Link<W>) -> io::Result<()> {
    loop {
        let idle = Duration::from_millis(shared.options.accepted_idle_ms_max);
        let Some(message) = within(&*shared.runtime, idle, link.receive()).await else {
            return Ok(());
        };
        let Message::SnapshotOffer { vote, meta, label, files } = message? else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "expected a snapshot"));
        };
        receive(shared, &mut link, Offer { vote, meta, label, files }).await?;
    }
}

async fn receive<W: World>(
    shared: &Arc<Shared<W>>,
    link: &mut Link<W>,
    offer: Offer,
) -> io::Result<()> {
    let Some(receiving) = shared.retention.receive() else {
        return link.send(&Message::Refused(Refusal::Overloaded)).await;
    };
    let (state, label, files) = (shared.state.clone(), offer.label, offer.files.clone());
    let staging = W::Rt::spawn_blocking(move || state.stage(&label, &files)).await??;
    let held = offer.files.iter().map(|file| staging.held(&file.name)).collect();
    link.send(&Message::SnapshotWanted { held }).await?;
    let mut staging = fill(shared, link, &offer.files, staging).await?;
    let verified = W::Rt::spawn_blocking(move || match staging.verify() {
        Err(_) if mutants::on(Mutant::NatsRottenSnapshot) => Ok(staging),
        verified => verified.map(|()| staging),
    });
    // Damage ends the stream: the sender begins again, and sends what was dropped.
    let staging = verified.await??;
    // A leader that was deposed while its last commit came in never applies it: openraft waits for
    // an entry of the new leader, who has none to send before the snapshot is installed. Then
    // nothing is on its way to the state, and the snapshot holds it.
    let limit = Duration::from_millis(shared.options.stream_idle_ms_max);
    match within(&*shared.runtime, limit, settle(shared)).await {
        Some(settled) => settled?,
        None => tracing::info!("installing a snapshot over entries that openraft holds back"),
    }
    let upto = offer.meta.last_log_id.map_or(LogIndex(0), |id| log_index(id.index));
    let snapshot =
        SnapshotOf::<W> { meta: offer.meta, snapshot: SnapshotData::Received { staging } };
    let installed = shared.raft().install_full_snapshot(offer.vote, snapshot).await;
    drop(receiving);
    let vote = installed.map_err(io::Error::other)?.vote;
    durable(shared, upto).await?;
    link.send(&Message::SnapshotInstalled { vote }).await
}

/// Makes sure that this node holds everything up to `upto` durably: the sender will hold it to that.
/// openraft does not install what was committed here already, though the log may still be on its
/// way to a slow device.
async fn durable<W: World>(shared: &Arc<Shared<W>>, upto: LogIndex) -> io::Result<()> {
    if shared.retention.flushed() < upto {
        crate::retention::flush(shared).await?;
    }
    if shared.retention.flushed() < upto {
        return Err(io::Error::other("what the snapshot holds is not durable here yet"));
    }
    Ok(())
}

/// Writes chunks until the sender says that this was all.
async fn fill<W: World>(
    shared: &Arc<Shared<W>>,
    link: &mut Link<W>,
    files: &[SnapshotFile],
    mut staging: StagingOf<W>,
) -> io::Result<StagingOf<W>> {
    let idle = Duration::from_millis(shared.options.stream_idle_ms_max);
    loop {
        let message = within(&*shared.runtime, idle, link.receive()).await;
        match message.unwrap_or_else(|| Err(timed_out("a part of a snapshot")))? {
            Message::SnapshotChunk { file, offset, bytes } => {
                let invalid = || io::Error::new(io::ErrorKind::InvalidData, "no such file");
                let name = files.get(file as usize).ok_or_else(invalid)?.name.clone();
                let written = W::Rt::spawn_blocking(move || {
                    staging.write(&name, offset, &bytes).map(|()| staging)
                });
                staging = written.await??;
            }
            Message::SnapshotEnd => return Ok(staging),
            other => return Err(unexpected(&other)),
        }
    }
}

/// Waits until everything openraft knows to be committed here is applied. New commits are held
/// back by the server while a snapshot is being received.
async fn settle<W: World>(shared: &Arc<Shared<W>>) -> io::Result<()> {
    // Asked in the core's own queue: every request it got before is counted.
    let committed = shared.raft().with_raft_state(|state| state.local_committed().copied());
    if let Some(committed) = committed.await.map_err(io::Error::other)?
        && !mutants::on(Mutant::Openraft2116)
    {
        shared.progress.reached(log_index(committed.index)).await;
    }
    Ok(())
}
