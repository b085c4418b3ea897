//! The indexes of all tenants: opened where a function asks for them, closed to everyone but their tenant.

use crate::error::StartError;
use crate::plan::Plan;
use crate::running::private_folder;
use std::sync::Arc;
use waggle_engine::Engine;
use waggle_tenancy::TenantEntry;
use waggle_vector::{Backend, Embedded, Prewarm, TenantBounds, TenantIndexes, VectorError, VectorIndexes};
use waggle_vector_postgres::Postgres;

/// The interface by which functions use indexes.
const INTERFACE: &str = "waggle:vector/index@0.1.0";
/// The indexes' place in the state folder.
const INDEX_FOLDER: &str = "vector";
/// Indexes of one tenant; the interface promises as many.
const INDEXES_PER_TENANT_MAX: u32 = 10_000;

/// Opens the indexes, if a function that is loaded imports them. None of them is read yet: that is done when it is first
/// used, or by [`prewarm`].
///
/// # Errors
/// [`StartError::Indexes`] or [`StartError::StateFolder`].
pub(crate) async fn open_indexes(
    plan: &Plan,
    engine: &Engine,
) -> Result<Option<Arc<dyn VectorIndexes>>, StartError> {
    if !engine.imports(INTERFACE) {
        return Ok(None);
    }
    let failed = |reason: String| StartError::Indexes { reason };
    if let (Backend::Postgres, Some(postgres)) = (plan.vector.backend, &plan.vector.postgres) {
        let opened = Postgres::open(postgres).await.map_err(|error| failed(error.to_string()))?;
        return Ok(Some(Arc::new(opened)));
    }
    let folder = plan.state_dir.join(INDEX_FOLDER);
    private_folder(&folder)?;
    let config = plan.vector.embedded();
    let opened = tokio::task::spawn_blocking(move || Embedded::open(&folder, config)).await;
    let opened = opened.map_err(|error| failed(error.to_string()))?;
    Ok(Some(Arc::new(opened.map_err(|error| failed(error.to_string()))?)))
}

/// Reads the indexes of `prewarm` into memory, one after the other, while the host serves. Those that are not there, or are no
/// more, are skipped; what is wrong with one is for whoever uses it, and for the log.
pub(crate) fn prewarm(plan: &Plan, indexes: &Arc<dyn VectorIndexes>) {
    let (wanted, indexes) = (plan.vector.prewarm(), Arc::clone(indexes));
    if wanted.is_empty() {
        return;
    }
    tokio::spawn(async move {
        for Prewarm { tenant, index } in wanted {
            match indexes.describe(&tenant, &index).await {
                Ok(_loaded) => tracing::debug!(tenant, %index, "an index was read into memory"),
                Err(VectorError::NoSuchIndex) => {
                    tracing::warn!(tenant, %index, "an index of `prewarm` in [vector] is not there");
                }
                Err(error) => tracing::error!(tenant, %index, %error, "an index cannot be read into memory"),
            }
        }
    });
}

/// Those of one tenant, within its limits.
pub(crate) fn indexes_of(all: &Arc<dyn VectorIndexes>, entry: &TenantEntry) -> Arc<TenantIndexes> {
    let bounds =
        TenantBounds { bytes_max: entry.limits.vector_bytes_max, indexes_max: INDEXES_PER_TENANT_MAX };
    Arc::new(TenantIndexes::new(Arc::clone(all), entry.tenant.id.as_str(), bounds))
}
