//! The listener: what a connection speaks, and the lane its work runs in.

use crate::body::Inbound;
use crate::gateway::Gateway;
use crate::peer::Peer;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use waggle_engine::ConnectionLane;
use waggle_listen::{Bounds, Connection, Drained};

/// How long a client may take for the TLS handshake.
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves `gateway` on `listener` until `stop` resolves, then stops accepting and finishes what is under way, at most
/// for the configured drain time.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    gateway: Arc<Gateway>,
    stop: impl Future<Output = ()>,
) -> Drained {
    let config = gateway.config();
    let drain_max = config.drain_timeout();
    let bounds = Bounds { connections_max: config.connections_max, drain_max };
    let mut stopped = Instant::now();
    let stop = async {
        stop.await;
        stopped = Instant::now();
        gateway.sockets().stop();
    };
    let drained =
        waggle_listen::serve(listener, bounds, stop, |connection| start(connection, tls.clone(), &gateway))
            .await;
    // A connection of HTTP/1.1 that has become a WebSocket is none of the listener's any more.
    match tokio::time::timeout_at(stopped + drain_max, gateway.sockets().all_closed()).await {
        Ok(()) => drained,
        Err(_elapsed) => Drained::Partly,
    }
}

/// Serves a connection in a task of its own.
fn start(accepted: Connection, tls: Option<TlsAcceptor>, gateway: &Arc<Gateway>) {
    let Connection { stream, remote, watcher, place } = accepted;
    let lane = Arc::<ConnectionLane>::default();
    let open = gateway.metrics().connections.hold();
    let from = Arc::new(Peer::new(remote, Arc::clone(&lane), place, open));
    let to = Arc::clone(gateway);
    gateway.spawn_connection(&lane, connection(stream, from, tls, to, watcher));
}

async fn connection(
    stream: TcpStream,
    from: Arc<Peer>,
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

async fn http<S>(stream: S, from: Arc<Peer>, scheme: &'static str, gateway: Arc<Gateway>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = protocol(&gateway);
    let client = from.client;
    let service = service_fn(move |request: Request<Incoming>| {
        let (gateway, from) = (Arc::clone(&gateway), Arc::clone(&from));
        async move { Ok::<_, Infallible>(gateway.answer(request.map(Inbound::Stream), &from, scheme, None).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
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
        .enable_connect_protocol()
        .max_header_list_size(u32::try_from(config.request_head_bytes_max).unwrap_or(u32::MAX));
    builder
}
