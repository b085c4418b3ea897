//! A connection whose unfinished messages are counted, and that knows when its other end was last heard of.

use super::room::{Arriving, Memory};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// There is no memory for the message that is arriving.
#[derive(Debug, thiserror::Error)]
#[error("there is no memory for the message")]
pub(crate) struct NoRoom;

/// What a WebSocket reads from and writes to.
pub(crate) struct Metered<S> {
    inner: S,
    /// Bytes since the last whole message.
    unended: usize,
    arriving: Arriving,
    last_sign: Instant,
    /// Whether the other end has not taken what was written.
    is_blocked: bool,
}

impl<S> Metered<S> {
    pub(crate) fn new(inner: S, memory: &Arc<Memory>) -> Self {
        Self {
            inner,
            unended: 0,
            arriving: Arriving::new(memory),
            last_sign: Instant::now(),
            is_blocked: false,
        }
    }

    /// A message has arrived as a whole; it is counted by whoever keeps it.
    pub(crate) fn message_ended(&mut self) {
        self.unended = 0;
        self.arriving.keeps(0);
    }

    /// When the other end last sent something, or took what it had not taken before.
    pub(crate) fn last_sign(&self) -> Instant {
        self.last_sign
    }

    /// Whether the other end has not taken what was last written.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    fn count(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.unended += bytes;
        if self.arriving.keeps(self.unended) { Ok(()) } else { Err(NoRoom) }
    }

    fn wrote<T>(&mut self, outcome: &Poll<T>) {
        if outcome.is_ready() && self.is_blocked {
            self.last_sign = Instant::now();
        }
        self.is_blocked = outcome.is_pending();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            self.last_sign = Instant::now();
        }
        Poll::Ready(self.count(bytes).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(&outcome);
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Over TLS a write is taken before it is sent.
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.wrote(&outcome);
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    /// Takes what is written, as TLS does, and sends it when it may.
    struct Buffered {
        may_send: bool,
    }

    impl AsyncWrite for Buffered {
        fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.may_send { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_and_cannot_be_sent_is_a_block() {
        let mut metered = Metered::new(Buffered { may_send: false }, &Memory::of(0, None));
        metered.write_all(b"word").await.unwrap();
        assert!(!metered.is_blocked());
        assert!(futures::poll!(Box::pin(metered.flush())).is_pending());
        assert!(metered.is_blocked());
        tokio::time::advance(std::time::Duration::from_secs(9)).await;
        metered.inner.may_send = true;
        metered.flush().await.unwrap();
        assert_eq!((metered.is_blocked(), metered.last_sign().elapsed().as_secs()), (false, 0));
    }
}
