//! Caps on size and time: connections, heads, bodies, answers.
//!
//! Not here: the bounds of the domain, which the log checks.
//! Invariant: the bodies held at once, over all connections, never exceed `bodies_bytes_max`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bessemer_model::NotDone;
use bessemer_model::limits::REQUEST_BYTES_DEFAULT;
use bessemer_service::ServiceError;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::respond::Refusal;

/// What is read and thrown away of a body that is too large, so that the client gets to read the
/// answer instead of a reset. Beyond it the connection is cut.
const DISCARD_BYTES_MAX: usize = 8 << 20;
/// How long that may take.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// Limits of an HTTP door.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpOptions {
    /// Bytes of one request's body at most. Over it: 413.
    pub request_bytes_max: usize,
    /// Bytes of all bodies held at once: from their arrival until their request is answered, or
    /// waits. What does not fit gets 503. Less than `request_bytes_max` counts as that.
    pub bodies_bytes_max: usize,
    /// Connections at once. One more gets 503 and is closed.
    pub connections_max: usize,
    /// From the first byte of a request (or the opening of the connection) to the end of its head.
    pub head_timeout: Duration,
    /// For the whole body of a request.
    pub body_timeout: Duration,
    /// For a client that does not read its answer: since the last byte it took.
    pub write_timeout: Duration,
    /// For a client that reads slowly: from the first byte it was not ready for until it has all
    /// that was answered so far.
    pub answer_timeout: Duration,
    /// Between requests of one connection.
    pub idle_timeout: Duration,
    /// For requests under way when the door closes; then they are cut.
    pub drain_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            request_bytes_max: REQUEST_BYTES_DEFAULT,
            // Small beside the 4 GiB of operations.md, and yet 512 of the largest requests.
            bodies_bytes_max: 128 << 20,
            connections_max: 20_000,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// Reads bodies under the limits of one port. Shared by its doors.
pub(crate) struct BodyReader {
    options: Arc<HttpOptions>,
    /// A permit per byte that may still be held.
    bytes_left: Arc<Semaphore>,
}

/// A body that was read whole. It counts as held until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct HeldBody {
    bytes: Bytes,
    /// `None` before the first byte.
    _held: Option<OwnedSemaphorePermit>,
}

impl std::ops::Deref for HeldBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BodyReader {
    pub fn new(options: Arc<HttpOptions>) -> BodyReader {
        let bytes_max = options.bodies_bytes_max.max(options.request_bytes_max);
        let bytes_left = Arc::new(Semaphore::new(bytes_max.min(Semaphore::MAX_PERMITS)));
        BodyReader { options, bytes_left }
    }

    /// Reads a whole body, chunked or not.
    ///
    /// Refuses: `TooLarge` over `request_bytes_max`, `Overloaded` over `bodies_bytes_max`,
    /// `TooSlow` over `body_timeout`, `Bad` when it breaks off. Holds at most
    /// `request_bytes_max` bytes and one chunk.
    pub async fn read(&self, headers: &HeaderMap, body: Body) -> Result<HeldBody, Refusal> {
        let bytes_max = self.options.request_bytes_max;
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse::<u64>().ok());
        let mut body = body;
        if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
            // Who expects a 100 sends nothing before it: then there is nothing to discard.
            if !headers.contains_key(EXPECT) {
                discard(&mut body).await;
            }
            return Err(Refusal::TooLarge { bytes_max });
        }
        match tokio::time::timeout(self.options.body_timeout, self.collect(&mut body)).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(Stop::Broken)) => Err(Refusal::Bad("The request body broke off".into())),
            Ok(Err(Stop::TooLarge)) => {
                discard(&mut body).await;
                Err(Refusal::TooLarge { bytes_max })
            }
            Ok(Err(Stop::Overloaded)) => {
                discard(&mut body).await;
                Err(Refusal::Service(ServiceError::NotDone(NotDone::Overloaded)))
            }
            Err(_) => Err(Refusal::TooSlow),
        }
    }

    /// Bytes are counted as they come: a client that announces much and sends little holds little.
    async fn collect(&self, body: &mut Body) -> Result<HeldBody, Stop> {
        let mut whole = BytesMut::new();
        let mut first: Option<Bytes> = None;
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Stop::Broken)?.into_data() else { continue };
            let bytes_before = whole.len() + first.as_ref().map_or(0, Bytes::len);
            if bytes_before + data.len() > self.options.request_bytes_max {
                return Err(Stop::TooLarge);
            }
            let more = self.hold(data.len())?;
            match &mut held {
                None => held = Some(more),
                Some(held) => held.merge(more),
            }
            // Most bodies come in one piece: that one is not copied.
            if bytes_before == 0 {
                first = Some(data);
            } else {
                if let Some(first) = first.take() {
                    whole.extend_from_slice(&first);
                }
                whole.extend_from_slice(&data);
            }
        }
        Ok(HeldBody { bytes: first.unwrap_or_else(|| whole.freeze()), _held: held })
    }

    fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Stop> {
        let bytes = u32::try_from(bytes).map_err(|_| Stop::Overloaded)?;
        let bytes_left = self.bytes_left.clone();
        bytes_left.try_acquire_many_owned(bytes).map_err(|_| Stop::Overloaded)
    }
}

/// Why the reading of a body ended early.
enum Stop {
    TooLarge,
    Overloaded,
    Broken,
}

async fn discard(body: &mut Body) {
    let reading = async {
        let mut bytes_left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match bytes_left.checked_sub(length) {
                Some(left) => bytes_left = left,
                None => return,
            }
        }
    };
    // Over the time, the connection closes with the rest unread.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(request_bytes_max: usize, bodies_bytes_max: usize) -> BodyReader {
        let some = HttpOptions { request_bytes_max, bodies_bytes_max, ..HttpOptions::default() };
        BodyReader::new(Arc::new(some))
    }

    async fn read(body: Body, bytes_max: usize) -> Result<HeldBody, Refusal> {
        reader(bytes_max, 0).read(&HeaderMap::new(), body).await
    }

    #[tokio::test]
    async fn bodies_up_to_the_limit_are_read_whole() {
        assert_eq!(&*read(Body::from("12345"), 5).await.expect("fits"), b"12345");
        assert_eq!(&*read(Body::empty(), 5).await.expect("fits"), b"");
        let over = read(Body::from("123456"), 5).await;
        assert!(matches!(over, Err(Refusal::TooLarge { bytes_max: 5 })));
    }

    #[tokio::test]
    async fn bodies_together_are_bounded_until_they_are_dropped() {
        let reader = reader(5, 8);
        let read = async |body: &'static str| reader.read(&HeaderMap::new(), body.into()).await;
        let first = read("12345").await.expect("fits");
        let second = read("123").await.expect("fits to the byte");
        let over = read("1").await.expect_err("nothing is left");
        assert_eq!(over.code(), "Overloaded");
        drop((first, second));
        for _ in 0..3 {
            read("12345").await.expect("fits again");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_too_slow() {
        struct Never;
        impl http_body::Body for Never {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                std::task::Poll::Pending
            }
        }
        assert!(matches!(read(Body::new(Never), 5).await, Err(Refusal::TooSlow)));
    }
}
