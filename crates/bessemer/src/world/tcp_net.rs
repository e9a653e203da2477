//! `seam::net::Net` on TCP: one listener, one connection per stream.
//!
//! Not here: what a message says, who the peer is (the first message says), TLS.
//! Wire: the connecting side sends `PREAMBLE` and a channel byte; then both sides send frames of
//! a 4-byte big-endian length and that many bytes.
//! Invariants: a frame is never longer than `MESSAGE_BYTES_MAX`, at either end; a stream holds at
//! most `SEND_MESSAGES_MAX` messages and `SEND_BYTES_MAX` bytes not yet given to the kernel.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bessemer_model::NodeId;
use bessemer_seam::net::{Channel, MESSAGE_BYTES_MAX, Net, NetReceiver, NetSender};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What a peer says first; the last byte is the version of this framing.
const PREAMBLE: [u8; 8] = *b"BSMpeer\x01";
/// A connection that has not said its preamble by then is not a peer.
const PREAMBLE_WAIT: Duration = Duration::from_secs(5);
/// Connections whose preamble is awaited at once; further ones wait in the kernel's backlog.
const PREAMBLES_MAX: usize = 64;
/// Accepted streams not yet taken by the replica; when full, accepting waits.
const ACCEPTED_MAX: usize = 64;
/// Messages a stream holds before `send` waits.
const SEND_MESSAGES_MAX: usize = 128;
/// Bytes a stream holds before `send` waits; one message of any allowed size always fits.
const SEND_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// A peer that takes not one buffer for this long is gone; the replica's own timeouts are shorter.
const WRITE_WAIT: Duration = Duration::from_secs(15);
/// Small frames are gathered up to this many bytes per write.
const WRITE_BUFFER_BYTES: usize = 64 << 10;
const READ_BUFFER_BYTES: usize = 64 << 10;
const LENGTH_BYTES: usize = 4;

/// The node's peer door and its way to others. Cheap to clone; the listener closes with the last.
#[derive(Clone)]
pub struct TcpNet {
    inner: Arc<Inner>,
}

struct Inner {
    local: SocketAddr,
    /// Filled by the accept task, read by `accept`; ends when the task ends.
    accepted: Mutex<mpsc::Receiver<(Channel, TcpStream)>>,
    accepting: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TcpNet {
    /// Listens on `address`. Must be called inside a tokio runtime.
    pub async fn bind(address: SocketAddr) -> io::Result<TcpNet> {
        let listener = TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        let (into, accepted) = mpsc::channel(ACCEPTED_MAX);
        let accepting = tokio::spawn(accept_all(listener, into));
        Ok(TcpNet { inner: Arc::new(Inner { local, accepted: Mutex::new(accepted), accepting }) })
    }

    /// Where it listens: the real port when 0 was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.inner.local
    }
}

impl Net for TcpNet {
    type Sender = TcpSender;
    type Receiver = TcpReceiver<OwnedReadHalf>;

    async fn connect(
        &self,
        _peer: NodeId,
        address: &str,
        channel: Channel,
        timeout_ms: u64,
    ) -> io::Result<(Self::Sender, Self::Receiver)> {
        let opening = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut hello = [0u8; PREAMBLE.len() + 1];
            hello[..PREAMBLE.len()].copy_from_slice(&PREAMBLE);
            hello[PREAMBLE.len()] = channel as u8;
            stream.write_all(&hello).await?;
            Ok::<_, io::Error>(stream)
        };
        match timeout(Duration::from_millis(timeout_ms), opening).await {
            Ok(stream) => Ok(split(stream?)),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{address} did not answer within {timeout_ms} ms"),
            )),
        }
    }

    async fn accept(&self) -> io::Result<(Channel, Self::Sender, Self::Receiver)> {
        match self.inner.accepted.lock().await.recv().await {
            Some((channel, stream)) => {
                let (sender, receiver) = split(stream);
                Ok((channel, sender, receiver))
            }
            None => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the peer listener is closed")),
        }
    }
}

/// Accepts until it is aborted by the drop of the last `TcpNet`. Fewer than `PREAMBLES_MAX` slow or
/// foreign connections at once delay no other.
async fn accept_all(listener: TcpListener, into: mpsc::Sender<(Channel, TcpStream)>) {
    let room = Arc::new(Semaphore::new(PREAMBLES_MAX));
    // Owns the tasks that await preambles: all end with this one.
    let mut greetings = tokio::task::JoinSet::new();
    loop {
        while greetings.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of descriptors or a connection that ended in the backlog: neither is the
                // listener's end. The pause keeps a lasting shortage from spinning.
                tracing::warn!(error = %e, "cannot accept a peer connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let into = into.clone();
        greetings.spawn(async move {
            let _permit = permit;
            if let Some(greeted) = greet(stream).await {
                // An error means that the node stops: the stream is dropped with the message.
                let _stopped = into.send(greeted).await;
            }
        });
    }
}

/// Reads the preamble; `None` when it is not a peer's.
async fn greet(mut stream: TcpStream) -> Option<(Channel, TcpStream)> {
    stream.set_nodelay(true).ok()?;
    let channel = timeout(PREAMBLE_WAIT, read_preamble(&mut stream)).await.ok()?;
    match channel {
        Ok(channel) => Some((channel, stream)),
        Err(e) => {
            let from = stream.peer_addr().ok();
            tracing::warn!(error = %e, ?from, "refused a connection on the peer port");
            None
        }
    }
}

async fn read_preamble(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Channel> {
    let mut hello = [0u8; PREAMBLE.len() + 1];
    stream.read_exact(&mut hello).await?;
    if hello[..PREAMBLE.len()] != PREAMBLE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it does not speak the peer protocol, version 1",
        ));
    }
    match hello[PREAMBLE.len()] {
        1 => Ok(Channel::Append),
        2 => Ok(Channel::Control),
        3 => Ok(Channel::Snapshot),
        4 => Ok(Channel::Forward),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it names the unknown channel {other}"),
        )),
    }
}

