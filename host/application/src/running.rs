//! A plan carried out: stores open, functions loaded, the listener bound; and the way back down.

use crate::admin::Admin;
use crate::budget_store::RecordedBudgets;
use crate::error::StartError;
use crate::indexes::{open_indexes, prewarm};
use crate::metrics::{RECORDS, Sources};
use crate::model::ModelChoice;
use crate::models::Models;
use crate::mounts::mounts;
use crate::operations::OperationsListener;
use crate::plan::Plan;
use crate::quotas::Quotas;
use crate::stores::{STORE_FOLDER, Stores, close, open_stores};
use crate::summary::{Summary, summary, url};
use crate::telemetry::Telemetry;
use crate::tenancy::Tenancy;
use crate::tenant_checks::TenantChecks;
use crate::tenant_host::{RunningHost, quiet_after};
use crate::tokenizers::Tokenizers;
use crate::tools::{Parts, Tools};
use crate::work::{ByGateway, Deliveries};
use crate::work_store::RecordedWork;
use crate::worlds::{FunctionPlan, ToGateway, Worlds};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use waggle_egress::Egress;
use waggle_engine::{Engine, EngineConfig};
use waggle_gateway::{Drained, Gateway, Observers};
use waggle_kv::{BudgetRecords, Store};
use waggle_measure::TopTenants;
use waggle_telemetry::TenantLogFiles;
use waggle_tenancy::Budgets;
use waggle_tenancy::Directory;
use waggle_vector::VectorIndexes;
use waggle_work::{Clock, KeyedWork, Queue, WorkId};

/// A host that listens but does not serve yet.
pub struct Running {
    listener: TcpListener,
    tls: Option<waggle_gateway::TlsAcceptor>,
    gateway: Arc<Gateway>,
    stores: BTreeMap<String, Arc<dyn Store>>,
    records: Arc<dyn Store>,
    admin: Admin,
    operations: OperationsListener,
    telemetry: Telemetry,
    tenancy: Tenancy,
    models: Arc<Models>,
    work: Queue,
    tools: Option<Arc<Tools>>,
    summary: Summary,
}

impl Running {
    /// Opens the stores, loads the functions, binds the listener.
    ///
    /// # Errors
    /// Any [`StartError`]; what was opened is closed again.
    pub async fn start(plan: Plan) -> Result<Self, StartError> {
        let began = Instant::now();
        private_folder(&plan.state_dir)?;
        private_folder(&plan.state_dir.join(STORE_FOLDER))?;
        plan.manifest.check_sources()?;
        let Stores { by_label, records } = open_stores(&plan).await?;
        match Self::with_stores(&plan, by_label.clone(), &records, began).await {
            Ok(running) => Ok(running),
            Err(error) => {
                close(&by_label).await;
                close_records(&records).await;
                Err(error)
            }
        }
    }

    async fn with_stores(
        plan: &Plan,
        stores: BTreeMap<String, Arc<dyn Store>>,
        records: &Arc<dyn Store>,
        began: Instant,
    ) -> Result<Self, StartError> {
        let opened = Opened::open(plan, &stores, records).await?;
        let telemetry = Telemetry::start(plan)?;
        let observers = telemetry.observers(Arc::clone(&opened.top_tenants));
        let gateway = opened.gateway(plan, &stores, observers)?;
        telemetry.learn(gateway.metrics());
        let tls = acceptor(plan)?;
        let listener = listen(plan.options.listen, "--listen").await?;
        let sources = opened.sources(&gateway, with_records(&stores, records), &telemetry);
        let operations = OperationsListener::bind(&plan.telemetry.metrics, sources).await?;
        let url = url(plan, &listener);
        let admin = Admin::bind(plan, opened.host(plan, &stores, records), &url).await?;
        let Opened { mut tenancy, models, loaded, work, tools, .. } = opened;
        tenancy.follow();
        let summary = summary(plan, url, &admin, &operations, &tenancy, loaded, began);
        many_mappings(&plan.engine);
        Ok(Self {
            listener,
            tls,
            gateway,
            stores,
            records: Arc::clone(records),
            admin,
            operations,
            telemetry,
            tenancy,
            models,
            work,
            tools,
            summary,
        })
    }

