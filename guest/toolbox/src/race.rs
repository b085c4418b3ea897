//! Waiting for something, and no longer than it may take.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// What `work` comes to, or `None` when `limit` is over first; `work` is dropped then.
pub(crate) async fn within<T>(work: impl Future<Output = T>, limit: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut limit) = (pin!(work), pin!(limit));
    poll_fn(move |context| {
        if let Poll::Ready(value) = work.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        limit.as_mut().poll(context).map(|()| None)
    })
    .await
}
