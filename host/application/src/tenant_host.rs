//! What the admin API asks of the running host: to erase a tenant, to end it, to say what it uses.

use crate::quotas::Quotas;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use waggle_admin::{ErasureReport, Host, StoreErasure, Usage};
use waggle_engine::Engine;
use waggle_kv::{Store, TenantPart};
use waggle_manifest::Manifest;
use waggle_telemetry::TenantLogFiles;
use waggle_tenancy::{Directory, TenantId};

/// How long the instances of a tenant that is erased may go on with what they have.
const INSTANCES_END_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The running host.
pub(crate) struct RunningHost {
    pub(crate) engine: Engine,
    pub(crate) directory: Arc<Directory>,
    pub(crate) stores: BTreeMap<String, Arc<dyn Store>>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) log_files: Arc<TenantLogFiles>,
    pub(crate) manifest: Arc<Manifest>,
}

impl RunningHost {
    /// Ends the tenant's instances and waits until none could write any more.
    async fn stop(&self, tenant: &TenantId) -> Result<(), String> {
        self.engine.retire(tenant);
        let stopped = async {
            while self.engine.instances(tenant) > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(INSTANCES_END_MAX, stopped).await.map_err(|_late| {
            format!(
                "{} of its instances still finish what they have; try again shortly",
                self.engine.instances(tenant)
            )
        })
    }
}

#[async_trait]
impl Host for RunningHost {
    async fn erase(&self, tenant: &TenantId) -> Result<ErasureReport, String> {
        self.stop(tenant).await?;
        let part = TenantPart::new(tenant.as_str()).map_err(|error| error.to_string())?;
        let mut report = ErasureReport::default();
        for (label, store) in &self.stores {
            let erased = store.erase(&part).await.map_err(|error| format!("store `{label}`: {error}"))?;
            report.stores.push(StoreErasure {
                store: label.clone(),
                keys: erased.keys,
                bytes: erased.bytes,
                remaining: erased.remaining,
            });
        }
        let (log_files, id) = (Arc::clone(&self.log_files), tenant.clone());
        let removed = tokio::task::spawn_blocking(move || log_files.remove(id.as_str())).await;
        let removed = removed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        report.log_files = u32::try_from(removed).unwrap_or(u32::MAX);
        self.quotas.forget(tenant);
        Ok(report)
    }

    async fn ended(&self, tenant: &TenantId) {
        self.engine.retire(tenant);
        self.quotas.forget(tenant);
    }

    fn usage(&self, tenant: &TenantId) -> Usage {
        let meter = self.directory.entry(tenant).map(|entry| Arc::clone(&entry.meter));
        Usage {
            concurrent_requests: meter.as_ref().map(|meter| u64::from(meter.requests_under_way())),
            waiting_requests: meter.as_ref().map(|meter| u64::from(meter.requests_waiting())),
            instances: Some(u64::from(self.engine.instances(tenant))),
            memory_bytes: Some(self.engine.memory_bytes(tenant)),
            ..Usage::default()
        }
    }

    fn is_secret_variable(&self, name: &str) -> bool {
        self.manifest.variables.iter().any(|variable| variable.name.value == name && variable.is_secret)
    }
}
