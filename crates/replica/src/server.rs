//! The answering side of every stream peers open to this node.
//!
//! Not here: opening streams (`link.rs`), deciding (openraft, engine).
//! Invariants: at most `accepted_streams_max` streams at once; a stream without a message for
//! `accepted_idle_ms_max` is closed; answers on one stream are in the order of the questions.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::mutants::{self, Mutant};
use bessemer_seam::net::{Channel, Net, NetReceiver, NetSender};
use futures_util::{Stream, StreamExt};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, TransferLeaderRequest, VoteRequest};

use crate::event::{unless, within};
use crate::link::{Link, greet, receive, unexpected};
use crate::peers::condemn;
use crate::shared::Shared;
use crate::types::Types;
use crate::wire::{Message, Refusal};
use crate::world::{ReceiverOf, SenderOf, World};

/// How soon room in the log's queue is looked for again.
const ROOM_LOOK_MS: u64 = 5;

/// Accepts streams until the replica stops.
pub(crate) async fn accept_loop<W: World>(shared: Arc<Shared<W>>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let Some(accepted) = unless(&shared.stop, shared.net.accept()).await else { return };
        let (channel, sender, receiver) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                return shared.fatal.report(format_args!("the peer listener is gone: {error}"));
            }
        };
        let counted = Counted::new(&open);
        let full = open.load(Ordering::SeqCst) > shared.options.accepted_streams_max;
        let stream_shared = shared.clone();
        shared.tasks.spawn(async move {
            let shared = stream_shared;
            let serve = serve(&shared, channel, sender, receiver, full);
            if let Some(Err(error)) = unless(&shared.stop, serve).await {
                tracing::debug!(?channel, %error, "a peer's stream ended");
            }
            drop(counted);
        });
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::SeqCst);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve<W: World>(
    shared: &Arc<Shared<W>>,
    channel: Channel,
    sender: SenderOf<W>,
    receiver: ReceiverOf<W>,
    full: bool,
) -> io::Result<()> {
    let refuse = if full {
        Some(Refusal::Overloaded)
    } else if channel == Channel::Forward && !crate::lane::serving(shared) {
        Some(Refusal::NotLeader)
    } else {
        None
    };
    let (link, from) = greet(shared, sender, receiver, refuse).await?;
    match channel {
        Channel::Append => serve_append(shared, link).await,
        Channel::Control => serve_control(shared, link, from).await,
        Channel::Snapshot => crate::snapshot_receive::serve(shared, link).await,
        Channel::Forward => crate::forward::serve(shared, link, from).await,
    }
}

/// Entries from a leader: pipelined through openraft, answered in order.
async fn serve_append<W: World>(shared: &Arc<Shared<W>>, link: Link<W>) -> io::Result<()> {
    let Link { mut sender, receiver, group } = link;
    let requests = requests(shared.clone(), receiver);
    let mut answers = std::pin::pin!(shared.raft().stream_append(requests));
    while let Some(answer) = answers.next().await {
        let message = match answer.map_err(io::Error::other)? {
            Ok(last) => Message::Appended { last },
            Err(StreamAppendError::Conflict(at)) => Message::Conflict { at },
            Err(StreamAppendError::HigherVote(vote)) => Message::HigherVote { vote },
        };
        sender.send(message.encode(group)).await?;
    }
    Ok(())
}

/// The requests of a stream, until it ends, idles, or says something else.
fn requests<W: World>(
    shared: Arc<Shared<W>>,
    receiver: ReceiverOf<W>,
) -> impl Stream<Item = AppendEntriesRequest<Types<W::Rt>>> + Send + 'static {
    futures_util::stream::unfold((shared, receiver), |(shared, mut receiver)| async move {
        let idle = Duration::from_millis(shared.options.accepted_idle_ms_max);
        let next = within(&*shared.runtime, idle, next_request(&shared, &mut receiver));
        let request = unless(&shared.stop, next).await??.ok()?;
        Some((request, (shared, receiver)))
    })
}

