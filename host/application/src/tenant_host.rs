//! What the admin API asks of the running host: to erase a tenant, to end it, to say what it uses.

use crate::models::Models;
use crate::quotas::Quotas;
use crate::tenancy::STORE_FOLLOWED_WITHIN;
use crate::tenant_checks::TenantChecks;
use crate::tools::Tools;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use waggle_admin::{BudgetUse, ErasureReport, Host, StoreErasure, Usage};
use waggle_engine::Engine;
use waggle_kv::{Place, Store, TenantPart};
use waggle_telemetry::TenantLogFiles;
use waggle_tenancy::{Directory, TenantId};
use waggle_vector::{VectorError, VectorIndexes};
use waggle_work::Queue;

/// How long the instances of a tenant that is erased may go on with what they have.
const INSTANCES_END_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long what a tenant stores may be counted, for one who asks.
const COUNT_MAX: Duration = Duration::from_secs(5);

/// What indexes are called among the stores of an erasure; no label looks like it.
const INDEXES: &str = "(indexes)";

/// The running host.
pub(crate) struct RunningHost {
    pub(crate) engine: Engine,
    pub(crate) directory: Arc<Directory>,
    pub(crate) stores: BTreeMap<String, Arc<dyn Store>>,
    /// Where counters of its budgets are, and its pending work.
    pub(crate) records: Arc<dyn Store>,
    pub(crate) models: Arc<Models>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) indexes: Option<Arc<dyn VectorIndexes>>,
    pub(crate) work: Queue,
    /// The tools of all tenants, where a function may ask for them.
    pub(crate) tools: Option<Arc<Tools>>,
    /// The same, as the admin API asks for them.
    pub(crate) admin_tools: Option<waggle_admin::Tools>,
    pub(crate) log_files: Arc<TenantLogFiles>,
    pub(crate) checks: Arc<TenantChecks>,
    /// See [`quiet_after`].
    pub(crate) quiet_after: Duration,
}

/// How long after a suspension other hosts may still write: where a store is on a server, until they have seen it and
/// the longest response has ended; deliveries of work are cut off when they see it. `response_timeout` is that of this
/// host; theirs should be the same.
pub(crate) fn quiet_after<'s>(
    mut stores: impl Iterator<Item = &'s Arc<dyn Store>>,
    response_timeout: Duration,
) -> Duration {
    let is_shared = stores.any(|store| matches!(store.place(), Place::Server(_)));
    if is_shared { STORE_FOLLOWED_WITHIN + response_timeout } else { Duration::ZERO }
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

    /// What the tenant has in indexes, where there are any and it can be counted.
    async fn indexes(&self, tenant: &TenantId) -> Option<waggle_vector::Usage> {
        let indexes = self.indexes.as_ref()?;
        let counting = tokio::time::timeout(COUNT_MAX, indexes.usage(tenant.as_str()));
        match counting.await {
            Ok(Ok(usage)) => Some(usage),
            Ok(Err(error)) => {
                tracing::warn!(%tenant, %error, "what the tenant has in indexes cannot be counted");
                None
            }
            Err(_late) => None,
        }
    }

    /// What is used of the tenant's budgets.
    async fn budgets(&self, tenant: &TenantId) -> Vec<BudgetUse> {
        let Some(entry) = self.directory.entry(tenant) else { return Vec::new() };
        let states = self.models.budgets(&entry).await;
        let used = states.into_iter().map(|state| BudgetUse {
            limit: state.limit.to_owned(),
            allowed: state.allowed,
            used: state.used,
            reserved: state.reserved,
            reset_seconds: state.reset_seconds,
        });
        used.collect()
    }
}

/// Removes all indexes of a tenant and looks again.
async fn erase_indexes(indexes: &dyn VectorIndexes, tenant: &TenantId) -> Result<StoreErasure, VectorError> {
    let before = indexes.usage(tenant.as_str()).await?;
    indexes.erase(tenant.as_str()).await?;
    let after = indexes.usage(tenant.as_str()).await?;
    Ok(StoreErasure {
        store: INDEXES.to_owned(),
        keys: before.indexes.saturating_sub(after.indexes),
        bytes: before.bytes.saturating_sub(after.bytes),
        remaining: after.indexes,
    })
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
        // What is in both is erased by now, so nothing is counted twice.
        let counters = self.records.erase(&part).await.map_err(|error| format!("budgets: {error}"))?;
        if counters.keys > 0 || counters.remaining > 0 {
            report.stores.push(StoreErasure {
                store: "(budgets)".to_owned(),
                keys: counters.keys,
                bytes: counters.bytes,
                remaining: counters.remaining,
            });
        }
        // Its tools were among these; now they are not called either.
        if let Some(tools) = &self.tools {
            tools.forget(tenant).await.map_err(|error| format!("tools: {error}"))?;
        }
        if let Some(indexes) = &self.indexes {
            let erased =
                erase_indexes(&**indexes, tenant).await.map_err(|error| format!("indexes: {error}"))?;
            if erased.keys > 0 || erased.remaining > 0 {
                report.stores.push(erased);
            }
        }
        let (log_files, id) = (Arc::clone(&self.log_files), tenant.clone());
        let removed = tokio::task::spawn_blocking(move || log_files.remove(id.as_str())).await;
        let removed = removed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        report.log_files = u32::try_from(removed).unwrap_or(u32::MAX);
        self.quotas.forget(tenant);
        self.models.forget(tenant);
        self.work.forget(tenant.as_str());
        Ok(report)
    }

    async fn ended(&self, tenant: &TenantId) {
        self.engine.retire(tenant);
        self.quotas.forget(tenant);
        self.models.forget(tenant);
        self.work.forget(tenant.as_str());
    }

    fn quiet_after(&self) -> Duration {
        self.quiet_after
    }

    async fn usage(&self, tenant: &TenantId) -> Usage {
        let counting = tokio::time::timeout(COUNT_MAX, self.quotas.used(tenant, self.stores.values()));
        let storage_bytes = match counting.await {
            Ok(Ok(bytes)) => Some(bytes),
            Ok(Err(error)) => {
                tracing::warn!(%tenant, %error, "what the tenant stores cannot be counted");
                None
            }
            Err(_late) => None,
        };
        let indexes = self.indexes(tenant).await;
        let tools = self.tools.as_ref().map(|tools| tools.used(tenant));
        let meter = self.directory.entry(tenant).map(|entry| Arc::clone(&entry.meter));
        Usage {
            concurrent_requests: meter.as_ref().map(|meter| u64::from(meter.requests_under_way())),
            waiting_requests: meter.as_ref().map(|meter| u64::from(meter.requests_waiting())),
            instances: Some(u64::from(self.engine.instances(tenant))),
            memory_bytes: Some(self.engine.memory_bytes(tenant)),
            tokens_last_minute: meter.as_ref().and_then(|meter| meter.tokens_last_minute()),
            storage_bytes,
            vector_indexes: indexes.as_ref().map(|indexes| indexes.indexes),
            vector_chunks: indexes.as_ref().map(|indexes| indexes.chunks),
            vector_bytes: indexes.as_ref().map(|indexes| indexes.bytes),
            tools: tools.map(|(tools, _calls)| tools),
            tool_calls: tools.map(|(_tools, calls)| calls),
            budgets: self.budgets(tenant).await,
        }
    }

    fn is_secret_variable(&self, name: &str) -> bool {
        self.checks.is_secret(name)
    }

    fn tools(&self) -> Option<&waggle_admin::Tools> {
        self.admin_tools.as_ref()
    }
}