    /// What was started.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Serves until `stop` resolves, finishes what is under way within the drain's bound, and makes every store
    /// durable.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Drained {
        let admin = self.admin.start(Arc::clone(&self.tenancy.registry));
        let operations = self.operations.start();
        let leave = operations.leave();
        let deliveries = Deliveries::start(&self.work, &self.gateway);
        let (drain_max, work) = (self.gateway.config().drain_timeout(), self.work);
        let mut until = tokio::time::Instant::now();
        let stop = async {
            stop.await;
            leave();
            work.stop();
            until = tokio::time::Instant::now() + drain_max;
        };
        let drained = waggle_gateway::serve(self.listener, self.tls, self.gateway, stop).await;
        deliveries.stop(until).await;
        admin.stop().await;
        drop(self.tenancy);
        if let Some(tools) = &self.tools {
            tools.leave();
        }
        self.models.close().await;
        close(&self.stores).await;
        close_records(&self.records).await;
        operations.stop().await;
        self.telemetry.stop().await;
        drained
    }
}

/// What stands between the stores and the listeners.
struct Opened {
    engine: Engine,
    /// How many functions there are, and how many of them came from the cache.
    loaded: (usize, usize),
    egress: Arc<Egress>,
    checks: Arc<TenantChecks>,
    tenancy: Tenancy,
    top_tenants: Arc<TopTenants>,
    models: Arc<Models>,
    log_files: Arc<TenantLogFiles>,
    quotas: Arc<Quotas>,
    indexes: Option<Arc<dyn VectorIndexes>>,
    internal: Arc<ToGateway>,
    work: Queue,
    tools: Option<Arc<Tools>>,
}

impl Opened {
    /// Loads the functions, puts the tenants in force, and connects the two: a tenant that changes gets new instances.
    async fn open(
        plan: &Plan,
        stores: &BTreeMap<String, Arc<dyn Store>>,
        records: &Arc<dyn Store>,
    ) -> Result<Self, StartError> {
        let engine = Engine::new(plan.engine.clone(), Some(plan.state_dir.join("compiled")))?;
        let loaded = load_functions(plan, &engine).await?;
        let indexes = open_indexes(plan, &engine).await?;
        if let Some(indexes) = &indexes {
            prewarm(plan, indexes);
        }
        let egress = Arc::new(egress(plan)?);
        let (manifest, variables) = (Arc::new(plan.manifest.clone()), Arc::new(plan.variables.clone()));
        let checks = Arc::new(TenantChecks { manifest, variables });
        let tenancy = Tenancy::open(plan, Arc::clone(&checks), records, Arc::clone(&egress)).await?;
        let top_tenants = top_tenants(plan);
        let models = Arc::new(models(plan, records, &egress, &top_tenants)?);
        let log_files = TenantLogFiles::new(plan.log_folder())
            .map_err(|error| StartError::Tenants { reason: error.to_string() })?;
        let quotas = Arc::new(Quotas::default());
        let internal = Arc::new(ToGateway::default());
        let work = work(plan, records, &tenancy.directory, &internal)?;
        retire_what_changes(&tenancy.directory, &engine, &quotas, &models, &work);
        let parts = Parts {
            engine: &engine,
            stores,
            records,
            quotas: &quotas,
            egress: &egress,
            gateway: &internal,
            log_files: &log_files,
        };
        let tools = if Tools::are_wanted(plan) { Some(Tools::open(plan, parts).await?) } else { None };
        Ok(Self {
            engine,
            loaded,
            egress,
            checks,
            tenancy,
            top_tenants,
            models,
            log_files,
            quotas,
            indexes,
            internal,
            work,
            tools,
        })
    }

    /// The gateway, over the worlds of all tenants and functions; calls between functions lead back to it.
    fn gateway(
        &self,
        plan: &Plan,
        stores: &BTreeMap<String, Arc<dyn Store>>,
        observers: Observers,
    ) -> Result<Arc<Gateway>, StartError> {
        let worlds = Arc::new(Worlds {
            functions: function_plans(plan, stores)?,
            manifest: Arc::clone(&self.checks.manifest),
            variables: Arc::clone(&self.checks.variables),
            directory: Arc::clone(&self.tenancy.directory),
            quotas: Arc::clone(&self.quotas),
            engine: plan.engine.clone(),
            egress: Arc::clone(&self.egress),
            models: Arc::clone(&self.models),
            tokenizers: Arc::new(Tokenizers::new(&plan.upstreams)),
            indexes: self.indexes.clone(),
            internal: Arc::clone(&self.internal),
            work: self.work.clone(),
            tools: self.tools.clone(),
            log_files: Arc::clone(&self.log_files),
            quiet: plan.options.quiet,
        });
        let (routes, door) = (plan.manifest.route_table(), Arc::clone(&self.tenancy.door));
        let (engine, config) = (self.engine.clone(), plan.gateway.clone());
        let gateway = Arc::new(Gateway::new(engine, worlds, routes, door, observers, config, &plan.engine)?);
        self.internal.connect(&gateway);
        Ok(gateway)
    }

