//! openraft's network: what it asks of peers, over our streams.
//!
//! Not here: the answering side (`server.rs`), snapshots' files (`snapshot_send.rs`).
//! Invariants: log entries, heartbeats and snapshots each have their own stream; a session that
//! did not end cleanly closes its stream; a stream with something outstanding and no answer for
//! `stream_idle_ms_max` is closed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::net::Channel;
use futures_util::StreamExt;
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};

use crate::event::lock;
use crate::link::{Link, call, dial, unexpected};
use crate::session::session;
use crate::shared::Shared;
use crate::snapshot::SnapshotData;
use crate::types::{LeaderId, PeerNode, Types, Vote};
use crate::wire::Message;
use crate::world::World;

type C<W> = Types<<W as World>::Rt>;
type SnapshotOf<W> = openraft::Snapshot<LeaderId, u64, PeerNode, SnapshotData<W>>;

pub(crate) struct Factory<W: World> {
    pub shared: Arc<Shared<W>>,
}

impl<W: World> Factory<W> {
    fn client(&self, target: u64, node: &PeerNode, channel: Channel) -> PeerClient<W> {
        PeerClient {
            shared: self.shared.clone(),
            peer: NodeId(target),
            address: node.peer_address.clone(),
            channel,
            link: Mutex::new(None),
        }
    }
}

impl<W: World> RaftNetworkFactory<C<W>> for Factory<W> {
    type Network = PeerClient<W>;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> PeerClient<W> {
        self.client(target, node, Channel::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> PeerClient<W> {
        self.client(target, node, Channel::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &PeerNode) -> PeerClient<W> {
        self.client(target, node, Channel::Snapshot)
    }
}

/// openraft's way to one peer for one purpose. Opens its stream when first used.
pub(crate) struct PeerClient<W: World> {
    pub shared: Arc<Shared<W>>,
    pub peer: NodeId,
    pub address: String,
    channel: Channel,
    /// Taken while in use: what is cancelled or fails does not come back.
    link: Mutex<Option<Link<W>>>,
}

/// Every failure here lets openraft back off before it tries again.
pub(crate) fn unreachable<W: World>(error: &io::Error) -> RPCError<C<W>> {
    RPCError::Unreachable(Unreachable::new(error))
}

/// An answer to entries or a heartbeat, in openraft's words.
pub(crate) fn append_result<W: World>(
    answer: Message,
) -> Result<StreamAppendResult<C<W>>, RPCError<C<W>>> {
    match answer {
        Message::Appended { last } => Ok(Ok(last)),
        Message::Conflict { at } => Ok(Err(StreamAppendError::Conflict(at))),
        Message::HigherVote { vote } => Ok(Err(StreamAppendError::HigherVote(vote))),
        other => Err(unreachable::<W>(&unexpected(&other))),
    }
}

pub(crate) fn append_message<W: World>(request: AppendEntriesRequest<C<W>>) -> Message {
    Message::Append {
        vote: request.vote,
        prev: request.prev_log_id,
        commit: request.leader_commit,
        entries: request.entries,
    }
}

impl<W: World> PeerClient<W> {
    pub async fn open(&mut self) -> Result<Link<W>, RPCError<C<W>>> {
        let kept = lock(&self.link).take();
        match kept {
            Some(link) => Ok(link),
            None => dial(&self.shared, self.peer, &self.address, self.channel)
                .await
                .map_err(|error| unreachable::<W>(&error)),
        }
    }

    /// Leaves a stream on which all is answered to the next user.
    pub fn keep(&mut self, link: Option<Link<W>>) {
        *lock(&self.link) = link;
    }

    async fn ask(&self, question: Message, limit: Duration) -> Result<Message, RPCError<C<W>>> {
        call(&self.shared, self.peer, &self.address, &question, limit)
            .await
            .map_err(|error| unreachable::<W>(&error))
    }

    async fn ballot(
        &self,
        request: VoteRequest<C<W>>,
        pre: bool,
        limit: Duration,
    ) -> Result<VoteResponse<C<W>>, RPCError<C<W>>> {
        let question = Message::Ballot {
            vote: request.vote,
            last: request.last_log_id,
            transfer: request.leadership_transfer,
            pre,
        };
        match self.ask(question, limit).await? {
            Message::BallotAnswer { vote, granted, last } => {
                Ok(VoteResponse::new(vote, last, granted))
            }
            other => Err(unreachable::<W>(&unexpected(&other))),
        }
    }
}

impl<W: World> RaftNetworkV2<C<W>> for PeerClient<W> {
    type SnapshotData = SnapshotData<W>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<C<W>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<C<W>>, RPCError<C<W>>> {
        let answer = self.ask(append_message::<W>(request), option.hard_ttl()).await?;
        Ok(AppendEntriesResponse::from(append_result::<W>(answer)?))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<C<W>>, RPCError<C<W>>>>, RPCError<C<W>>>,
    >
    where
        S: futures_util::Stream<Item = AppendEntriesRequest<C<W>>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft backs off inside `input`: to dial before its first request is there would
            // be to dial a dead peer without a pause.
            let mut input = input.peekable();
            if Pin::new(&mut input).peek().await.is_none() {
                let nothing: BoxStream<'s, _> = Box::pin(futures_util::stream::empty());
                return Ok(nothing);
            }
            let link = self.open().await?;
            let answers: BoxStream<'s, _> = Box::pin(session(self, link, input));
            Ok(answers)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<C<W>>,
        option: RPCOption,
    ) -> Result<VoteResponse<C<W>>, RPCError<C<W>>> {
        self.ballot(request, false, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<C<W>>,
        option: RPCOption,
    ) -> Result<VoteResponse<C<W>>, RPCError<C<W>>> {
        self.ballot(request, true, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<W>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<C<W>>, StreamingError<C<W>>> {
        let cancel = std::pin::pin!(cancel);
        let send = std::pin::pin!(crate::snapshot_send::send(self, vote, snapshot));
        match futures_util::future::select(cancel, send).await {
            futures_util::future::Either::Left((closed, _)) => Err(StreamingError::Closed(closed)),
            futures_util::future::Either::Right((Ok(vote), _)) => Ok(SnapshotResponse::new(vote)),
            futures_util::future::Either::Right((Err(error), _)) => {
                Err(StreamingError::Unreachable(Unreachable::new(&error)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<C<W>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<C<W>>, RPCError<C<W>>> {
        let question = Message::Transfer {
            from: *request.from_leader(),
            to: *request.to_node_id(),
            last: request.last_log_id().copied(),
        };
        match self.ask(question, option.hard_ttl()).await? {
            Message::TransferAnswer { accepted: true } => Ok(Ok(())),
            Message::TransferAnswer { accepted: false } => {
                let expected = request.last_log_id().copied();
                Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual: None }))
            }
            other => Err(unreachable::<W>(&unexpected(&other))),
        }
    }
}
