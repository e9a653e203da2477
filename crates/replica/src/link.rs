//! Streams to peers: opening them, the handshake, one message each way.
//!
//! Not here: what is said on them (`network.rs`, `lane.rs`), who answers (`server.rs`).
//! Invariants: nothing is said before both sides have checked the other's cluster, name, group
//! and past; a stream on which a call failed or was cancelled is never used again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bessemer_model::{GroupId, NodeId};
use bessemer_seam::net::{Channel, Net, NetReceiver, NetSender};

use crate::event::{lock, within};
use crate::peers::{Admission, Floor, condemn, keep};
use crate::shared::Shared;
use crate::wire::{Hello, Message, Refusal};
use crate::world::{ReceiverOf, SenderOf, World};

/// Idle control streams kept per peer.
const POOLED_MAX: usize = 2;

/// A stream after its handshake.
pub(crate) struct Link<W: World> {
    pub sender: SenderOf<W>,
    pub receiver: ReceiverOf<W>,
    pub group: GroupId,
}

/// The next message of a stream; a closed stream is an error.
pub(crate) async fn receive<R: NetReceiver>(
    receiver: &mut R,
    group: GroupId,
) -> io::Result<Message> {
    let Some(bytes) = receiver.receive().await? else {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the stream"));
    };
    let (of, message) = Message::decode(&bytes)?;
    if of != group {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of another group"));
    }
    Ok(message)
}

impl<W: World> Link<W> {
    pub async fn send(&mut self, message: &Message) -> io::Result<()> {
        self.sender.send(message.encode(self.group)).await
    }

    pub async fn receive(&mut self) -> io::Result<Message> {
        receive(&mut self.receiver, self.group).await
    }

    async fn receive_hello(&mut self) -> io::Result<Hello> {
        match self.receive().await? {
            Message::Hello(hello) => Ok(hello),
            other => Err(unexpected(&other)),
        }
    }

    /// As `ask`, with how long it took.
    async fn time(
        &mut self,
        shared: &Shared<W>,
        question: &Message,
    ) -> io::Result<(Message, Duration)> {
        let asked_at = shared.runtime.elapsed();
        let answer = self.ask(question).await?;
        Ok((answer, shared.runtime.elapsed().saturating_sub(asked_at)))
    }

    /// Sends a question and waits for its answer.
    pub async fn ask(&mut self, question: &Message) -> io::Result<Message> {
        self.send(question).await?;
        self.receive().await
    }
}

pub(crate) fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}

pub(crate) fn unexpected(message: &Message) -> io::Error {
    let text = match message {
        Message::Refused(why) => format!("the peer refused: {why:?}"),
        Message::NotLeader => "the peer does not lead".to_owned(),
        _ => "an answer that does not fit the question".to_owned(),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn hello<W: World>(shared: &Shared<W>, to: NodeId) -> Hello {
    Hello {
        cluster_id: shared.options.cluster_id.clone(),
        from: shared.options.node,
        to,
        boot: shared.options.boot,
        data: shared.options.data,
        last_index: shared.last_index(),
    }
}

/// A node whose disk lost data neither asks nor answers.
fn condemned() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "this node's disk lost data")
}

/// Opens a stream to `peer` and shakes hands, all within the call timeout.
pub(crate) async fn dial<W: World>(
    shared: &Arc<Shared<W>>,
    peer: NodeId,
    address: &str,
    channel: Channel,
) -> io::Result<Link<W>> {
    assert_ne!(peer, shared.options.node, "a node never connects to itself");
    if shared.peers.condemned() {
        return Err(condemned());
    }
    let timeout_ms = shared.options.call_timeout_ms;
    let limit = Duration::from_millis(timeout_ms);
    let work = async {
        let (sender, receiver) = shared.net.connect(peer, address, channel, timeout_ms).await?;
        let mut link = Link { sender, receiver, group: shared.options.group };
        let floor = floor(shared, peer);
        link.send(&Message::Hello(hello(shared, peer))).await?;
        let welcome = match verdict(shared, &mut link, peer).await? {
            Message::Welcome(welcome) => welcome,
            other => return Err(unexpected(&other)),
        };
        let refusal = match named(shared, &welcome, peer) {
            Ok(()) => check_past(shared, &mut link, welcome, floor).await?,
            Err(why) => Some(why),
        };
        finish(&mut link, refusal, &Message::Admitted).await.map(|()| link)
    };
    within(&*shared.runtime, limit, work).await.unwrap_or_else(|| Err(timed_out("connecting")))
}

