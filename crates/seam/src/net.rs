//! Ordered streams of messages between nodes.
//!
//! Not here: what a message says (crate `replica`), TLS, addresses of clients.
//! Contract: a stream delivers a prefix of what was sent, in order, each message whole and once;
//! after an error nothing more is delivered. A send that returned may still be lost with the stream.

use std::io;

use bessemer_model::NodeId;

/// What a stream is for: each has its own connection, so that bulk never delays a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Channel {
    /// Log entries from the leader, and their acknowledgements.
    Append = 1,
    /// Heartbeats, votes, leadership transfer.
    Control = 2,
    /// Snapshots, file by file.
    Snapshot = 3,
    /// A node's commands on their way to the leader, and read barriers.
    Forward = 4,
}

/// Largest message on a stream, in bytes: an append of 4 MiB and its framing.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// The network as one node sees it. Cheap to clone.
pub trait Net: Clone + Send + Sync + 'static {
    type Sender: NetSender;
    type Receiver: NetReceiver;

    /// Opens a stream to `peer` at `address` (as the membership gives it). Fails within
    /// `timeout_ms`. A node never connects to itself.
    fn connect(
        &self,
        peer: NodeId,
        address: &str,
        channel: Channel,
        timeout_ms: u64,
    ) -> impl Future<Output = io::Result<(Self::Sender, Self::Receiver)>> + Send;

    /// The next stream some peer opened to this node. Who it is, the first message says.
    /// An error means the listener is gone.
    fn accept(
        &self,
    ) -> impl Future<Output = io::Result<(Channel, Self::Sender, Self::Receiver)>> + Send;
}

pub trait NetSender: Send + 'static {
    /// Hands one message of at most `MESSAGE_BYTES_MAX` bytes to the stream. Waits while the
    /// stream's bounded buffer is full. Not cancel-safe: drop the stream after a cancelled send.
    fn send(&mut self, message: Vec<u8>) -> impl Future<Output = io::Result<()>> + Send;
}

pub trait NetReceiver: Send + 'static {
    /// The next message; `Ok(None)` when the peer closed the stream between messages.
    /// Cancel-safe: a cancelled call loses nothing.
    fn receive(&mut self) -> impl Future<Output = io::Result<Option<Vec<u8>>>> + Send;
}
