//! A connection that was accepted: its socket, and its place among those that are open.

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// A connection that was accepted.
pub struct Connection {
    /// Its socket, which sends what is written at once (`TCP_NODELAY`).
    pub stream: TcpStream,
    /// Who is at the other end.
    pub remote: SocketAddr,
    /// Whoever runs the connection has it watched by this, so that the listener's stop lets it finish what is under way;
    /// the drain waits until this is gone.
    pub watcher: Watcher,
    /// What it occupies of the listener.
    pub place: Place,
}

/// A connection's place: as long as it lives, the connection counts among those that are open.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "it counts by being there")] pub(crate) OwnedSemaphorePermit);

/// What a request's head may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadBounds {
    /// From a connection's beginning, or the previous answer, to the end of a head.
    pub read_max: Duration,
    /// Bytes of a head. At least 8 KiB.
    pub bytes_max: usize,
    /// Header fields.
    pub fields_max: usize,
}

impl Connection {
    /// Serves plain HTTP/1.1 within `head` until the client or the listener's stop ends it. Each request is given to
    /// `answer`; a head over its bounds is answered 431 without it.
    ///
    /// # Errors
    /// Why the connection ended otherwise than by agreement.
    pub async fn serve_http1<F, R, B>(self, head: &HeadBounds, answer: F) -> hyper::Result<()>
    where
        F: Fn(Request<Incoming>) -> R,
        R: Future<Output = Response<B>>,
        B: Body + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { stream, watcher, place: _place, .. } = self;
        let service = service_fn(|request| {
            let answer = answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head.read_max)
            .max_buf_size(head.bytes_max)
            .max_headers(head.fields_max)
            .serve_connection(TokioIo::new(stream), service);
        watcher.watch(connection).await
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("remote", &self.remote).finish_non_exhaustive()
    }
}
