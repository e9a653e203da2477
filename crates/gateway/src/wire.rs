//! A client's connection: deadlines for slow readers and writers, and the guard over replies.
//!
//! Not here: HTTP. The phases are told by whoever speaks it.
//! Invariants: waiting for a head, or for the client to read, is bounded in every phase;
//!   a held undo is settled exactly once: delivered when the reply was handed to the kernel,
//!   dropped (messages released) when the connection ended before.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bessemer_service::Undo;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::HttpOptions;

/// What a connection is doing. `Busy` from the end of a head to the end of its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Between requests.
    Idle,
    /// The head of a request is arriving (or must: at the start).
    Head,
    Busy,
}

/// Shared by a connection's stream and the request under way on it. All on one task.
#[derive(Clone)]
pub(crate) struct Slot {
    state: Arc<Mutex<State>>,
}

struct State {
    phase: Phase,
    /// Set when the last byte of the answer was given to the connection's buffer.
    answered: bool,
    undo: Option<Undo>,
}

impl Slot {
    pub fn new() -> Slot {
        let state = State { phase: Phase::Head, answered: false, undo: None };
        Slot { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A head is complete: its request is under way.
    pub fn begin(&self) {
        let mut state = self.lock();
        state.phase = Phase::Busy;
        // A client that sends the next request before it read an answer still wants that answer.
        let before = if state.answered { state.undo.take() } else { None };
        state.answered = false;
        drop(state);
        if let Some(undo) = before {
            undo.delivered();
        }
    }

    /// Guards the answer to come.
    pub fn hold(&self, undo: Undo) {
        self.lock().undo = Some(undo);
    }

    fn answered(&self) {
        self.lock().answered = true;
    }

    /// All that was buffered is written. Returns whether that ended an answer.
    fn flushed(&self) -> bool {
        let mut state = self.lock();
        if !state.answered || state.phase != Phase::Busy {
            return false;
        }
        state.phase = Phase::Idle;
        let undo = state.undo.take();
        drop(state);
        if let Some(undo) = undo {
            undo.delivered();
        }
        true
    }
}

/// An answer's body that tells the slot when it was taken whole.
pub(crate) struct Tracked {
    body: Body,
    slot: Slot,
}

impl Tracked {
    pub fn new(body: Body, slot: Slot) -> Tracked {
        Tracked { body, slot }
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.slot.answered();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that is never asked for (the answer to a HEAD) is taken whole too. An undo is never
/// held then.
impl Drop for Tracked {
    fn drop(&mut self) {
        self.slot.answered();
    }
}

/// A TCP stream that cuts off slow clients.
pub(crate) struct Wire {
    stream: TcpStream,
    slot: Slot,
    options: Arc<HttpOptions>,
    /// When the present phase ends by force; unused while `Busy`.
    read_until: Instant,
    /// Set while the client takes nothing.
    write_until: Option<Instant>,
    /// Set from the first byte the client was not ready for until it has them all.
    answer_until: Option<Instant>,
    read_alarm: Pin<Box<Sleep>>,
    write_alarm: Pin<Box<Sleep>>,
}

impl Wire {
    pub fn new(stream: TcpStream, slot: Slot, options: Arc<HttpOptions>) -> Wire {
        let read_until = Instant::now() + options.head_timeout;
        let read_alarm = Box::pin(sleep_until(read_until));
        let write_alarm = Box::pin(sleep_until(read_until));
        Wire {
            stream,
            slot,
            options,
            read_until,
            write_until: None,
            answer_until: None,
            read_alarm,
            write_alarm,
        }
    }

    /// The stream would not take more. Fails once it took nothing for too long, or the whole
    /// answer takes too long.
    fn stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let now = Instant::now();
        let write_until = *self.write_until.get_or_insert(now + self.options.write_timeout);
        let answer_until = *self.answer_until.get_or_insert(now + self.options.answer_timeout);
        let until = write_until.min(answer_until);
        poll_alarm(&mut self.write_alarm, until, "the client does not read its answer", cx)
    }
}

/// Fails at `until`, pending before.
fn poll_alarm<T>(
    alarm: &mut Pin<Box<Sleep>>,
    until: Instant,
    why: &'static str,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    if alarm.deadline() != until {
        alarm.as_mut().reset(until);
    }
    ready!(alarm.as_mut().poll(cx));
    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let filled = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) if buffer.filled().len() > filled => {
                let mut state = this.slot.lock();
                if state.phase == Phase::Idle {
                    state.phase = Phase::Head;
                    this.read_until = Instant::now() + this.options.head_timeout;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => {
                let phase = this.slot.lock().phase;
                match phase {
                    // The answer has its own deadlines, the body too.
                    Phase::Busy => Poll::Pending,
                    Phase::Idle | Phase::Head => {
                        let until = this.read_until;
                        poll_alarm(&mut this.read_alarm, until, "no request in time", cx)
                    }
                }
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(result) => {
                self.write_until = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.stalled(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, bytes) {
            Poll::Ready(result) => {
                self.write_until = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.stalled(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called by hyper when its own buffer is empty: then the kernel has the whole answer.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.answer_until = None;
        if self.slot.flushed() {
            let this = &mut *self;
            this.read_until = Instant::now() + this.options.idle_timeout;
            this.read_alarm.as_mut().reset(this.read_until);
            // hyper may wait in a read that began while busy: the alarm must wake it, too. Then
            // `poll_read` finds the time over.
            if this.read_alarm.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
