//! The network between machines: ordered streams over links that delay, stall, break and part.
//!
//! Not here: what a message says. A cut link stalls what is on it, as TCP does; healing delivers
//! it or resets the stream, by chance. A killed process resets its streams; a machine without
//! power is silent until it starts again.
//! Invariants: a stream delivers a prefix of what was sent, in order; after an error nothing more;
//!   no wake and no drop of a message happens under the lock.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::net::{Channel, MESSAGE_BYTES_MAX, Net, NetReceiver, NetSender};

use crate::runtime::{Life, Sim, Sleep, Timeout};
use crate::seed::Rng;

/// Bytes in flight on one direction of a stream before a sender waits.
const PIPE_BYTES_MAX: usize = 256 << 10;
/// Streams that may wait to be accepted.
const BACKLOG_MAX: usize = 64;

/// How one direction between two machines behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// A message takes between the two, in microseconds.
    pub delay_us: (u64, u64),
    /// Bandwidth.
    pub bytes_per_ms: u64,
    /// Chance that a message breaks its stream, in a million.
    pub reset_per_million: u32,
    /// Nothing comes through.
    pub cut: bool,
}

impl Default for Link {
    /// One rack: a quarter of a millisecond, a gigabit.
    fn default() -> Link {
        Link { delay_us: (100, 400), bytes_per_ms: 125_000, reset_per_million: 0, cut: false }
    }
}

/// What the network did, so that a run can show that its faults fired.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetCounters {
    pub connects: u64,
    pub connects_failed: u64,
    pub messages: u64,
    pub bytes: u64,
    /// Streams broken by a bad link, a heal or a death.
    pub resets: u64,
    /// Messages that were held up by a cut link.
    pub stalled: u64,
    /// Messages that arrived long after their sender had given up their stream.
    pub late: u64,
}

enum Item {
    Message(Vec<u8>),
    /// The sender was dropped between messages.
    End,
    Reset,
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Item::Message(message) => message.len(),
            Item::End | Item::Reset => 0,
        }
    }
}

/// One direction of a stream.
struct Pipe {
    from: NodeId,
    to: NodeId,
    channel: Channel,
    /// The other direction of the same stream.
    back: u64,
    /// What is on its way, with its time of arrival (true time, nanoseconds), ascending.
    items: VecDeque<(u64, Item)>,
    bytes: usize,
    /// Broken for the sender: the receiver learns it from `Item::Reset`.
    broken: bool,
    /// The receiver was dropped by a living process: a sender is told so.
    refused: bool,
    /// Both ends gone, by drop or by death, frees the pipe.
    sender_gone: bool,
    receiver_gone: bool,
    sender: Option<Waker>,
    receiver: Option<Waker>,
}

type Incoming = (Channel, SimSender, SimReceiver);

struct Listener {
    life: Life,
    waiting: VecDeque<Incoming>,
    waker: Option<Waker>,
}

struct State {
    rng: Rng,
    usual: Link,
    links: BTreeMap<(NodeId, NodeId), Link>,
    listeners: BTreeMap<NodeId, Listener>,
    pipes: BTreeMap<u64, Pipe>,
    next_pipe: u64,
    counters: NetCounters,
}

struct Inner {
    sim: Sim,
    state: Mutex<State>,
}

/// The network. Cheap to clone.
#[derive(Clone)]
pub struct SimNet {
    inner: Arc<Inner>,
}

/// How the machine of a life went down, as its peers see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Farewell {
    /// The kernel is still there and resets its streams.
    Reset,
    /// Nothing is heard of it until it starts again.
    Silence,
}