    /// Where metrics are read.
    fn sources(
        &self,
        gateway: &Arc<Gateway>,
        stores: BTreeMap<String, Arc<dyn Store>>,
        telemetry: &Telemetry,
    ) -> Sources {
        Sources {
            gateway: Arc::clone(gateway),
            engine: self.engine.clone(),
            stores,
            models: Arc::clone(&self.models),
            work: self.work.clone(),
            tools: self.tools.clone(),
            indexes: self.indexes.clone(),
            others: telemetry.sources(),
        }
    }

    /// What the admin API may ask of it.
    fn host(
        &self,
        plan: &Plan,
        stores: &BTreeMap<String, Arc<dyn Store>>,
        records: &Arc<dyn Store>,
    ) -> RunningHost {
        RunningHost {
            engine: self.engine.clone(),
            directory: Arc::clone(&self.tenancy.directory),
            stores: stores.clone(),
            records: Arc::clone(records),
            quotas: Arc::clone(&self.quotas),
            indexes: self.indexes.clone(),
            models: Arc::clone(&self.models),
            work: self.work.clone(),
            admin_tools: self.tools.as_ref().map(|tools| tools.for_admin()),
            tools: self.tools.clone(),
            log_files: Arc::clone(&self.log_files),
            checks: Arc::clone(&self.checks),
            quiet_after: quiet(plan, stores, records),
        }
    }
}

/// A tenant that changes gets new instances; one that is gone leaves nothing in memory, whichever host removed it.
fn retire_what_changes(
    directory: &Arc<Directory>,
    engine: &Engine,
    quotas: &Arc<Quotas>,
    models: &Arc<Models>,
    work: &Queue,
) {
    // The directory owns the listener, and the queue the directory.
    let (current, engine) = (Arc::downgrade(directory), engine.clone());
    let (quotas, models, work) = (Arc::clone(quotas), Arc::clone(models), work.downgrade());
    directory.on_change(Box::new(move |tenants| {
        for tenant in tenants {
            models.tenant_changed(tenant);
            engine.retire(tenant);
            if current.upgrade().is_some_and(|directory| directory.entry(tenant).is_none()) {
                quotas.forget(tenant);
                models.forget(tenant);
            }
            if let Some(work) = work.upgrade() {
                work.tenant_changed(tenant.as_str());
            }
        }
    }));
}

/// What TLS connections are accepted with, where there is a certificate.
fn acceptor(plan: &Plan) -> Result<Option<waggle_gateway::TlsAcceptor>, StartError> {
    let files = plan.options.tls.as_ref();
    Ok(files.map(|(certificate, key)| waggle_gateway::acceptor(certificate, key)).transpose()?)
}

/// Which tenants have series of their own.
fn top_tenants(plan: &Plan) -> Arc<TopTenants> {
    let config = &plan.telemetry.metrics;
    TopTenants::new(config.tenants_named_max, config.tenants_named.iter().map(String::as_str))
}

/// When a tenant that is suspended is quiet, on this host and others.
fn quiet(plan: &Plan, stores: &BTreeMap<String, Arc<dyn Store>>, records: &Arc<dyn Store>) -> Duration {
    let response_timeout = Duration::from_millis(plan.engine.response_timeout_ms);
    quiet_after(stores.values().chain([records]), response_timeout)
}

/// All stores, the host's own records among them.
fn with_records(
    stores: &BTreeMap<String, Arc<dyn Store>>,
    records: &Arc<dyn Store>,
) -> BTreeMap<String, Arc<dyn Store>> {
    let records = (RECORDS.to_owned(), Arc::clone(records));
    stores.iter().map(|(label, store)| (label.clone(), Arc::clone(store))).chain([records]).collect()
}

async fn close_records(records: &Arc<dyn Store>) {
    if let Err(error) = records.close().await {
        tracing::error!(%error, "the store of tenants could not be closed cleanly");
    }
}

