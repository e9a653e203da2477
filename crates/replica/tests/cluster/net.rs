//! Streams in memory between nodes of one process, with cuts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bessemer_model::NodeId;
use bessemer_seam::net::{Channel, MESSAGE_BYTES_MAX, Net, NetReceiver, NetSender};
use tokio::sync::{Notify, mpsc};

type Accepted = (Channel, Sender, Receiver);

/// One stream's fate, shared by its four ends.
#[derive(Default)]
struct Fate {
    cut: AtomicBool,
    notify: Notify,
}

impl Fate {
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    fn error(&self) -> io::Result<()> {
        match self.cut.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

/// Says which streams (from, to, channel) are meant.
type Which = Box<dyn Fn(NodeId, NodeId, Channel) -> bool + Send>;

struct Stream {
    from: NodeId,
    to: NodeId,
    channel: Channel,
    fate: Arc<Fate>,
}

#[derive(Default)]
struct Hub {
    listeners: BTreeMap<NodeId, mpsc::Sender<Accepted>>,
    isolated: BTreeSet<NodeId>,
    refused: Option<Which>,
    streams: Vec<Stream>,
    connects: BTreeMap<u8, usize>,
}

/// All nodes' network.
#[derive(Clone, Default)]
pub struct MemoryHub {
    hub: Arc<Mutex<Hub>>,
    pub bytes: Arc<AtomicUsize>,
}

impl MemoryHub {
    /// The network as `node` sees it; replaces what it had before.
    pub fn attach(&self, node: NodeId) -> MemoryNet {
        let (sender, receiver) = mpsc::channel(1024);
        self.hub.lock().unwrap().listeners.insert(node, sender);
        MemoryNet { node, hub: self.clone(), accept: Arc::new(tokio::sync::Mutex::new(receiver)) }
    }

    /// The node is gone: nobody connects to it, its streams break.
    pub fn detach(&self, node: NodeId) {
        self.hub.lock().unwrap().listeners.remove(&node);
        self.cut(|from, to, _| from == node || to == node);
    }

    /// Breaks the streams `which` (from, to, channel) says; new ones can be opened.
    pub fn cut(&self, which: impl Fn(NodeId, NodeId, Channel) -> bool) -> usize {
        let mut hub = self.hub.lock().unwrap();
        let (cut, keep) = std::mem::take(&mut hub.streams)
            .into_iter()
            .partition(|stream| which(stream.from, stream.to, stream.channel));
        hub.streams = keep;
        let cut: Vec<Stream> = cut;
        cut.iter().for_each(|stream| stream.fate.cut());
        cut.len()
    }

    /// Cuts a node off from all others, or joins it again.
    pub fn isolate(&self, node: NodeId, isolated: bool) {
        {
            let mut hub = self.hub.lock().unwrap();
            if isolated {
                hub.isolated.insert(node)
            } else {
                hub.isolated.remove(&node)
            };
        }
        if isolated {
            self.cut(|from, to, _| from == node || to == node);
        }
    }

    /// From now on refuses the streams `which` says, and breaks those there are.
    pub fn refuse(&self, which: impl Fn(NodeId, NodeId, Channel) -> bool + Send + 'static + Copy) {
        self.hub.lock().unwrap().refused = Some(Box::new(which));
        self.cut(which);
    }

    /// How many streams of a kind were opened so far.
    pub fn connects(&self, channel: Channel) -> usize {
        self.hub.lock().unwrap().connects.get(&(channel as u8)).copied().unwrap_or(0)
    }
}

#[derive(Clone)]
pub struct MemoryNet {
    node: NodeId,
    hub: MemoryHub,
    accept: Arc<tokio::sync::Mutex<mpsc::Receiver<Accepted>>>,
}

pub struct Sender {
    to: mpsc::Sender<Vec<u8>>,
    fate: Arc<Fate>,
    bytes: Arc<AtomicUsize>,
}

pub struct Receiver {
    from: mpsc::Receiver<Vec<u8>>,
    fate: Arc<Fate>,
}

impl Net for MemoryNet {
    type Sender = Sender;
    type Receiver = Receiver;

    async fn connect(
        &self,
        peer: NodeId,
        _address: &str,
        channel: Channel,
        _timeout_ms: u64,
    ) -> io::Result<(Sender, Receiver)> {
        assert_ne!(peer, self.node);
        let fate = Arc::new(Fate::default());
        let listener = {
            let mut hub = self.hub.hub.lock().unwrap();
            if hub.isolated.contains(&peer) || hub.isolated.contains(&self.node) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            if hub.refused.as_ref().is_some_and(|refused| refused(self.node, peer, channel)) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let Some(listener) = hub.listeners.get(&peer).cloned() else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            *hub.connects.entry(channel as u8).or_default() += 1;
            let (from, to, fate) = (self.node, peer, fate.clone());
            hub.streams.push(Stream { from, to, channel, fate });
            listener
        };
        let (there, here_from) = mpsc::channel(64);
        let (here, there_from) = mpsc::channel(64);
        let sender = |to| Sender { to, fate: fate.clone(), bytes: self.hub.bytes.clone() };
        let receiver = |from| Receiver { from, fate: fate.clone() };
        let accepted = (channel, sender(there), receiver(there_from));
        listener.send(accepted).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok((sender(here), receiver(here_from)))
    }

    async fn accept(&self) -> io::Result<Accepted> {
        let mut accept = self.accept.lock().await;
        match accept.recv().await {
            Some(accepted) => Ok(accepted),
            // Detached: the node is being stopped.
            None => std::future::pending().await,
        }
    }
}

impl NetSender for Sender {
    async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        assert!(message.len() <= MESSAGE_BYTES_MAX, "{} bytes in one message", message.len());
        self.fate.error()?;
        self.bytes.fetch_add(message.len(), Ordering::Relaxed);
        tokio::select! {
            sent = self.to.send(message) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            () = self.fate.notify.notified() => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl NetReceiver for Receiver {
    async fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.fate.error()?;
        tokio::select! {
            message = self.from.recv() => Ok(message),
            () = self.fate.notify.notified() => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}
