//! The stores of the application: opened together, closed together.

use crate::error::StartError;
use crate::plan::Plan;
use std::collections::BTreeMap;
use std::sync::Arc;
use waggle_kv::{Opener, Store};

/// The embedded store's place in the state folder.
pub(crate) const STORE_FOLDER: &str = "store";

/// What is open.
pub(crate) struct Stores {
    pub(crate) by_label: BTreeMap<String, Arc<dyn Store>>,
    /// Where the host's own records are; they never expire, whatever the label says of its keys.
    pub(crate) records: Arc<dyn Store>,
}

/// Opens every store that a component names, and the one for the host's own records.
///
/// # Errors
/// [`StartError::Store`]; what was opened is closed again.
pub(crate) async fn open_stores(plan: &Plan) -> Result<Stores, StartError> {
    let mut opener = Opener::new(plan.state_dir.join(STORE_FOLDER));
    let mut by_label = BTreeMap::new();
    let failed = |label: &str, source| StartError::Store { label: label.to_owned(), source };
    let used = |label: &str| {
        plan.manifest.components.iter().any(|one| one.key_value_stores.iter().any(|used| used.value == label))
    };
    for (label, config) in plan.stores.iter().filter(|(label, _config)| used(label)) {
        match opener.open(config).await {
            Ok(store) => {
                by_label.insert(label.clone(), store);
            }
            Err(source) => {
                close(&by_label).await;
                return Err(failed(label, source));
            }
        }
    }
    let label = &plan.tenancy.store;
    let config = plan.stores.get(label).cloned().unwrap_or_default();
    match opener.open(&config.lasting()).await {
        Ok(records) => Ok(Stores { by_label, records }),
        Err(source) => {
            close(&by_label).await;
            Err(failed(label, source))
        }
    }
}

/// Makes everything durable. What fails is logged: there is nobody left to tell.
pub(crate) async fn close(stores: &BTreeMap<String, Arc<dyn Store>>) {
    for (label, store) in stores {
        if let Err(error) = store.close().await {
            tracing::error!(label, %error, "the store could not be closed cleanly");
        }
    }
}