/// Warns when the kernel's bound on mappings is lower than what as many instances need, as measured.
fn many_mappings(engine: &EngineConfig) {
    const MAPPINGS_PER_INSTANCE: u32 = 9;
    let needed = engine.instances_max.saturating_mul(MAPPINGS_PER_INSTANCE);
    let bound = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
    let bound = bound.and_then(|text| text.trim().parse::<u32>().ok());
    if let Some(bound) = bound.filter(|bound| *bound < needed) {
        tracing::warn!(
            bound,
            needed,
            "`instances_max` needs more mappings than the kernel allows a process; run `sysctl -w vm.max_map_count={needed}`"
        );
    }
}

/// Only this user may write there: compiled code is loaded from it unchecked.
pub(crate) fn private_folder(folder: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| StartError::StateFolder { path: folder.into(), source })
}

/// Loads all functions side by side; returns how many there are and how many came from the cache.
async fn load_functions(plan: &Plan, engine: &Engine) -> Result<(usize, usize), StartError> {
    let mut loads = tokio::task::JoinSet::new();
    for component in &plan.manifest.components {
        let (engine, name) = (engine.clone(), component.id.value.clone());
        let path = plan.manifest.source_path(component);
        loads.spawn_blocking(move || engine.load(&name, &path));
    }
    let mut counts = (0, 0);
    let mut first_error = None;
    while let Some(loaded) = loads.join_next().await {
        match loaded {
            Ok(Ok(cached)) => counts = (counts.0 + 1, counts.1 + usize::from(cached)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a function cannot be loaded");
                first_error.get_or_insert(StartError::Load(error));
            }
            Err(error) => {
                let error = waggle_engine::LoadError::Engine(error.to_string());
                first_error.get_or_insert(StartError::Load(error));
            }
        }
    }
    first_error.map_or(Ok(counts), Err)
}

fn function_plans(
    plan: &Plan,
    stores: &BTreeMap<String, Arc<dyn Store>>,
) -> Result<BTreeMap<String, FunctionPlan>, StartError> {
    let mut functions = BTreeMap::new();
    for component in &plan.manifest.components {
        let name = &component.id.value;
        let mut environment: BTreeMap<String, String> = component.environment.clone();
        environment.extend(plan.options.environment.iter().cloned());
        functions.insert(
            name.clone(),
            FunctionPlan {
                environment: environment.into_iter().collect(),
                mounts: mounts(&plan.manifest, component, &plan.state_dir.join("files"))?,
                stores: component
                    .key_value_stores
                    .iter()
                    .filter_map(|label| Some((label.value.clone(), Arc::clone(stores.get(&label.value)?))))
                    .collect(),
            },
        );
    }
    Ok(functions)
}

fn egress(plan: &Plan) -> Result<Egress, StartError> {
    let mut config = plan.egress.clone();
    if let ModelChoice::Endpoint { credential: Some(credential), .. } = &plan.model {
        config.credentials.push(credential.clone());
    }
    Ok(Egress::new(config)?)
}

/// Calls to models, with budgets counted where the host's own records are.
fn models(
    plan: &Plan,
    records: &Arc<dyn Store>,
    egress: &Egress,
    tenants: &Arc<TopTenants>,
) -> Result<Models, StartError> {
    let budgets = Budgets::new(Arc::new(RecordedBudgets(BudgetRecords::new(Arc::clone(records)))));
    let api_key = plan.options.model.api_key.as_ref();
    Models::open(plan.upstreams.clone(), api_key, egress, budgets, &plan.answers, tenants)
}

/// Work that functions hand over, kept where the host's own records are.
fn work(
    plan: &Plan,
    records: &Arc<dyn Store>,
    directory: &Arc<Directory>,
    internal: &Arc<ToGateway>,
) -> Result<Queue, StartError> {
    let kept = RecordedWork::new(Arc::clone(records))
        .map_err(|source| StartError::Store { label: plan.tenancy.store.clone(), source })?;
    // Like that of no other host, and of no earlier run.
    let owner = WorkId::random().to_string();
    let (directory, gateway) = (Arc::clone(directory), Arc::clone(internal));
    let deliver = Arc::new(ByGateway { directory, gateway });
    Ok(Queue::new(plan.work.clone(), Clock::system(), Arc::new(KeyedWork::new(kept, owner)), deliver))
}

/// Binds `address`, which `flag` can change.
pub(crate) async fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("the port is in use by another process; end it or choose another with {flag}")
            }
            std::io::ErrorKind::PermissionDenied => {
                format!("this user may not use that port; choose one of 1024 or more with {flag}")
            }
            std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
            _ => error.to_string(),
        };
        StartError::Listen { address, reason }
    })
}
