//! The listener: connections, their protocol, and the drain at the end.

use crate::gateway::Gateway;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use waggle_engine::ConnectionLane;

/// How long to wait after `accept` failed, for example for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a client may take for the TLS handshake.
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request under way was finished.
    Completely,
    /// The bound was reached and the rest was cut off.
    Partly,
}

/// Serves `gateway` on `listener` until `stop` resolves, then stops accepting and finishes what is under way, at most
/// for the configured drain time.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    gateway: Arc<Gateway>,
    stop: impl Future<Output = ()>,
) -> Drained {
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(gateway.config().connections_max));
    let mut stop = std::pin::pin!(stop);
    loop {
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = Arc::clone(&connections).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let (stream, client) = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Without this, a response in two writes waits for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let watcher = graceful.watcher();
        let (gateway, tls) = (Arc::clone(&gateway), tls.clone());
        let lane = Arc::<ConnectionLane>::default();
        let from = Peer { client, lane: Arc::clone(&lane) };
        Arc::clone(&gateway).spawn_connection(&lane, async move {
            let _open = gateway.metrics().connections.hold();
            connection(stream, from, tls, gateway, watcher).await;
            drop(permit);
        });
    }
    drop(listener);
    let drain = gateway.config().drain_timeout();
    match tokio::time::timeout(drain, graceful.shutdown()).await {
        Ok(()) => Drained::Completely,
        Err(_elapsed) => Drained::Partly,
    }
}

/// Who sends requests, and the lane they make the connection's work belong to.
struct Peer {
    client: SocketAddr,
    lane: Arc<ConnectionLane>,
}

type Watcher = hyper_util::server::graceful::Watcher;

async fn connection(
    stream: TcpStream,
    from: Peer,
    tls: Option<TlsAcceptor>,
    gateway: Arc<Gateway>,
    watcher: Watcher,
) {
    let client = from.client;
    let Some(tls) = tls else {
        return http(stream, from, "http", gateway, watcher).await;
    };
    match tokio::time::timeout(TLS_HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => http(stream, from, "https", gateway, watcher).await,
        Ok(Err(error)) => tracing::debug!(%client, %error, "TLS handshake failed"),
        Err(_elapsed) => tracing::debug!(%client, "TLS handshake took too long"),
    }
}

async fn http<S>(stream: S, from: Peer, scheme: &'static str, gateway: Arc<Gateway>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = protocol(&gateway);
    let Peer { client, lane } = from;
    let service = service_fn(move |request| {
        let (gateway, lane) = (Arc::clone(&gateway), Arc::clone(&lane));
        async move { Ok::<_, Infallible>(gateway.answer(request, client, scheme, &lane).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%client, %error, "connection ended with an error");
    }
}

/// HTTP/1.1 and HTTP/2 with the gateway's bounds.
fn protocol(gateway: &Gateway) -> auto::Builder<TokioExecutor> {
    let config = gateway.config();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.head_read_timeout_ms))
        .max_buf_size(config.request_head_bytes_max)
        .max_headers(config.request_headers_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_header_list_size(u32::try_from(config.request_head_bytes_max).unwrap_or(u32::MAX));
    builder
}