async fn next_request<W: World, R: NetReceiver>(
    shared: &Shared<W>,
    receiver: &mut R,
) -> io::Result<AppendEntriesRequest<Types<W::Rt>>> {
    // A leader that catches this node up sends faster than a slow device writes.
    while !shared.log.has_room() {
        shared.runtime.sleep(Duration::from_millis(ROOM_LOOK_MS)).await;
    }
    let message = receive(receiver, shared.options.group).await?;
    append_request(shared, message)
}

fn append_request<W: World>(
    shared: &Shared<W>,
    message: Message,
) -> io::Result<AppendEntriesRequest<Types<W::Rt>>> {
    match message {
        Message::Append { vote, prev, commit, entries } => Ok(AppendEntriesRequest {
            vote,
            prev_log_id: prev,
            // Held back while a snapshot comes in: see `snapshot_receive.rs`.
            leader_commit: match entries.last() {
                Some(last) if mutants::on(Mutant::CommitsWhatItHolds) => Some(last.log_id),
                _ if mutants::on(Mutant::Openraft2116) => commit,
                _ if shared.retention.is_receiving() => None,
                _ => commit,
            },
            entries,
        }),
        other => Err(unexpected(&other)),
    }
}

/// Questions with one answer each.
async fn serve_control<W: World>(
    shared: &Arc<Shared<W>>,
    mut link: Link<W>,
    from: NodeId,
) -> io::Result<()> {
    loop {
        let idle = Duration::from_millis(shared.options.accepted_idle_ms_max);
        let Some(question) = within(&*shared.runtime, idle, link.receive()).await else {
            return Ok(());
        };
        let answer = answer(shared, question?, from).await?;
        link.send(&answer).await?;
    }
}

async fn answer<W: World>(
    shared: &Arc<Shared<W>>,
    question: Message,
    from: NodeId,
) -> io::Result<Message> {
    let raft = shared.raft();
    Ok(match question {
        Message::Append { .. } => {
            let request = append_request(shared, question)?;
            let prev = request.prev_log_id;
            let last = request.entries.last().map(|entry| entry.log_id).or(prev);
            let answer = raft.append_entries(request).await.map_err(io::Error::other)?;
            match answer.into_stream_result(prev, last) {
                Ok(last) => Message::Appended { last },
                Err(StreamAppendError::Conflict(at)) => Message::Conflict { at },
                Err(StreamAppendError::HigherVote(vote)) => Message::HigherVote { vote },
            }
        }
        Message::Ballot { vote, last, transfer, pre } => {
            let last = match crate::log_store::last_log_id(&shared.group_log) {
                Ok(own) if mutants::on(Mutant::Openraft1220) => own,
                _ => last,
            };
            let mut request = VoteRequest::new(vote, last);
            request.leadership_transfer = transfer;
            let answer = if pre { raft.pre_vote(request).await } else { raft.vote(request).await };
            let answer = answer.map_err(io::Error::other)?;
            Message::BallotAnswer {
                vote: answer.vote,
                granted: answer.vote_granted,
                last: answer.last_log_id,
            }
        }
        Message::Transfer { from, to, last } => {
            let request = TransferLeaderRequest::new(from, to, last);
            let answer = raft.handle_transfer_leader(request).await.map_err(io::Error::other)?;
            Message::TransferAnswer { accepted: answer.is_ok() }
        }
        Message::Ping { held } => {
            // Whoever says so learned it from this node, so this node still holds it.
            let me = shared.options.node;
            let lost = |(node, index): &(NodeId, u64)| *node == me && *index > shared.last_index();
            if held.iter().any(lost) {
                condemn(shared, from);
                return Err(io::Error::other("this node's disk lost data"));
            }
            held.into_iter().for_each(|(node, index)| shared.peers.holds(node, index));
            let disk_low = shared.log.stats().low;
            Message::Pong { wall_ms: shared.runtime.wall_ms(), disk_low }
        }
        Message::ReadIndex => {
            let index = crate::reads::leader_index(shared).await;
            Message::ReadIndexAnswer { index: index.map(|index| index.0) }
        }
        other => {
            tracing::debug!(%from, "a peer said something that is no question");
            return Err(unexpected(&other));
        }
    })
}
