//! Waiting for one of two things, without a library: the first is asked first.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Which of the two was ready.
pub(crate) enum First<A, B> {
    Left(A),
    Right(B),
}

/// Completes with whichever is ready first; `left` wins when both are.
///
/// Neither future is dropped by this: the one that lost can be waited for again.
pub(crate) async fn race<A, B>(
    mut left: Pin<&mut (dyn Future<Output = A> + Send)>,
    mut right: Pin<&mut (dyn Future<Output = B> + Send)>,
) -> First<A, B> {
    poll_fn(|cx| {
        if let Poll::Ready(value) = left.as_mut().poll(cx) {
            return Poll::Ready(First::Left(value));
        }
        right.as_mut().poll(cx).map(First::Right)
    })
    .await
}