impl SimNet {
    pub fn new(sim: &Sim, usual: Link) -> SimNet {
        let state = State {
            rng: sim.fork_rng(),
            usual,
            links: BTreeMap::new(),
            listeners: BTreeMap::new(),
            pipes: BTreeMap::new(),
            next_pipe: 0,
            counters: NetCounters::default(),
        };
        SimNet { inner: Arc::new(Inner { sim: sim.clone(), state: Mutex::new(state) }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ns(&self) -> u64 {
        self.inner.sim.now().as_nanos() as u64
    }

    /// The network as `node` sees it in `life`: listens at once. Streams that its machine still
    /// had from an earlier life are reset.
    pub fn open(&self, node: NodeId, life: Life) -> NodeNet {
        self.reset_streams(node);
        let listener = Listener { life, waiting: VecDeque::new(), waker: None };
        let old = self.lock().listeners.insert(node, listener);
        drop(old);
        NodeNet { net: self.clone(), node, life }
    }

    /// Takes leave of a dead machine.
    pub fn close(&self, node: NodeId, farewell: Farewell) {
        let old = self.lock().listeners.remove(&node);
        drop(old);
        match farewell {
            Farewell::Reset => self.reset_streams(node),
            Farewell::Silence => {}
        }
    }

    fn reset_streams(&self, node: NodeId) {
        self.break_pipes(|_, pipe| pipe.from == node || pipe.to == node);
    }

    /// Breaks every stream that one of the two nodes has on `channel` with the other.
    pub fn break_streams(&self, one: NodeId, other: NodeId, channel: Channel) {
        self.break_pipes(|_, pipe| {
            pipe.channel == channel && (pipe.from, pipe.to) == (one.min(other), one.max(other))
        });
    }

    /// The same, but only the sender learns it at once: what it has sent arrives up to `late`
    /// later, when it may have been sent again on a new stream.
    pub fn break_streams_late(&self, one: NodeId, other: NodeId, channel: Channel, late: Duration) {
        let now_ns = self.now_ns();
        let mut rest = Rest::default();
        let mut state = self.lock();
        let its = |pipe: &Pipe| {
            pipe.channel == channel && (pipe.from, pipe.to) == (one.min(other), one.max(other))
        };
        let chosen: Vec<u64> =
            state.pipes.iter().filter(|(_, pipe)| its(pipe)).map(|(&id, _)| id).collect();
        for id in chosen {
            state.break_late(id, now_ns, late.as_nanos() as u64, &mut rest);
        }
        drop(state);
        rest.finish();
    }

    fn break_pipes(&self, which: impl Fn(u64, &Pipe) -> bool) {
        let now_ns = self.now_ns();
        let mut rest = Rest::default();
        let mut state = self.lock();
        let chosen: Vec<u64> =
            state.pipes.iter().filter(|(id, pipe)| which(**id, pipe)).map(|(&id, _)| id).collect();
        for id in chosen {
            state.break_stream(id, now_ns, &mut rest);
        }
        drop(state);
        rest.finish();
    }

    /// Changes the link from one machine to another.
    pub fn set_link(&self, from: NodeId, to: NodeId, link: Link) {
        self.inner.sim.note(format_args!("net link {from}>{to} {link:?}"));
        let now_ns = self.now_ns();
        let mut rest = Rest::default();
        let mut state = self.lock();
        let was_cut = state.link(from, to).cut;
        state.links.insert((from, to), link);
        if was_cut && !link.cut {
            state.heal(from, to, now_ns, &mut rest);
        }
        drop(state);
        rest.finish();
    }

    pub fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.lock().link(from, to)
    }

    /// Cuts or heals one direction, leaving its other properties.
    pub fn set_cut(&self, from: NodeId, to: NodeId, cut: bool) {
        self.set_link(from, to, Link { cut, ..self.link(from, to) });
    }

    /// Makes every link usual again.
    pub fn heal_all(&self) {
        let (links, usual) = {
            let state = self.lock();
            (state.links.keys().copied().collect::<Vec<_>>(), state.usual)
        };
        for (from, to) in links {
            self.set_link(from, to, usual);
        }
    }

    pub fn counters(&self) -> NetCounters {
        self.lock().counters
    }
}

/// What must happen after the lock is gone: wakes, and drops of messages.
#[derive(Default)]
struct Rest {
    wakers: Vec<Waker>,
    items: Vec<(u64, Item)>,
}

impl Rest {
    fn wake(&mut self, waker: &mut Option<Waker>) {
        self.wakers.extend(waker.take());
    }

    fn finish(self) {
        for waker in self.wakers {
            waker.wake();
        }
        drop(self.items);
    }
}

impl State {
    fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(self.usual)
    }

    fn delay_ns(&mut self, from: NodeId, to: NodeId, bytes: usize) -> u64 {
        let link = self.link(from, to);
        let (low, high) = link.delay_us;
        self.rng.between(low, high) * 1_000 + bytes as u64 * 1_000_000 / link.bytes_per_ms.max(1)
    }

    /// Puts `item` on its way, behind everything that is already on it.
    fn push(&mut self, id: u64, now_ns: u64, item: Item, rest: &mut Rest) {
        let Some(pipe) = self.pipes.get(&id) else { return };
        let (from, to) = (pipe.from, pipe.to);
        let arrives = now_ns + self.delay_ns(from, to, item.bytes());
        let pipe = self.pipes.get_mut(&id).expect("looked up above");
        let arrives = pipe.items.back().map_or(arrives, |&(last, _)| arrives.max(last));
        pipe.bytes += item.bytes();
        pipe.items.push_back((arrives, item));
        rest.wake(&mut pipe.receiver);
    }

    /// Breaks both directions: a random part of what was on its way is lost.
    fn break_stream(&mut self, id: u64, now_ns: u64, rest: &mut Rest) {
        let Some(back) = self.pipes.get(&id).map(|pipe| pipe.back) else { return };
        for direction in [id, back] {
            let keep = match self.pipes.get(&direction) {
                Some(pipe) if !pipe.broken => self.rng.below(pipe.items.len() as u64 + 1) as usize,
                _ => continue,
            };
            let pipe = self.pipes.get_mut(&direction).expect("looked up above");
            pipe.broken = true;
            rest.items.extend(pipe.items.drain(keep..));
            pipe.bytes = pipe.items.iter().map(|(_, item)| item.bytes()).sum();
            rest.wake(&mut pipe.sender);
            self.push(direction, now_ns, Item::Reset, rest);
            self.counters.resets += 1;
        }
    }

    /// Breaks both directions for their senders; what is on its way arrives late, and whole.
    fn break_late(&mut self, id: u64, now_ns: u64, late_ns: u64, rest: &mut Rest) {
        let Some(back) = self.pipes.get(&id).map(|pipe| pipe.back) else { return };
        for direction in [id, back] {
            let arrives = now_ns + self.rng.between(late_ns / 4, late_ns);
            let Some(pipe) = self.pipes.get_mut(&direction).filter(|pipe| !pipe.broken) else {
                continue;
            };
            pipe.broken = true;
            let messages = pipe.items.iter().filter(|(_, item)| item.bytes() > 0).count() as u64;
            for (at, _) in &mut pipe.items {
                *at = (*at).max(arrives);
            }
            rest.wake(&mut pipe.sender);
            self.push(direction, now_ns, Item::Reset, rest);
            self.counters.late += messages;
            self.counters.resets += 1;
        }
    }

    /// A healed link delivers what was stalled on it, or has given up its stream.
    fn heal(&mut self, from: NodeId, to: NodeId, now_ns: u64, rest: &mut Rest) {
        let ids: Vec<u64> = self
            .pipes
            .iter()
            .filter(|(_, pipe)| pipe.from == from && pipe.to == to && !pipe.items.is_empty())
            .map(|(&id, _)| id)
            .collect();
        for id in ids {
            if self.rng.chance(500_000) {
                self.break_stream(id, now_ns, rest);
            }
            let arrives = now_ns + self.delay_ns(from, to, 0);
            let pipe = self.pipes.get_mut(&id).expect("listed above");
            for (at, _) in &mut pipe.items {
                *at = (*at).max(arrives);
            }
            rest.wake(&mut pipe.receiver);
        }
    }

    fn add_stream(&mut self, from: NodeId, to: NodeId, channel: Channel) -> (u64, u64) {
        let (there, back) = (self.next_pipe, self.next_pipe + 1);
        self.next_pipe += 2;
        let mut add = |id, from, to, back| {
            let pipe = Pipe {
                from,
                to,
                channel,
                back,
                items: VecDeque::new(),
                bytes: 0,
                broken: false,
                refused: false,
                sender_gone: false,
                receiver_gone: false,
                sender: None,
                receiver: None,
            };
            self.pipes.insert(id, pipe);
        };
        add(there, from, to, back);
        add(back, to, from, there);
        (there, back)
    }
}

/// One node's door to the network in one life.
#[derive(Clone)]
pub struct NodeNet {
    net: SimNet,
    node: NodeId,
    life: Life,
}

impl NodeNet {
    /// How a stream from here to `peer` begins; never completes while a link is cut.
    async fn open_stream(&self, peer: NodeId, channel: Channel) -> io::Result<Incoming> {
        let there_ns = self.net.lock().delay_ns(self.node, peer, 0);
        self.net.inner.sim.sleep(Duration::from_nanos(there_ns)).await;
        let cut = self.net.link(self.node, peer).cut || self.net.link(peer, self.node).cut;
        if cut {
            return std::future::pending().await;
        }
        let opened = self.knock(peer, channel);
        let back_ns = self.net.lock().delay_ns(peer, self.node, 0);
        self.net.inner.sim.sleep(Duration::from_nanos(back_ns)).await;
        opened
    }

