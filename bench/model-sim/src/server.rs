//! Accepts connections and serves them until the shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::config::SimConfig;
use crate::io::{Line, LineControl, Transport};
use crate::service::Model;
use crate::stats::{Handle, Ledger};
#[cfg(feature = "tls")]
use crate::tls::TlsIdentity;

/// How long answers in flight may go on after the shutdown.
const DRAIN_MS_MAX: u64 = 1_000;
/// The pause after a failed accept (out of file descriptors), so that it does not spin.
const ACCEPT_RETRY_MS: u64 = 20;

/// A simulated model that is ready to serve.
#[derive(Clone)]
pub struct Simulator {
    model: Arc<Model>,
    #[cfg(feature = "tls")]
    tls: Option<TlsIdentity>,
}

impl Simulator {
    /// Makes a simulated model; nothing listens yet.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        let ledger = Arc::new(Ledger::new(&config));
        Self {
            model: Arc::new(Model::new(config, Handle { ledger })),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The same over TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(self, identity: TlsIdentity) -> Self {
        Self { tls: Some(identity), ..self }
    }

    /// Counters and recorded requests, now and while it serves.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.model.handle.clone()
    }

    /// Serves HTTP/1.1, over TLS if it was given an identity, on the listener until `shutdown` is ready, then lets answers in flight go on for at most
    /// one second. Connections end with the returned future when it is dropped.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let has_room = connections.len() < self.model.config.connections_max;
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept(), if has_room => match accepted {
                    Ok((stream, _)) => {
                        self.model.handle.ledger.connected();
                        self.take(&mut connections, stream, stopped.clone());
                    }
                    Err(_) => sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await,
                },
            }
        }
        drop(listener);
        drop(stop);
        let drain = async { while connections.join_next().await.is_some() {} };
        // What has not ended by then is aborted when the set is dropped.
        let _ = timeout(Duration::from_millis(DRAIN_MS_MAX), drain).await;
    }

    fn take(&self, connections: &mut JoinSet<()>, stream: TcpStream, stopped: watch::Receiver<()>) {
        let model = Arc::clone(&self.model);
        #[cfg(feature = "tls")]
        if let Some(identity) = self.tls.clone() {
            connections.spawn(async move {
                if let Some(stream) = identity.accept(stream).await {
                    serve_connection(model, stream, stopped).await;
                }
            });
            return;
        }
        connections.spawn(serve_connection(model, stream, stopped));
    }
}

async fn serve_connection<S: Transport>(model: Arc<Model>, stream: S, mut stopped: watch::Receiver<()>) {
    // Without it small events would wait for acknowledgements; a socket that refuses still works.
    let _ = stream.tcp().set_nodelay(true);
    let line = Arc::new(LineControl::default());
    let service = service_fn(|request| {
        let (model, line) = (Arc::clone(&model), Arc::clone(&line));
        async move { model.respond(request, &line).await }
    });
    let io = TokioIo::new(Line::new(stream, Arc::clone(&line)));
    let connection = http1::Builder::new().serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    // Errors end the connection and are the client's to see: a broken request, a lost peer, or a fault asked for.
    let drained = tokio::select! {
        _ = connection.as_mut() => true,
        _ = stopped.changed() => false,
    };
    if !drained {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// Serves a simulated model on the listener until `shutdown` is ready. For the counters use [`Simulator`].
pub async fn serve(listener: TcpListener, config: SimConfig, shutdown: impl Future<Output = ()>) {
    Simulator::new(config).serve(listener, shutdown).await;
}

/// A simulated model that runs in the background on a port of its own. It stops when this is dropped.
#[derive(Debug)]
pub struct Running {
    scheme: &'static str,
    address: SocketAddr,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its root, such as `http://127.0.0.1:41234`; an OpenAI client wants `/v1` after it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Counters and recorded requests.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Stops it, and waits until it has stopped.
    pub async fn stop(mut self) {
        self.stop = None;
        // The task is neither cancelled nor does it panic on its own; either way it has ended.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.stop.is_some() {
            self.task.abort();
        }
    }
}

/// Starts a simulated model on a free port of 127.0.0.1.
///
/// # Errors
/// When no port can be bound.
pub async fn start(config: SimConfig) -> io::Result<Running> {
    start_as(Simulator::new(config), "http").await
}

/// The same over TLS.
///
/// # Errors
/// When no port can be bound.
#[cfg(feature = "tls")]
pub async fn start_tls(config: SimConfig, identity: TlsIdentity) -> io::Result<Running> {
    start_as(Simulator::new(config).with_tls(identity), "https").await
}

async fn start_as(simulator: Simulator, scheme: &'static str) -> io::Result<Running> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let handle = simulator.handle();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        simulator
            .serve(listener, async {
                // Both a message and the loss of the sender mean stop.
                let _ = stopped.await;
            })
            .await;
    });
    Ok(Running { scheme, address, handle, stop: Some(stop), task })
}
