//! The world of each function, made per tenant from the plan and from what the tenant is at that moment.

use crate::indexes::indexes_of;
use crate::log_sink::FunctionLogs;
use crate::models::Models;
use crate::policy::{AllowList, NarrowedList};
use crate::quotas::Quotas;
use crate::tenant_checks::{MODELS_VARIABLE, models};
use crate::tokenizers::Tokenizers;
use crate::tools::{TOOLS_HOST, Tools};
use crate::work::{FunctionWork, WORK_HOST};
use async_trait::async_trait;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use waggle_egress::upstream::MODELS_HOST;
use waggle_egress::{Credential, Credentials, Egress};
use waggle_engine::{
    CallContext, EngineConfig, FunctionWorld, InstanceBounds, InternalCalls, InternalTarget, LogSink,
    OutboundDecision, OutboundPolicy, StoreHandle, TenantBounds, TokenSink, WasiBody, WorldSource,
};
use waggle_gateway::Gateway;
use waggle_kv::{Partition, Store};
use waggle_manifest::{Manifest, OutboundHost, OutboundHosts, Variables};
use waggle_secret::Secret;
use waggle_telemetry::TenantLogFiles;
use waggle_tenancy::{Directory, Isolation, Limits, Meter, TenantEntry, TenantId};
use waggle_vector::VectorIndexes;
use waggle_work::Queue;

/// What one function has, whichever the tenant.
pub(crate) struct FunctionPlan {
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) mounts: Vec<(PathBuf, String)>,
    pub(crate) stores: BTreeMap<String, Arc<dyn Store>>,
}

/// All functions of the application, for all tenants.
pub(crate) struct Worlds {
    pub(crate) functions: BTreeMap<String, FunctionPlan>,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) variables: Arc<Variables>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) engine: EngineConfig,
    pub(crate) egress: Arc<Egress>,
    pub(crate) models: Arc<Models>,
    pub(crate) tokenizers: Arc<Tokenizers>,
    /// The indexes of all tenants, where functions ask for them.
    pub(crate) indexes: Option<Arc<dyn VectorIndexes>>,
    pub(crate) internal: Arc<ToGateway>,
    pub(crate) work: Queue,
    /// The tools of all tenants, where a function may ask for them.
    pub(crate) tools: Option<Arc<Tools>>,
    pub(crate) log_files: Arc<TenantLogFiles>,
    pub(crate) quiet: bool,
}

impl WorldSource for Worlds {
    fn world(&self, tenant: &TenantId, function: &str) -> Option<FunctionWorld> {
        let entry = self.directory.entry(tenant)?;
        let settings = &entry.tenant.settings;
        if settings.functions.as_ref().is_some_and(|allowed| !allowed.iter().any(|name| name == function)) {
            return None;
        }
        let plan = self.functions.get(function)?;
        let variables = self.variables_of(&entry)?;
        let stores = plan.stores.iter().map(|(label, store)| {
            let partition = Partition::new(tenant.as_str(), label).ok()?;
            let store = self.quotas.limited(&entry, store);
            Some((label.as_str().into(), StoreHandle { store, partition }))
        });
        let credentials = Arc::new(credentials(&entry));
        let outbound = outbound(&entry, variables.outbound_hosts(function));
        Some(FunctionWorld {
            tenant: tenant.clone(),
            function: function.into(),
            environment: plan.environment.clone(),
            mounts: plan.mounts.clone(),
            stores: stores.collect::<Option<_>>()?,
            variables: variables
                .component_variables(function)
                .into_iter()
                .map(|(name, value)| (name, value.expose().to_owned()))
                .collect(),
            // Whoever may call that address may also call in the names of tools.
            tools: self
                .tools
                .as_ref()
                .filter(|_tools| may_use_tools(&*outbound))
                .map(|tools| Arc::new(tools.of(&entry)) as _),
            outbound,
            egress: Arc::clone(&self.egress),
            internal: Arc::clone(&self.internal) as Arc<_>,
            log: self.log(&entry, function),
            models: Arc::new(self.models.of(&entry, Arc::clone(&credentials))),
            vectors: self.indexes.as_ref().map(|all| indexes_of(all, &entry)),
            token_counts: Arc::clone(&self.tokenizers) as Arc<_>,
            work: Arc::new(FunctionWork {
                tenant: tenant.clone(),
                function: function.into(),
                queue: self.work.clone(),
            }),
            credentials,
            tokens: entry
                .limits
                .tokens_per_minute
                .map(|_limited| Arc::new(Tokens(Arc::clone(&entry.meter))) as _),
            bounds: bounds(&entry.limits, settings.isolation, &self.engine, self.directory.is_open()),
        })
    }
}

