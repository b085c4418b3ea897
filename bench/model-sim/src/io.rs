//! The stream under a connection, with the faults that lie below HTTP: a reset, and a dripping head.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// What a request may ask of the connection it came by.
#[derive(Debug, Default)]
pub(crate) struct LineControl {
    reset: AtomicBool,
    drip_ms: AtomicU64,
}

impl LineControl {
    /// The connection will be reset instead of closed.
    pub(crate) fn reset_on_close(&self) {
        self.reset.store(true, Relaxed);
    }

    /// The next response head goes out byte by byte.
    pub(crate) fn drip_head(&self, pause_ms: u64) {
        self.drip_ms.store(pause_ms.max(1), Relaxed);
    }
}

/// What bytes of HTTP go over: TCP, or TLS over it.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The TCP stream below.
    fn tcp(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// A stream that obeys a [`LineControl`].
pub(crate) struct Line<S: Transport> {
    stream: S,
    control: Arc<LineControl>,
    pause: Option<Pin<Box<Sleep>>>,
    /// The last bytes that dripped, to see the end of the head.
    tail: [u8; 4],
}

impl<S: Transport> Line<S> {
    pub(crate) fn new(stream: S, control: Arc<LineControl>) -> Self {
        Self { stream, control, pause: None, tail: [0; 4] }
    }

    fn poll_drip(
        &mut self,
        context: &mut Context<'_>,
        buffer: &[u8],
        pause_ms: u64,
    ) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let one = &buffer[..buffer.len().min(1)];
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, one))?;
        if written == 1 {
            self.tail = [self.tail[1], self.tail[2], self.tail[3], one[0]];
            if &self.tail == b"\r\n\r\n" {
                self.control.drip_ms.store(0, Relaxed);
                self.tail = [0; 4];
            } else {
                self.pause = Some(Box::pin(sleep(Duration::from_millis(pause_ms))));
            }
        }
        Poll::Ready(Ok(written))
    }
}

impl<S: Transport> Drop for Line<S> {
    fn drop(&mut self) {
        if self.control.reset.load(Relaxed) {
            // With a linger of zero the kernel sends RST. Should it refuse, the client sees a close instead.
            let _ = self.stream.tcp().set_zero_linger();
        }
    }
}

impl<S: Transport> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

/// Writes are not vectored, so that hyper gathers the small frames of a stream into one buffer.
impl<S: Transport> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.control.drip_ms.load(Relaxed) {
            0 => Pin::new(&mut self.stream).poll_write(context, buffer),
            pause_ms => self.poll_drip(context, buffer, pause_ms),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