/// What the other side of a handshake makes of this node, which says its `Hello` again when asked.
async fn verdict<W: World>(
    shared: &Arc<Shared<W>>,
    link: &mut Link<W>,
    peer: NodeId,
) -> io::Result<Message> {
    let mut said = link.receive().await?;
    if said == Message::SayAgain {
        said = link.ask(&Message::Hello(hello(shared, peer))).await?;
    }
    if said == Message::Refused(Refusal::PeerWentBack) {
        condemn(shared, peer);
        return Err(condemned());
    }
    Ok(said)
}

/// Tells the other side what became of it: `refusal`, which ends the stream, or else `welcome`.
async fn finish<W: World>(
    link: &mut Link<W>,
    refusal: Option<Refusal>,
    welcome: &Message,
) -> io::Result<()> {
    let Some(why) = refusal else { return link.send(welcome).await };
    link.send(&Message::Refused(why)).await?;
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("refused the peer: {why:?}")))
}

/// What `peer` must hold when it is asked now.
fn floor<W: World>(shared: &Shared<W>, peer: NodeId) -> Floor {
    if shared.role.leading() {
        // What is remembered may be a second old.
        crate::watch::remember(shared);
    }
    shared.peers.floor(peer)
}

/// Checks the names in what a peer says of itself. `peer`: who it must be, 0 for anyone but this
/// node.
fn named<W: World>(shared: &Shared<W>, hello: &Hello, peer: NodeId) -> Result<(), Refusal> {
    if hello.cluster_id != shared.options.cluster_id {
        return Err(Refusal::WrongCluster);
    }
    let named = peer == NodeId(0) || hello.from == peer;
    if hello.to != shared.options.node || hello.from == hello.to || !named {
        return Err(Refusal::WrongNode);
    }
    Ok(())
}

/// Whether `peer` may count in a majority, as far as this node can tell. One that knows no membership
/// yet takes everyone for a member.
fn is_member<W: World>(shared: &Shared<W>, peer: NodeId) -> bool {
    let membership = crate::watch::membership_of(shared);
    let in_force = membership.get_node(&peer.0).is_some() || membership.nodes().next().is_none();
    in_force || shared.peers.was_member(peer)
}

/// Checks a peer's past; what is new of it is durable when this returns. A node that is no member
/// has none: when it becomes one, this node dials it.
async fn admit<W: World>(
    shared: &Arc<Shared<W>>,
    hello: &Hello,
    floor: Floor,
) -> io::Result<Option<Refusal>> {
    if !is_member(shared, hello.from) {
        return Ok(None);
    }
    let admission = shared.peers.admit(hello, floor);
    if admission == Admission::New {
        keep(shared).await?;
    }
    Ok(admission.refusal())
}

