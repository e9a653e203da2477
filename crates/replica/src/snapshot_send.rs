//! Sending a snapshot, file by file, on its own stream.
//!
//! Not here: the receiving side (`snapshot_receive.rs`), when a follower needs one (openraft).
//! The follower says how much of each file it holds: an interrupted transfer goes on there.
//! Invariant: while it runs, and until the follower went on from it, the log after the snapshot is
//! kept.

use std::io;
use std::time::Duration;

use bessemer_seam::net::NetSender;
use bessemer_seam::state_store::{Checkpoint, SnapshotFile};
use openraft::AsyncRuntime;

use crate::event::within;
use crate::link::{Link, timed_out, unexpected};
use crate::network::PeerClient;
use crate::snapshot::{Current, SnapshotData};
use crate::types::{LeaderId, PeerNode, Vote};
use crate::wire::Message;
use crate::world::World;

/// How much longer than one silence the follower may take to check and install everything.
const INSTALL_TIMES_MAX: u32 = 100;

/// How long the log after a snapshot is kept for a follower that does not go on from it.
const WENT_ON_MAX: Duration = Duration::from_secs(60);

type SnapshotOf<W> = openraft::Snapshot<LeaderId, u64, PeerNode, SnapshotData<W>>;

/// Sends `snapshot` under the leader's `vote`; gives the follower's vote once it is installed.
pub(crate) async fn send<W: World>(
    client: &mut PeerClient<W>,
    vote: Vote,
    snapshot: SnapshotOf<W>,
) -> io::Result<Vote> {
    let SnapshotData::Held(current) = snapshot.snapshot else {
        return Err(io::Error::other("a snapshot that was received is installed, not sent"));
    };
    let shared = client.shared.clone();
    let (index, began) = (current.index(), shared.runtime.elapsed());
    let bytes: u64 = current.checkpoint.files().iter().map(|file| file.bytes).sum();
    let _kept = shared.retention.sending(index);
    let mut link = client.open().await.map_err(io::Error::other)?;
    let idle = Duration::from_millis(shared.options.stream_idle_ms_max);
    let limited = |times: u32| idle.saturating_mul(times);
    let offer = Message::SnapshotOffer {
        vote,
        meta: current.meta.clone(),
        label: current.label.clone(),
        files: current.checkpoint.files().to_vec(),
    };
    let answer = within(&*shared.runtime, limited(1), link.ask(&offer)).await;
    let held = match answer.unwrap_or_else(|| Err(timed_out("offering a snapshot")))? {
        Message::SnapshotWanted { held } => held,
        Message::HigherVote { vote } => return Ok(vote),
        other => return Err(unexpected(&other)),
    };
    tracing::info!(follower = %client.peer, %index, bytes, "sending a snapshot");
    let chunk_bytes = shared.options.snapshot_chunk_bytes;
    for (number, file) in current.checkpoint.files().iter().enumerate() {
        let mut offset = held.get(number).copied().unwrap_or(0);
        while offset < file.bytes {
            let bytes = read::<W>(&current, file, offset, chunk_bytes).await?;
            offset += bytes.len() as u64;
            let chunk = chunk_message(&link, number, offset, bytes);
            let sent = within(&*shared.runtime, limited(1), link.sender.send(chunk)).await;
            sent.unwrap_or_else(|| Err(timed_out("sending a snapshot")))?;
        }
    }
    let answer = link.ask(&Message::SnapshotEnd);
    let answer = within(&*shared.runtime, limited(INSTALL_TIMES_MAX), answer).await;
    match answer.unwrap_or_else(|| Err(timed_out("installing a snapshot")))? {
        Message::SnapshotInstalled { vote: new } => {
            let now = shared.runtime.elapsed();
            let (follower, took) = (client.peer, now.saturating_sub(began));
            tracing::info!(%follower, %index, ?took, "the follower installed a snapshot");
            shared.retention.sent(follower, index, bytes, now + WENT_ON_MAX);
            Ok(new)
        }
        Message::HigherVote { vote } => Ok(vote),
        other => Err(unexpected(&other)),
    }
}

/// The message for the bytes of a file that end at `end`.
fn chunk_message<W: World>(link: &Link<W>, number: usize, end: u64, bytes: Vec<u8>) -> Vec<u8> {
    let file = u32::try_from(number).expect("a snapshot has fewer than 2^32 files");
    let offset = end - bytes.len() as u64;
    Message::SnapshotChunk { file, offset, bytes }.encode(link.group)
}

async fn read<W: World>(
    current: &Current<W>,
    file: &SnapshotFile,
    offset: u64,
    chunk_bytes: usize,
) -> io::Result<Vec<u8>> {
    let bytes = chunk_bytes.min(usize::try_from(file.bytes - offset).unwrap_or(chunk_bytes));
    let (checkpoint, name) = (current.checkpoint.clone(), file.name.clone());
    W::Rt::spawn_blocking(move || {
        let mut chunk = vec![0; bytes];
        checkpoint.read_at(&name, offset, &mut chunk).map(|()| chunk)
    })
    .await?
}