    /// Hands a new stream to the peer's listener.
    fn knock(&self, peer: NodeId, channel: Channel) -> io::Result<Incoming> {
        let net = &self.net;
        let mut state = net.lock();
        let listening = state.listeners.get(&peer).is_some_and(|listener| {
            listener.waiting.len() < BACKLOG_MAX && net.inner.sim.is_alive(listener.life)
        });
        if !listening {
            let text = format!("node {peer} does not listen");
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
        }
        let (there, back) = state.add_stream(self.node, peer, channel);
        let listener = state.listeners.get_mut(&peer).expect("it listens");
        let life = listener.life;
        listener.waiting.push_back((
            channel,
            SimSender { end: End { net: net.clone(), pipe: back, life } },
            SimReceiver { end: End { net: net.clone(), pipe: there, life }, arrival: None },
        ));
        let waker = listener.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok((
            channel,
            SimSender { end: End { net: net.clone(), pipe: there, life: self.life } },
            SimReceiver {
                end: End { net: net.clone(), pipe: back, life: self.life },
                arrival: None,
            },
        ))
    }
}

impl Net for NodeNet {
    type Sender = SimSender;
    type Receiver = SimReceiver;

    async fn connect(
        &self,
        peer: NodeId,
        _address: &str,
        channel: Channel,
        timeout_ms: u64,
    ) -> io::Result<(SimSender, SimReceiver)> {
        assert!(peer != self.node, "node {peer} connects to itself");
        let sim = &self.net.inner.sim;
        let limit = sim.sleep_of(self.life, Duration::from_millis(timeout_ms));
        let opened = Timeout::new(Box::pin(self.open_stream(peer, channel)), limit)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut state = self.net.lock();
        match &opened {
            Ok(_) => state.counters.connects += 1,
            Err(_) => state.counters.connects_failed += 1,
        }
        drop(state);
        let result = opened.as_ref().map_or_else(|error| error.kind().to_string(), |_| "ok".into());
        sim.note(format_args!("net connect {}>{peer} {channel:?} {result}", self.node));
        opened.map(|(_, sender, receiver)| (sender, receiver))
    }

