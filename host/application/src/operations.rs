//! The operations listener: bound with the others, told when the host goes down, stopped last.

use crate::error::StartError;
use crate::metrics::{Sources, metrics};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use waggle_kv::{Partition, Store};
use waggle_operations::{Checks, MetricsConfig, Operations, bind, serve};
use waggle_vector::VectorIndexes;

/// A key that no record has; reading it shows whether the store answers.
const PROBE: &str = "ready";

/// The listener, bound but not yet serving; none where it is off.
pub(crate) struct OperationsListener {
    listener: Option<(TcpListener, Operations)>,
    url: Option<String>,
    is_leaving: Arc<AtomicBool>,
}

/// The listener while it serves.
pub(crate) struct ServingOperations {
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    is_leaving: Arc<AtomicBool>,
}

impl OperationsListener {
    /// Binds the listener. The host is ready while every store of `sources` answers and takes writes, and its indexes
    /// do, until it is told to stop.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub(crate) async fn bind(config: &MetricsConfig, sources: Sources) -> Result<Self, StartError> {
        let failed = |reason: String| StartError::Operations { reason };
        let listener = bind(config.listen).await.map_err(|error| failed(error.to_string()))?;
        let address = listener.as_ref().map(TcpListener::local_addr).transpose();
        let url =
            address.map_err(|error| failed(error.to_string()))?.map(|address| format!("http://{address}"));
        let is_leaving = Arc::new(AtomicBool::new(false));
        let checks = checks(&sources.stores, sources.indexes.as_ref(), &is_leaving);
        let listener = listener.map(|listener| (listener, Operations::new(metrics(sources), checks)));
        Ok(Self { listener, url, is_leaving })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    pub(crate) fn start(self) -> ServingOperations {
        let Self { listener, is_leaving, url: _ } = self;
        let running = listener.map(|(listener, operations)| {
            let (stop, stopped) = oneshot::channel();
            let task = tokio::spawn(serve(listener, Arc::new(operations), async {
                let _ = stopped.await;
            }));
            (stop, task)
        });
        ServingOperations { running, is_leaving }
    }
}

impl ServingOperations {
    /// From now on the host is not ready: it takes no new connections.
    pub(crate) fn leave(&self) -> impl FnOnce() + use<> {
        let is_leaving = Arc::clone(&self.is_leaving);
        move || is_leaving.store(true, SeqCst)
    }

    /// Finishes what is under way.
    pub(crate) async fn stop(self) {
        if let Some((stop, task)) = self.running {
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}

fn checks(
    stores: &BTreeMap<String, Arc<dyn Store>>,
    indexes: Option<&Arc<dyn VectorIndexes>>,
    is_leaving: &Arc<AtomicBool>,
) -> Checks {
    let is_leaving = Arc::clone(is_leaving);
    let serving = move || {
        let is_leaving = is_leaving.load(SeqCst);
        async move { if is_leaving { Err("the host is going down".to_owned()) } else { Ok(()) } }
    };
    let stores = stores.clone();
    let reachable = move || {
        let stores = stores.clone();
        async move {
            for (label, store) in stores {
                let partition = Partition::host(PROBE).map_err(|error| error.to_string())?;
                let failed = |error| format!("store '{label}': {error}");
                store.takes_writes().map_err(failed)?;
                store.exists(&partition, PROBE).await.map_err(failed)?;
            }
            Ok(())
        }
    };
    let checks = Checks::new().with("serving", serving).with("stores", reachable);
    let Some(indexes) = indexes.map(Arc::clone) else { return checks };
    checks.with("indexes", move || {
        let indexes = Arc::clone(&indexes);
        async move { indexes.check().await }
    })
}
