//! A shop's orders behind a small HTTP API: for the example, its tests, and whoever counts what an agent has really done.
//!
//! What changes an order is written to a journal and is on the disk before it is answered; started again, the service is
//! where it was. An `Idempotency-Key` is honoured: what was done under one is not done again, and answered as it was. Nothing
//! else keeps a call from being done twice, so `GET /stats` shows when one was.

mod api;
mod journal;
mod orders;
mod stats;

pub use orders::{Order, Status};
pub use stats::{Effect, Stats};

use journal::Journal;
use orders::Shop;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the service is started with.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The file of the journal; `None`: what is done is forgotten at the end.
    pub journal: Option<PathBuf>,
    /// What requests must carry in `x-api-key`; `None` accepts everything. `/openapi.json` and `/stats` want none.
    pub api_key: Option<String>,
}

/// The service as its requests share it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    shop: Arc<Mutex<Shop>>,
    api_key: Option<Arc<str>>,
}

impl Service {
    fn open(config: Config) -> io::Result<Self> {
        let (journal, entries) = Journal::open(config.journal.as_deref())?;
        let shop = Shop::restored(journal, entries);
        Ok(Self { shop: Arc::new(Mutex::new(shop)), api_key: config.api_key.map(Into::into) })
    }

    /// The data behind the lock is valid after any panic: it changes when its journal has taken the change.
    fn shop(&self) -> MutexGuard<'_, Shop> {
        self.shop.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A service that serves until this is dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    service: Service,
    task: JoinHandle<()>,
}

impl Running {
    /// `http://ADDRESS:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked and done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.service.shop().stats()
    }

    /// An order as it is now.
    #[must_use]
    pub fn order(&self, id: &str) -> Option<Order> {
        self.service.shop().order(id).cloned()
    }

    /// Returns when the service has ended, which it does by itself only when its listener fails.
    pub async fn ended(&mut self) {
        let _panicked = (&mut self.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the service; with port 0, on a free one.
///
/// # Errors
/// The address cannot be listened on; the journal cannot be read.
pub async fn start(listen: &str, config: Config) -> io::Result<Running> {
    let service = Service::open(config)?;
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let router = api::router(service.clone(), &format!("http://{address}"));
    let task = tokio::spawn(async move {
        // It ends with whoever has started it.
        let _ended = axum::serve(listener, router).await;
    });
    Ok(Running { address, service, task })
}