impl Worlds {
    /// The application's variables with the tenant's own values. That they fit was checked when the tenant came into
    /// force.
    fn variables_of(&self, entry: &TenantEntry) -> Option<Cow<'_, Variables>> {
        let models = models(&entry.tenant.settings);
        let models = models.as_deref().map(|models| (MODELS_VARIABLE, models));
        let mut own = entry.variables().chain(models).peekable();
        if own.peek().is_none() {
            return Some(Cow::Borrowed(&self.variables));
        }
        match self.variables.with_overrides(&self.manifest, own) {
            Ok(variables) => Some(Cow::Owned(variables)),
            Err(mistakes) => {
                tracing::error!(tenant = %entry.tenant.id, %mistakes, "the tenant's variables do not fit");
                None
            }
        }
    }

    fn log(&self, entry: &TenantEntry, function: &str) -> Arc<dyn LogSink> {
        let tenant = entry.tenant.id.as_str();
        let file = entry.tenant.settings.log_file.then(|| self.log_files.file(tenant)).transpose();
        let file = file.unwrap_or_else(|error| {
            tracing::error!(tenant, %error, "the tenant's log has no file");
            None
        });
        Arc::new(FunctionLogs::new(tenant, function, file, self.quiet))
    }
}

/// Whether the list has the address of tools.
pub(crate) fn may_use_tools(outbound: &dyn OutboundPolicy) -> bool {
    outbound.decide("http", TOOLS_HOST, 80) != OutboundDecision::Denied
}

/// The function's list, narrowed by the tenant's where it has one.
fn outbound(entry: &TenantEntry, function: OutboundHosts) -> Arc<dyn OutboundPolicy> {
    let list = AllowList::new(function);
    match &entry.tenant.settings.allowed_outbound_hosts {
        None => Arc::new(list),
        Some(hosts) => {
            // Which models a tenant may call is not said by where they are; work does not leave the host; and what tools may
            // reach is said by their grants.
            let own = [MODELS_HOST, WORK_HOST, TOOLS_HOST].into_iter();
            let own = own.filter_map(|host| OutboundHost::parse(&format!("http://{host}")).ok());
            let hosts = hosts.iter().filter_map(|host| OutboundHost::parse(host).ok()).chain(own);
            Arc::new(NarrowedList::new(list, OutboundHosts::new(hosts, [])))
        }
    }
}

/// The tenant's own keys at upstreams. What cannot be sent was refused when the tenant came into force.
fn credentials(entry: &TenantEntry) -> Credentials {
    let made = entry.upstream_secrets().iter().filter_map(|(place, secret)| {
        let value = Secret::new(format!("{}{}", place.prefix, secret.expose()));
        Credential::new(&place.origin, &place.path_prefix, &place.header, &value).ok()
    });
    Credentials::new(made.collect())
}

/// The part of the host's instances that one tenant gets where nothing else is said: one in so many.
const INSTANCES_SHARE: u32 = 4;

