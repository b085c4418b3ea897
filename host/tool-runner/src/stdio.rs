//! Standard output and error of a tool, led to its log, up to a bound.

use crate::world::{LOGGED_BYTES_MAX, ToolWorld};
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use waggle_engine::LogStream;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes a tool may write in one call of the host.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// One of the two standard streams of a call. Both share what is left of its bound.
#[derive(Clone)]
pub(crate) struct ToolStream {
    world: Arc<dyn ToolWorld>,
    stream: LogStream,
    left: Arc<AtomicUsize>,
}

impl ToolStream {
    /// Standard output and standard error.
    pub(crate) fn pair(world: &Arc<dyn ToolWorld>) -> (Self, Self) {
        let left = Arc::new(AtomicUsize::new(LOGGED_BYTES_MAX));
        let stream = |stream| Self { world: Arc::clone(world), stream, left: Arc::clone(&left) };
        (stream(LogStream::Out), stream(LogStream::Error))
    }

    fn put(&self, bytes: &[u8]) {
        let left = self.left.load(Relaxed);
        let kept = bytes.len().min(left);
        if kept > 0 {
            self.left.store(left - kept, Relaxed);
            self.world.log(self.stream, &bytes[..kept]);
        }
    }
}

impl IsTerminal for ToolStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for ToolStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for ToolStream {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(WRITE_BYTES_MAX);
        self.put(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl OutputStream for ToolStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for ToolStream {
    async fn ready(&mut self) {}
}