fn split(stream: TcpStream) -> (TcpSender, TcpReceiver<OwnedReadHalf>) {
    let (read, write) = stream.into_split();
    (TcpSender::new(write), TcpReceiver::new(read))
}

/// A message on its way, with the room it takes.
struct Queued {
    message: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// The sending end of a stream. A task writes; it ends when this is dropped and all was written,
/// when a write fails, or when the peer takes nothing for `WRITE_WAIT`.
pub struct TcpSender {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

impl TcpSender {
    fn new(write: OwnedWriteHalf) -> TcpSender {
        let (queue, waiting) = mpsc::channel(SEND_MESSAGES_MAX);
        // Detached: it ends with the queue, see above.
        drop(tokio::spawn(async move {
            if let Err(e) = write_all(write, waiting).await {
                tracing::debug!(error = %e, "a peer stream ended");
            }
        }));
        TcpSender { queue, room: Arc::new(Semaphore::new(SEND_BYTES_MAX)) }
    }
}

impl NetSender for TcpSender {
    async fn send(&mut self, message: Vec<u8>) -> io::Result<()> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(oversize(message.len()));
        }
        let bytes = u32::try_from(message.len()).map_err(|_| oversize(message.len()))?;
        let room = Arc::clone(&self.room);
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "the peer stream is closed");
        let room = tokio::select! {
            room = room.acquire_many_owned(bytes) => room.map_err(|_| closed())?,
            () = self.queue.closed() => return Err(closed()),
        };
        self.queue.send(Queued { message, _room: room }).await.map_err(|_| closed())
    }
}

/// Writes frames as they come; flushes when no other waits, so that a burst is one write.
async fn write_all(
    write: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Queued>,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, write);
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        while let Some(queued) = next {
            let bytes = u32::try_from(queued.message.len()).expect("send checked the size");
            in_time(out.write_all(&bytes.to_be_bytes())).await?;
            in_time(out.write_all(&queued.message)).await?;
            next = queue.try_recv().ok();
        }
        in_time(out.flush()).await?;
    }
    in_time(out.shutdown()).await
}

async fn in_time(write: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    match timeout(WRITE_WAIT, write).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")),
    }
}

/// The receiving end of a stream.
pub struct TcpReceiver<R> {
    read: R,
    /// Bytes read and not yet given out; frames begin at `from`.
    buffer: Vec<u8>,
    from: usize,
}

impl<R: AsyncRead + Unpin + Send + 'static> TcpReceiver<R> {
    fn new(read: R) -> TcpReceiver<R> {
        TcpReceiver { read, buffer: Vec::with_capacity(READ_BUFFER_BYTES), from: 0 }
    }

    /// Takes a whole frame out of the buffer; otherwise says how many bytes must be in it first.
    fn take_frame(&mut self) -> io::Result<Result<Vec<u8>, usize>> {
        let held = &self.buffer[self.from..];
        let Some(length) = held.first_chunk::<LENGTH_BYTES>() else {
            return Ok(Err(LENGTH_BYTES));
        };
        let bytes = u32::from_be_bytes(*length) as usize;
        if bytes > MESSAGE_BYTES_MAX {
            return Err(oversize(bytes));
        }
        let whole = LENGTH_BYTES + bytes;
        if held.len() < whole {
            return Ok(Err(whole));
        }
        let message = held[LENGTH_BYTES..whole].to_vec();
        self.from += whole;
        if self.from == self.buffer.len() {
            self.buffer.clear();
            self.from = 0;
            // One large snapshot chunk must not hold its memory for the stream's life.
            self.buffer.shrink_to(READ_BUFFER_BYTES);
        }
        Ok(Ok(message))
    }
}

impl<R: AsyncRead + Unpin + Send + 'static> NetReceiver for TcpReceiver<R> {
    /// Cancel-safe: every byte read is in `buffer` before the next await.
    async fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let wanted = match self.take_frame()? {
                Ok(message) => return Ok(Some(message)),
                Err(wanted) => wanted,
            };
            if self.from > 0 {
                self.buffer.drain(..self.from);
                self.from = 0;
            }
            let missing = wanted - self.buffer.len();
            self.buffer.reserve(missing.max(READ_BUFFER_BYTES / 2));
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the peer stream ended inside a message",
                    ))
                };
            }
        }
    }
}

fn oversize(bytes: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a message of {bytes} bytes; at most {MESSAGE_BYTES_MAX} are allowed"),
    )
}

#[cfg(test)]
mod tests;
