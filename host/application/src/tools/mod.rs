//! Tools: what functions ask at `tools.waggle.internal`, the terms on which they call other servers in a tool's name, and the
//! components that the host runs. Which tools there are is the registry's to say (`waggle_tools`), how one is run the runner's
//! (`waggle_tool_runner`); here they meet a tenant's stores, secrets, log, memory and CPU time.

mod answers;
mod component;
mod config;
mod function;
mod grants;
mod home;
mod metrics;
mod places;
mod source;
mod store;
mod trials;

pub(crate) use config::ToolsConfig;
pub(crate) use function::FunctionTools;
pub(crate) use metrics::tell;

use self::metrics::ToolMetrics;
use self::places::Places;
use self::store::RecordedTools;
use self::trials::Trials;
use crate::error::StartError;
use crate::plan::Plan;
use crate::policy::AllowList;
use crate::quotas::Quotas;
use crate::worlds::{ToGateway, may_use_tools};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::task::AbortHandle;
use waggle_egress::Egress;
use waggle_engine::{Engine, TenantWork};
use waggle_kv::Store;
use waggle_manifest::OutboundHosts;
use waggle_telemetry::TenantLogFiles;
use waggle_tenancy::{TenantEntry, TenantId};
use waggle_tool_runner::{Runner, RunnerConfig};
use waggle_tools::Registry;

/// Where functions find the tenant's tools. It is in no name service; `allowed_outbound_hosts` must have it.
pub(crate) const TOOLS_HOST: &str = "tools.waggle.internal";
/// The function that speaks for tools: it lists what other servers can do.
const TOOLS_FUNCTION: &str = "tools";
/// Where compiled components of tools are, in the state folder.
const COMPILED_FOLDER: &str = "compiled-tools";
/// How often it is looked whether another host has changed a tool.
const STORE_LOOK_EVERY: Duration = Duration::from_millis(500);

/// What the tools of all tenants share.
pub(crate) struct Tools {
    pub(crate) registry: Arc<Registry>,
    runner: Runner,
    config: ToolsConfig,
    places: Arc<Places>,
    metrics: Arc<ToolMetrics>,
    private: Arc<OutboundHosts>,
    trials: Arc<Trials>,
    /// What components can be granted, by label.
    stores: BTreeMap<String, Arc<dyn Store>>,
    quotas: Arc<Quotas>,
    egress: Arc<Egress>,
    work: TenantWork,
    gateway: Arc<ToGateway>,
    log_files: Arc<TenantLogFiles>,
    is_quiet: bool,
    /// Numbers of instances in the log.
    instances: AtomicU64,
    following: Following,
}

/// What tools are put together of, beside the plan.
pub(crate) struct Parts<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) stores: &'a BTreeMap<String, Arc<dyn Store>>,
    /// Where the registry is.
    pub(crate) records: &'a Arc<dyn Store>,
    pub(crate) quotas: &'a Arc<Quotas>,
    pub(crate) egress: &'a Arc<Egress>,
    pub(crate) gateway: &'a Arc<ToGateway>,
    pub(crate) log_files: &'a Arc<TenantLogFiles>,
}

/// Following what other hosts change; it ends with this.
struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tools {
    /// Whether a function of the application may ask for tools; else there are none.
    pub(crate) fn are_wanted(plan: &Plan) -> bool {
        let lists = plan.manifest.components.iter().map(|one| plan.variables.outbound_hosts(&one.id.value));
        lists.map(AllowList::new).any(|list| may_use_tools(&list))
    }

    /// Puts all tools in force that the store has, and follows what other hosts change.
    ///
    /// # Errors
    /// A store that does not answer, or a machine that lacks the address space.
    pub(crate) async fn open(plan: &Plan, parts: Parts<'_>) -> Result<Arc<Self>, StartError> {
        let config = plan.tools.clone();
        let failed = |reason: String| StartError::Tools { reason };
        let recorded = RecordedTools::new(Arc::clone(parts.records))
            .map_err(|source| StartError::Store { label: plan.tenancy.store.clone(), source })?;
        let registry =
            Registry::open(Arc::new(recorded)).await.map_err(|failure| failed(failure.to_string()))?;
        let folder = plan.state_dir.join(COMPILED_FOLDER);
        let runner =
            Runner::new(runner_config(&config), Some(folder)).map_err(|error| failed(error.to_string()))?;
        let following = tokio::spawn(Arc::clone(&registry).watch(STORE_LOOK_EVERY)).abort_handle();
        Ok(Arc::new(Self {
            registry,
            runner,
            places: Places::new(config.concurrent_calls_max, config.tenant_concurrent_calls_max),
            metrics: Arc::default(),
            private: Arc::new(config.private_hosts()),
            trials: Arc::default(),
            stores: parts.stores.clone(),
            quotas: Arc::clone(parts.quotas),
            egress: Arc::clone(parts.egress),
            work: parts.engine.tenant_work(),
            gateway: Arc::clone(parts.gateway),
            log_files: Arc::clone(parts.log_files),
            is_quiet: plan.options.quiet,
            instances: AtomicU64::new(1),
            following: Following(following),
            config,
        }))
    }

    /// Follows other hosts no longer, as the store is about to be closed.
    pub(crate) fn leave(&self) {
        self.following.0.abort();
    }

    /// What the admin API asks of them.
    pub(crate) fn for_admin(self: &Arc<Self>) -> waggle_admin::Tools {
        waggle_admin::Tools { registry: Arc::clone(&self.registry), source: Arc::clone(self) as _ }
    }

    /// The tools of one tenant, as it is now, for one of its functions.
    pub(crate) fn of(self: &Arc<Self>, entry: &Arc<TenantEntry>) -> FunctionTools {
        FunctionTools::new(Arc::clone(self), Arc::clone(entry))
    }

    /// The tenant's part of the store is erased: nothing of its tools stays in force.
    ///
    /// # Errors
    /// What the store said.
    pub(crate) async fn forget(&self, tenant: &TenantId) -> Result<(), String> {
        self.registry.forget(tenant.as_str()).await.map_err(|error| error.to_string())
    }

    /// How many tools the tenant has, accepted or not, and how many calls of them are under way on this host.
    pub(crate) fn used(&self, tenant: &TenantId) -> (u64, u64) {
        let tools = self.registry.list(tenant.as_str()).len() as u64;
        (tools, u64::from(self.places.taken_by(tenant)))
    }

    /// What is counted, and how many calls are under way.
    fn counted(&self) -> (&ToolMetrics, u32) {
        (&self.metrics, self.places.taken())
    }
}

fn runner_config(config: &ToolsConfig) -> RunnerConfig {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    RunnerConfig {
        calls_max: config.concurrent_calls_max,
        memory_bytes_max: size(config.memory_bytes_max),
        component_bytes_max: size(config.component_bytes_max),
        compiled_bytes_max: size(config.compiled_bytes_max),
        ..RunnerConfig::default()
    }
}
