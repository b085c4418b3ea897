//! The loop that accepts connections, and the drain at its end.

use crate::connection::{Connection, Place};
use hyper_util::server::graceful::GracefulShutdown;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long to wait after `accept` failed, for example for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Of failures that come one after another, the first and then one in so many is told: one in a second.
const FAILURES_PER_WARNING: u32 = 20;

/// What a listener allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Open connections; more wait in the listener's backlog. 1 to 1,000,000.
    pub connections_max: usize,
    /// How long requests under way may go on after the stop.
    pub drain_max: Duration,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request under way was finished.
    Completely,
    /// The bound was reached and the rest was cut off.
    Partly,
}

/// Gives each connection that `listener` accepts to `connected` until `stop` resolves. Then it stops accepting, tells the
/// connections to finish what is under way, and waits until they have, at most for `bounds.drain_max`.
///
/// `connected` must not block: it is to spawn a task for the connection and return. What is still open when this returns
/// ends with the caller's runtime.
pub async fn serve(
    listener: TcpListener,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
    mut connected: impl FnMut(Connection),
) -> Drained {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            // However many connections wait, the stop is seen at the next one.
            biased;
            () = &mut stop => break,
            accepted = next(&listener, &places) => accepted,
        };
        // The semaphore is never closed.
        let Some((permit, stream, remote)) = accepted else { break };
        // Without this, an answer in two writes waits for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        connected(Connection { stream, remote, watcher: graceful.watcher(), place: Place(permit) });
    }
    drop(listener);
    match tokio::time::timeout(bounds.drain_max, graceful.shutdown()).await {
        Ok(()) => Drained::Completely,
        Err(_elapsed) => Drained::Partly,
    }
}

/// The next connection, once there is a place for it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let permit = Arc::clone(places).acquire_owned().await.ok()?;
    let mut failures = 0_u32;
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => return Some((permit, stream, remote)),
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "a connection ended before it was accepted");
            }
            Err(error) => {
                if failures.is_multiple_of(FAILURES_PER_WARNING) {
                    let address = listener.local_addr().ok().map(tracing::field::display);
                    tracing::warn!(address, %error, "a connection could not be accepted; trying again");
                }
                failures = failures.wrapping_add(1);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the next connection can be accepted at once: Linux tells by `accept` what befell a connection in the backlog.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
