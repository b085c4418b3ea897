//! Standard output and error of a guest, led to the log.

use crate::request::RequestScope;
use crate::world::LogWriter;
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes a guest may write in one call.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// The request a line belongs to, as far as that can be told: the only one under way in the instance.
#[derive(Clone, Default)]
pub(crate) struct SoleRequest(Arc<Mutex<Vec<Arc<RequestScope>>>>);

impl SoleRequest {
    /// A request begins. Those that are over are forgotten.
    pub(crate) fn begin(&self, scope: &Arc<RequestScope>) {
        let mut active = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        active.retain(|other| !other.is_over());
        active.push(Arc::clone(scope));
    }

    fn scope(&self) -> Option<Arc<RequestScope>> {
        let active = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live = active.iter().filter(|scope| !scope.is_over());
        let only = live.next()?;
        live.next().is_none().then(|| Arc::clone(only))
    }
}

/// Takes what is written.
type Put = dyn Fn(&[u8]) + Send + Sync;

/// One of the two standard streams of an instance: whatever is written goes to a function, and nothing waits.
#[derive(Clone)]
pub struct PrintStream(Arc<Put>);

impl PrintStream {
    /// `put` is given what the guest writes, in pieces of any size.
    pub fn new(put: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(put))
    }

    /// Leads to a log, where lines are those of the only request under way.
    pub(crate) fn of_log(writer: Box<dyn LogWriter>, sole: SoleRequest) -> Self {
        Self::new(move |bytes| {
            let scope = sole.scope();
            writer.write(scope.as_ref().map(|scope| &scope.context), bytes);
        })
    }

    fn put(&self, bytes: &[u8]) {
        (self.0)(bytes);
    }
}

impl IsTerminal for PrintStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for PrintStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for PrintStream {
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

impl OutputStream for PrintStream {
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
impl Pollable for PrintStream {
    async fn ready(&mut self) {}
}
