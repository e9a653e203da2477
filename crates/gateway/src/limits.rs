//! Caps on size and time: connections, heads, bodies, JSON.
//!
//! Not here: the bounds of the domain, which the log checks.

use std::time::Duration;

use axum::body::Body;
use bessemer_model::limits::REQUEST_BYTES_DEFAULT;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt;

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
    /// Connections at once. One more gets 503 and is closed.
    pub connections_max: usize,
    /// From the first byte of a request (or the opening of the connection) to the end of its head.
    pub head_timeout: Duration,
    /// For the whole body of a request.
    pub body_timeout: Duration,
    /// For a client that does not read its answer: since the last byte it took.
    pub write_timeout: Duration,
    /// Between requests of one connection.
    pub idle_timeout: Duration,
    /// For requests under way when the door closes; then they are cut.
    pub drain_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            request_bytes_max: REQUEST_BYTES_DEFAULT,
            connections_max: 20_000,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// Reads a whole body, chunked or not.
///
/// Refuses: `TooLarge` over `request_bytes_max`, `TooSlow` over `body_timeout`, `Bad` when it
/// breaks off. Holds at most `request_bytes_max` bytes and one chunk.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: Body,
    options: &HttpOptions,
) -> Result<Bytes, Refusal> {
    let bytes_max = options.request_bytes_max;
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
    match tokio::time::timeout(options.body_timeout, collect(&mut body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Refusal::TooLarge { bytes_max })) => {
            discard(&mut body).await;
            Err(Refusal::TooLarge { bytes_max })
        }
        Ok(Err(refusal)) => Err(refusal),
        Err(_) => Err(Refusal::TooSlow),
    }
}

async fn collect(body: &mut Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    let mut first: Option<Bytes> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::Bad("The request body broke off".into()))?;
        let Ok(data) = frame.into_data() else { continue };
        let held = whole.len() + first.as_ref().map_or(0, Bytes::len);
        if held + data.len() > bytes_max {
            return Err(Refusal::TooLarge { bytes_max });
        }
        // Most bodies come in one piece: that one is not copied.
        if held == 0 {
            first = Some(data);
        } else {
            if let Some(first) = first.take() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
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

    async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
        let options = HttpOptions { request_bytes_max: bytes_max, ..HttpOptions::default() };
        read_body(&HeaderMap::new(), body, &options).await
    }

    #[tokio::test]
    async fn bodies_up_to_the_limit_are_read_whole() {
        assert_eq!(read(Body::from("12345"), 5).await.expect("fits"), "12345");
        assert_eq!(read(Body::empty(), 5).await.expect("fits"), "");
        let over = read(Body::from("123456"), 5).await;
        assert!(matches!(over, Err(Refusal::TooLarge { bytes_max: 5 })));
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