    async fn accept(&self) -> io::Result<(Channel, SimSender, SimReceiver)> {
        poll_fn(|cx| {
            let mut state = self.net.lock();
            let gone = || io::Error::new(io::ErrorKind::NotConnected, "the listener is gone");
            let Some(listener) = state.listeners.get_mut(&self.node) else {
                return Poll::Ready(Err(gone()));
            };
            if listener.life != self.life {
                return Poll::Ready(Err(gone()));
            }
            match listener.waiting.pop_front() {
                Some(stream) => Poll::Ready(Ok(stream)),
                None => {
                    listener.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// One end of one direction.
struct End {
    net: SimNet,
    pipe: u64,
    life: Life,
}

impl End {
    /// Lets go of this end. A dead life does not even say good-bye: its machine did, or not.
    fn leave(&self, leave: impl FnOnce(&mut State, &mut Rest)) {
        let mut rest = Rest::default();
        let mut state = self.net.lock();
        leave(&mut state, &mut rest);
        if let Some(pipe) = state.pipes.get(&self.pipe)
            && pipe.sender_gone
            && pipe.receiver_gone
        {
            state.pipes.remove(&self.pipe);
        }
        drop(state);
        rest.finish();
    }

    fn alive(&self) -> bool {
        self.net.inner.sim.is_alive(self.life)
    }
}

fn reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the stream was reset")
}

pub struct SimSender {
    end: End,
}

impl SimSender {
    fn poll_send(&self, message: &mut Option<Vec<u8>>, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let net = &self.end.net;
        let now_ns = net.now_ns();
        let mut rest = Rest::default();
        let mut state = net.lock();
        let Some(pipe) = state.pipes.get_mut(&self.end.pipe) else {
            return Poll::Ready(Err(reset()));
        };
        if pipe.broken || !self.end.alive() {
            return Poll::Ready(Err(reset()));
        }
        if pipe.refused {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = message.as_ref().map_or(0, Vec::len);
        if !pipe.items.is_empty() && pipe.bytes + bytes > PIPE_BYTES_MAX {
            pipe.sender = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let message = message.take().expect("a finished send is not polled again");
        let (from, to, channel) = (pipe.from, pipe.to, pipe.channel);
        let print = fingerprint(&message);
        state.counters.messages += 1;
        state.counters.bytes += bytes as u64;
        let link = state.link(from, to);
        state.counters.stalled += u64::from(link.cut);
        state.push(self.end.pipe, now_ns, Item::Message(message), &mut rest);
        if state.rng.chance(link.reset_per_million) {
            state.break_stream(self.end.pipe, now_ns, &mut rest);
        }
        drop(state);
        net.inner.sim.note(format_args!("net {from}>{to} {channel:?} {bytes} {print:08x}"));
        rest.finish();
        Poll::Ready(Ok(()))
    }
}

/// Enough of a message's content to notice that two runs differ.
fn fingerprint(message: &[u8]) -> u32 {
    message
        .iter()
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

impl NetSender for SimSender {
    async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too large"));
        }
        let mut message = Some(message);
        poll_fn(|cx| self.poll_send(&mut message, cx)).await
    }
}

impl Drop for SimSender {
    fn drop(&mut self) {
        let alive = self.end.alive();
        let now_ns = self.end.net.now_ns();
        self.end.leave(|state, rest| {
            let Some(pipe) = state.pipes.get_mut(&self.end.pipe) else { return };
            pipe.sender_gone = true;
            if alive && !pipe.broken {
                state.push(self.end.pipe, now_ns, Item::End, rest);
            }
        });
    }
}

pub struct SimReceiver {
    end: End,
    /// Wakes this task when the first item arrives.
    arrival: Option<Sleep>,
}

impl SimReceiver {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        let net = self.end.net.clone();
        loop {
            let now_ns = net.now_ns();
            let mut state = net.lock();
            let Some(pipe) = state.pipes.get(&self.end.pipe) else {
                return Poll::Ready(Err(reset()));
            };
            let cut = state.link(pipe.from, pipe.to).cut;
            let pipe = state.pipes.get_mut(&self.end.pipe).expect("looked up above");
            let arrives = match pipe.items.front() {
                Some(&(arrives, _)) if !cut => arrives,
                // A heal, or the next item, wakes this task.
                _ => {
                    pipe.receiver = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            };
            if arrives <= now_ns {
                return Poll::Ready(Self::take(state, self.end.pipe));
            }
            pipe.receiver = Some(cx.waker().clone());
            drop(state);
            let wait = Duration::from_nanos(arrives - now_ns);
            let mut arrival = net.inner.sim.sleep(wait);
            let polled = Pin::new(&mut arrival).poll(cx);
            self.arrival = Some(arrival);
            if polled.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Takes the item that has arrived. The last one of a stream stays, so that every later call
    /// gives the same answer.
    fn take(mut state: MutexGuard<'_, State>, pipe: u64) -> io::Result<Option<Vec<u8>>> {
        let pipe = state.pipes.get_mut(&pipe).expect("a receiver keeps its pipe");
        let (arrives, item) = pipe.items.pop_front().expect("an item has arrived");
        let message = match item {
            Item::Message(message) => message,
            Item::End => {
                pipe.items.push_front((arrives, Item::End));
                return Ok(None);
            }
            Item::Reset => {
                pipe.items.push_front((arrives, Item::Reset));
                return Err(reset());
            }
        };
        pipe.bytes -= message.len();
        let sender = pipe.sender.take();
        drop(state);
        if let Some(sender) = sender {
            sender.wake();
        }
        Ok(Some(message))
    }
}

impl NetReceiver for SimReceiver {
    async fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }
}

impl Drop for SimReceiver {
    fn drop(&mut self) {
        let alive = self.end.alive();
        self.end.leave(|state, rest| {
            let Some(pipe) = state.pipes.get_mut(&self.end.pipe) else { return };
            pipe.receiver_gone = true;
            if alive {
                pipe.refused = true;
                rest.wake(&mut pipe.sender);
            }
        });
    }
}
