//! What one tool of one tenant has, worked out once: its grants as the egress and the stores understand them, and its log.

use super::Tools;
use super::grants::{GrantedHosts, credentials};
use super::places::{Full, Place};
use crate::log_sink::FunctionLogs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use waggle_egress::Credentials;
use waggle_engine::{OutboundPolicy, StoreHandle, ToolTerms};
use waggle_kv::Partition;
use waggle_tenancy::TenantEntry;
use waggle_tools::{AcceptedTool, Grants, Limits};

/// Stands before a store's label in the partition that tools have: no label of a function's has a colon, so no tool sees what
/// functions store. Tools that were granted the same label share what is there.
const STORE_PREFIX: &str = "tools:";
/// Stands before the tool's name in the log, where a function's stands.
const LOG_PREFIX: &str = "tool:";

/// One tool of one tenant.
pub(crate) struct ToolHome {
    pub(crate) tool: Arc<AcceptedTool>,
    pub(crate) name: Arc<str>,
    pub(crate) reach: Reach,
    pub(crate) limits: Limits,
    pub(crate) stores: BTreeMap<String, StoreHandle>,
    pub(crate) log: Arc<FunctionLogs>,
}

/// Where a tool may call, and with what.
#[derive(Clone)]
pub(crate) struct Reach {
    outbound: Arc<dyn OutboundPolicy>,
    credentials: Arc<Credentials>,
}

impl ToolHome {
    /// `log` is that of the same tool before, so that it gets no new lines by being changed.
    pub(crate) fn new(
        tools: &Tools,
        entry: &TenantEntry,
        tool: &Arc<AcceptedTool>,
        log: Option<Arc<FunctionLogs>>,
    ) -> Self {
        Self {
            name: tool.name.as_str().into(),
            reach: Reach::new(tools, entry, &tool.grants),
            limits: tools.bounded(&tool.limits),
            stores: stores(tools, entry, &tool.grants),
            log: log.unwrap_or_else(|| Arc::new(tools.log(entry, &tool.name))),
            tool: Arc::clone(tool),
        }
    }
}

impl Reach {
    pub(crate) fn new(tools: &Tools, entry: &TenantEntry, grants: &Grants) -> Self {
        let outbound = GrantedHosts::new(&grants.outbound, entry, &tools.private, &tools.metrics);
        let credentials = credentials(entry, &grants.secrets);
        Self { outbound: Arc::new(outbound), credentials: Arc::new(credentials) }
    }

    /// The terms of one call that may take so long; `place` is kept until its response has ended.
    pub(crate) fn terms(
        &self,
        timeout: Duration,
        response_bytes_max: u64,
        place: Box<dyn std::any::Any + Send>,
    ) -> ToolTerms {
        ToolTerms {
            outbound: Arc::clone(&self.outbound),
            credentials: Arc::clone(&self.credentials),
            timeout,
            response_bytes_max,
            place,
        }
    }
}

impl Tools {
    /// A place for a call of a tool.
    pub(super) fn enter(&self, entry: &TenantEntry, name: &Arc<str>, limits: &Limits) -> Result<Place, Full> {
        let most = u32::try_from(limits.concurrent_calls_max).unwrap_or(u32::MAX);
        self.places.enter(&entry.tenant.id, name, most)
    }

    /// The tool's limits within the host's.
    pub(super) fn bounded(&self, limits: &Limits) -> Limits {
        Limits {
            memory_bytes_max: limits.memory_bytes_max.min(self.config.memory_bytes_max),
            cpu_ms_max: limits.cpu_ms_max.min(self.config.cpu_ms_max),
            time_ms_max: limits.time_ms_max.min(self.config.time_ms_max),
            output_bytes_max: limits.output_bytes_max.min(self.config.output_bytes_max),
            outbound_calls_max: limits.outbound_calls_max.min(self.config.outbound_calls_max.into()),
            concurrent_calls_max: limits.concurrent_calls_max,
        }
    }

    fn log(&self, entry: &TenantEntry, name: &str) -> FunctionLogs {
        let tenant = entry.tenant.id.as_str();
        let file = entry.tenant.settings.log_file.then(|| self.log_files.file(tenant)).transpose();
        let file = file.unwrap_or_else(|error| {
            tracing::error!(tenant, %error, "the tenant's log has no file");
            None
        });
        FunctionLogs::new(tenant, &format!("{LOG_PREFIX}{name}"), file, self.is_quiet)
    }
}

/// The stores that were granted, each with the tenant's part of it that is its tools'. They count in its storage.
fn stores(tools: &Tools, entry: &TenantEntry, grants: &Grants) -> BTreeMap<String, StoreHandle> {
    let granted = grants.key_value.iter().filter_map(|label| {
        let store = tools.quotas.limited(entry, tools.stores.get(label)?);
        let partition = Partition::new(entry.tenant.id.as_str(), &format!("{STORE_PREFIX}{label}")).ok()?;
        Some((label.clone(), StoreHandle { store, partition }))
    });
    granted.collect()
}