/// The accepting side of the handshake: gives the stream and who is at its other end.
/// `refuse`: answers with this whoever it is.
pub(crate) async fn greet<W: World>(
    shared: &Arc<Shared<W>>,
    sender: SenderOf<W>,
    receiver: ReceiverOf<W>,
    refuse: Option<Refusal>,
) -> io::Result<(Link<W>, NodeId)> {
    if shared.peers.condemned() {
        return Err(condemned());
    }
    let mut link = Link { sender, receiver, group: shared.options.group };
    let limit = Duration::from_millis(shared.options.call_timeout_ms);
    let work = async {
        let hello = link.receive_hello().await?;
        let from = hello.from;
        let mut refusal = named(shared, &hello, NodeId(0)).err().or(refuse);
        if refusal.is_none() {
            let floor = floor(shared, from);
            refusal = check_past(shared, &mut link, hello, floor).await?;
        }
        let welcome = Message::Welcome(self::hello(shared, from));
        finish(&mut link, refusal, &welcome).await?;
        match verdict(shared, &mut link, from).await? {
            Message::Admitted => Ok((link, from)),
            other => Err(unexpected(&other)),
        }
    };
    within(&*shared.runtime, limit, work).await.unwrap_or_else(|| Err(timed_out("a handshake")))
}

/// Whether the peer that said `hello` is to be refused. One that seems to lack what it held may
/// have said so before it held it, and one from before its last start may be gone: it is asked
/// again, and compared with what was known then.
async fn check_past<W: World>(
    shared: &Arc<Shared<W>>,
    link: &mut Link<W>,
    hello: Hello,
    floor: Floor,
) -> io::Result<Option<Refusal>> {
    if admit(shared, &hello, floor).await?.is_none() {
        return Ok(None);
    }
    link.send(&Message::SayAgain).await?;
    let again = link.receive_hello().await?;
    if again.from != hello.from {
        return Ok(Some(Refusal::WrongNode));
    }
    let refusal = admit(shared, &again, floor).await?;
    if refusal == Some(Refusal::PeerWentBack) {
        shared.peers.refuse(&again, floor);
    }
    Ok(refusal)
}

/// Control streams that are not in use.
pub(crate) struct Pool<W: World> {
    idle: Mutex<BTreeMap<NodeId, Vec<Link<W>>>>,
}

impl<W: World> Default for Pool<W> {
    fn default() -> Self {
        Pool { idle: Mutex::default() }
    }
}

impl<W: World> Pool<W> {
    fn take(&self, peer: NodeId) -> Option<Link<W>> {
        lock(&self.idle).get_mut(&peer)?.pop()
    }

    fn give(&self, peer: NodeId, link: Link<W>) {
        let mut idle = lock(&self.idle);
        let links = idle.entry(peer).or_default();
        if links.len() < POOLED_MAX {
            links.push(link);
        }
    }

    /// Closes the idle streams to `peer`.
    pub fn forget(&self, peer: NodeId) {
        lock(&self.idle).remove(&peer);
    }

    pub fn clear(&self) {
        lock(&self.idle).clear();
    }
}

/// Asks `peer` over a control stream, within `limit`. A stream that was idle and turns out dead
/// is replaced once: questions on control streams may be asked twice.
pub(crate) async fn call<W: World>(
    shared: &Arc<Shared<W>>,
    peer: NodeId,
    address: &str,
    question: &Message,
    limit: Duration,
) -> io::Result<Message> {
    timed_call(shared, peer, address, question, limit).await.map(|(answer, _)| answer)
}

/// As `call`, with the round trip: from the question to its answer, without opening a stream.
pub(crate) async fn timed_call<W: World>(
    shared: &Arc<Shared<W>>,
    peer: NodeId,
    address: &str,
    question: &Message,
    limit: Duration,
) -> io::Result<(Message, Duration)> {
    let work = async {
        if let Some(mut link) = shared.pool.take(peer) {
            if let Ok(answered) = link.time(shared, question).await {
                shared.pool.give(peer, link);
                return Ok(answered);
            }
            shared.pool.forget(peer);
        }
        let mut link = dial(shared, peer, address, Channel::Control).await?;
        let answered = link.time(shared, question).await?;
        shared.pool.give(peer, link);
        Ok(answered)
    };
    match within(&*shared.runtime, limit, work).await {
        Some(result) => result,
        None => {
            shared.pool.forget(peer);
            Err(timed_out("an answer of a peer"))
        }
    }
}
