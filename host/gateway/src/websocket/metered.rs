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
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
