//! Entries to one follower, pipelined: many requests on their way, answers in order.
//!
//! Not here: what to send (openraft), the far end (`server.rs`).
//! Invariant: the stream goes back to its client only when every request sent was answered.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bessemer_seam::net::NetSender;
use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};

use crate::link::{Link, receive, timed_out};
use crate::network::{PeerClient, append_message, append_result, unreachable};
use crate::types::Types;
use crate::wire::Message;
use crate::world::{ReceiverOf, SenderOf, World};

type C<W> = Types<<W as World>::Rt>;
type Answer<W> = Result<StreamAppendResult<C<W>>, RPCError<C<W>>>;
type Writer<W> = Pin<Box<dyn Future<Output = io::Result<SenderOf<W>>> + Send>>;

/// Written by the writer half, read by the reader half.
#[derive(Default)]
struct Sent {
    requests: AtomicU64,
    /// When the last one was handed to the stream, in milliseconds of `elapsed`.
    at_ms: AtomicU64,
}

struct Session<'s, W: World> {
    client: &'s mut PeerClient<W>,
    receiver: ReceiverOf<W>,
    /// `None` once it ended; then `sender` is what it leaves.
    writer: Option<Writer<W>>,
    sender: Option<SenderOf<W>>,
    sent: Arc<Sent>,
    answered: u64,
    last_answer_ms: u64,
}

enum Step {
    WriterEnded,
    Answer(io::Result<Message>),
    Looked,
}

/// Sends all of `input`, gives the answers in order. Ends after the first answer that is not a
/// success, the first error, or once `input` ended and all is answered.
pub(crate) fn session<'s, W, S>(
    client: &'s mut PeerClient<W>,
    link: Link<W>,
    input: S,
) -> impl Stream<Item = Answer<W>> + Send + use<'s, W, S>
where
    W: World,
    S: Stream<Item = AppendEntriesRequest<C<W>>> + OptionalSend + Unpin + 'static,
{
    let sent = Arc::new(Sent::default());
    let writer = write(client, link.sender, input, sent.clone());
    let session = Session {
        client,
        receiver: link.receiver,
        writer: Some(writer),
        sender: None,
        sent,
        answered: 0,
        last_answer_ms: 0,
    };
    futures_util::stream::unfold(Some(session), |session| async move {
        let mut session = session?;
        let Some(answer) = session.next().await else {
            session.give_back();
            return None;
        };
        let goes_on = matches!(answer, Ok(Ok(_)));
        Some((answer, goes_on.then_some(session)))
    })
}

fn write<W, S>(
    client: &PeerClient<W>,
    mut to: SenderOf<W>,
    mut input: S,
    sent: Arc<Sent>,
) -> Writer<W>
where
    W: World,
    S: Stream<Item = AppendEntriesRequest<C<W>>> + OptionalSend + Unpin + 'static,
{
    let group = client.shared.options.group;
    let runtime = client.shared.runtime.clone();
    Box::pin(async move {
        while let Some(request) = input.next().await {
            let bytes = append_message::<W>(request).encode(group);
            sent.at_ms.store(runtime.elapsed().as_millis() as u64, Ordering::SeqCst);
            sent.requests.fetch_add(1, Ordering::SeqCst);
            to.send(bytes).await?;
        }
        Ok(to)
    })
}

impl<W: World> Session<'_, W> {
    fn outstanding(&self) -> bool {
        self.sent.requests.load(Ordering::SeqCst) > self.answered
    }

    /// Leaves the stream to the client's next session.
    fn give_back(self) {
        let group = self.client.shared.options.group;
        let link = self.sender.map(|sender| Link { sender, receiver: self.receiver, group });
        self.client.keep(link);
    }

    /// The next answer; `None` when all was sent and answered.
    async fn next(&mut self) -> Option<Answer<W>> {
        loop {
            if self.sender.is_some() && !self.outstanding() {
                return None;
            }
            match self.step().await {
                Step::WriterEnded => {}
                Step::Answer(Ok(message)) if self.outstanding() => {
                    self.answered += 1;
                    self.last_answer_ms = self.now_ms();
                    return Some(append_result::<W>(message));
                }
                Step::Answer(Ok(message)) => {
                    let error = crate::link::unexpected(&message);
                    return Some(Err(unreachable::<W>(&error)));
                }
                Step::Answer(Err(error)) => return Some(Err(unreachable::<W>(&error))),
                Step::Looked if self.is_silent() => {
                    return Some(Err(unreachable::<W>(&timed_out("an answer to entries"))));
                }
                Step::Looked => {}
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.client.shared.runtime.elapsed().as_millis() as u64
    }

    fn is_silent(&self) -> bool {
        let since_ms = self.sent.at_ms.load(Ordering::SeqCst).max(self.last_answer_ms);
        let idle_ms = self.now_ms().saturating_sub(since_ms);
        self.outstanding() && idle_ms >= self.client.shared.options.stream_idle_ms_max
    }

    /// Waits until one of the halves moved, or it is time to look for silence.
    async fn step(&mut self) -> Step {
        let shared = self.client.shared.clone();
        let idle = Duration::from_millis(shared.options.stream_idle_ms_max);
        let mut look = shared.runtime.sleep(idle);
        let (writer, sender) = (&mut self.writer, &mut self.sender);
        let mut answer = std::pin::pin!(receive(&mut self.receiver, shared.options.group));
        std::future::poll_fn(move |cx| {
            if let Some(running) = writer
                && let Poll::Ready(ended) = running.as_mut().poll(cx)
            {
                *writer = None;
                return Poll::Ready(match ended {
                    Ok(whole) => {
                        *sender = Some(whole);
                        Step::WriterEnded
                    }
                    Err(error) => Step::Answer(Err(error)),
                });
            }
            if let Poll::Ready(message) = answer.as_mut().poll(cx) {
                return Poll::Ready(Step::Answer(message));
            }
            look.as_mut().poll(cx).map(|()| Step::Looked)
        })
        .await
    }
}