/// The tenant's limits within the host's.
fn bounds(
    limits: &Limits,
    isolation: Option<Isolation>,
    engine: &EngineConfig,
    is_alone: bool,
) -> InstanceBounds {
    let request_cpu_ms =
        limits.request_cpu_ms_max.map_or(engine.request_cpu_ms_max, |ms| ms.min(engine.request_cpu_ms_max));
    let memory = limits.instance_memory_bytes_max.and_then(|bytes| usize::try_from(bytes).ok());
    // A tenant that was given no number of its own leaves room for others, if there can be others.
    let share = if is_alone { engine.instances_max } else { (engine.instances_max / INSTANCES_SHARE).max(1) };
    let instances = limits.instances_max.unwrap_or(share).min(engine.instances_per_tenant_max);
    InstanceBounds {
        memory_bytes_max: memory
            .map_or(engine.instance_memory_bytes_max, |bytes| bytes.min(engine.instance_memory_bytes_max)),
        request_cpu: Duration::from_millis(request_cpu_ms),
        isolate_requests: isolation.unwrap_or(engine.isolation) == Isolation::Request,
        tenant: TenantBounds {
            instances_max: Some(instances),
            memory_bytes_max: limits.memory_bytes_max,
            cpu_ms_per_second: limits.cpu_ms_per_second,
        },
    }
}

/// A tenant's meter, for what models use.
struct Tokens(Arc<Meter>);

impl TokenSink for Tokens {
    fn spend(&self, tokens: u64) {
        self.0.spend_tokens(tokens);
    }
}

/// The way from a function back to the gateway. The gateway owns the engine, which owns the worlds, so this end of
/// the circle holds it weakly.
#[derive(Default)]
pub(crate) struct ToGateway(OnceLock<Weak<Gateway>>);

impl ToGateway {
    pub(crate) fn connect(&self, gateway: &Arc<Gateway>) {
        let _ = self.0.set(Arc::downgrade(gateway));
    }

    /// The gateway, until the host is on its way down.
    pub(crate) fn get(&self) -> Option<Arc<Gateway>> {
        self.0.get().and_then(Weak::upgrade)
    }
}

#[async_trait]
impl InternalCalls for ToGateway {
    async fn call(
        &self,
        tenant: &TenantId,
        target: InternalTarget,
        request: http::Request<WasiBody>,
        context: CallContext,
    ) -> http::Response<WasiBody> {
        match self.get() {
            Some(gateway) => gateway.call(tenant, target, request, context).await,
            None => waggle_gateway::shutting_down(request.uri().path(), &context.request_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_can_lower_the_bounds_of_the_host_and_not_raise_them() {
        let engine = EngineConfig { request_cpu_ms_max: 100, ..EngineConfig::default() };
        let check = |limit: Option<u64>, expected_ms: u128| {
            let limits = Limits { request_cpu_ms_max: limit, ..Limits::default() };
            assert_eq!(
                bounds(&limits, None, &engine, false).request_cpu.as_millis(),
                expected_ms,
                "{limit:?}"
            );
        };
        check(None, 100);
        check(Some(20), 20);
        check(Some(500), 100);
        let small = Limits { instance_memory_bytes_max: Some(1 << 20), ..Limits::default() };
        assert_eq!(bounds(&small, None, &engine, false).memory_bytes_max, 1 << 20);
    }

    #[test]
    fn a_tenant_without_a_number_of_instances_leaves_some_to_others() {
        let engine =
            EngineConfig { instances_max: 40, instances_per_tenant_max: 30, ..EngineConfig::default() };
        let check = |own: Option<u32>, is_alone: bool, expected: u32| {
            let limits = Limits { instances_max: own, ..Limits::default() };
            let bounds = bounds(&limits, None, &engine, is_alone);
            assert_eq!(bounds.tenant.instances_max, Some(expected), "{own:?} {is_alone}");
        };
        check(None, false, 10);
        check(None, true, 30);
        check(Some(20), false, 20);
        check(Some(50), false, 30);
    }

    #[test]
    fn isolation_is_the_tenants_word_else_the_hosts() {
        let check = |host: Isolation, tenant: Option<Isolation>, expected: bool| {
            let engine = EngineConfig { isolation: host, ..EngineConfig::default() };
            assert_eq!(bounds(&Limits::default(), tenant, &engine, false).isolate_requests, expected);
        };
        check(Isolation::Tenant, None, false);
        check(Isolation::Tenant, Some(Isolation::Request), true);
        check(Isolation::Request, None, true);
        check(Isolation::Request, Some(Isolation::Tenant), false);
    }
}
