//! A plan carried out: stores open, functions loaded, the listener bound; and the way back down.

use crate::admin::Admin;
use crate::error::StartError;
use crate::model::ModelChoice;
use crate::mounts::mounts;
use crate::plan::Plan;
use crate::quotas::Quotas;
use crate::tenancy::Tenancy;
use crate::tenant_checks::TenantChecks;
use crate::tenant_host::RunningHost;
use crate::worlds::{FunctionPlan, ToGateway, Worlds};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use waggle_egress::Egress;
use waggle_engine::Engine;
use waggle_gateway::{Drained, Gateway};
use waggle_kv::{Opener, Store};
use waggle_manifest::Route;
use waggle_telemetry::TenantLogFiles;

/// The embedded store's place in the state folder.
const STORE_FOLDER: &str = "store";

/// A host that listens but does not serve yet.
pub struct Running {
    listener: TcpListener,
    tls: Option<waggle_gateway::TlsAcceptor>,
    gateway: Arc<Gateway>,
    stores: BTreeMap<String, Arc<dyn Store>>,
    admin: Admin,
    tenancy: Tenancy,
    summary: Summary,
}

/// What the start-up screen shows.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The application's name.
    pub application: String,
    /// `http://127.0.0.1:3000`
    pub url: String,
    /// Where the admin API is.
    pub admin_url: String,
    /// How many tenants are in force; none when callers need no credential, because there never were any.
    pub tenants: Option<usize>,
    /// Whether other machines can reach the listener.
    pub is_public: bool,
    /// (route as written, function); private functions have no route.
    pub routes: Vec<(Option<String>, String)>,
    /// The model in use.
    pub model: ModelChoice,
    /// The model asked for when a request names none, where the application says so.
    pub default_model: Option<String>,
    /// (label, where it is).
    pub stores: Vec<(String, String)>,
    /// Functions loaded, and how many of them from the cache.
    pub loaded: (usize, usize),
    /// From the beginning of the start to listening.
    pub took: Duration,
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
                if let Err(error) = records.close().await {
                    tracing::error!(%error, "the store of tenants could not be closed cleanly");
                }
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
        let engine = Engine::new(plan.engine.clone(), Some(plan.state_dir.join("compiled")))?;
        let cached = load_functions(plan, &engine).await?;
        let internal = Arc::new(ToGateway::default());
        let egress = Arc::new(egress(plan)?);
        let (manifest, variables) = (Arc::new(plan.manifest.clone()), Arc::new(plan.variables.clone()));
        let checks =
            Arc::new(TenantChecks { manifest: Arc::clone(&manifest), variables: Arc::clone(&variables) });
        let mut tenancy = Tenancy::open(plan, checks, records, Arc::clone(&egress)).await?;
        let log_files = TenantLogFiles::new(plan.log_folder())
            .map_err(|error| StartError::Tenants { reason: error.to_string() })?;
        let quotas = Arc::new(Quotas::default());
        let worlds = Arc::new(Worlds {
            functions: function_plans(plan, &stores)?,
            manifest: Arc::clone(&manifest),
            variables,
            directory: Arc::clone(&tenancy.directory),
            quotas: Arc::clone(&quotas),
            engine: plan.engine.clone(),
            egress,
            internal: Arc::clone(&internal),
            log_files: Arc::clone(&log_files),
            quiet: plan.options.quiet,
        });
        let retiring = engine.clone();
        tenancy.directory.on_change(Box::new(move |tenants| {
            tenants.iter().for_each(|tenant| retiring.retire(tenant));
        }));
        let gateway = Arc::new(Gateway::new(
            engine.clone(),
            worlds,
            plan.manifest.route_table(),
            Arc::clone(&tenancy.door),
            plan.gateway.clone(),
            &plan.engine,
        )?);
        internal.connect(&gateway);
        let tls = plan
            .options
            .tls
            .as_ref()
            .map(|(certificate, key)| waggle_gateway::acceptor(certificate, key))
            .transpose()?;
        let listener = listen(plan.options.listen, "--listen").await?;
        let host = RunningHost {
            engine,
            directory: Arc::clone(&tenancy.directory),
            stores: stores.clone(),
            quotas,
            log_files,
            manifest,
        };
        let url = url(plan, &listener);
        let admin = Admin::bind(plan, host, &url).await?;
        tenancy.follow();
        let summary = summary(plan, url, &admin, &tenancy, cached, began);
        Ok(Self { listener, tls, gateway, stores, admin, tenancy, summary })
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
        let drained = waggle_gateway::serve(self.listener, self.tls, self.gateway, stop).await;
        admin.stop().await;
        drop(self.tenancy);
        close(&self.stores).await;
        drained
    }
}

async fn close(stores: &BTreeMap<String, Arc<dyn Store>>) {
    for (label, store) in stores {
        if let Err(error) = store.close().await {
            tracing::error!(label, %error, "the store could not be closed cleanly");
        }
    }
}

/// Only this user may write there: compiled code is loaded from it unchecked.
fn private_folder(folder: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| StartError::StateFolder { path: folder.into(), source })
}

/// What is open.
struct Stores {
    by_label: BTreeMap<String, Arc<dyn Store>>,
    /// Where the host's own records are; they never expire, whatever the label says of its keys.
    records: Arc<dyn Store>,
}

async fn open_stores(plan: &Plan) -> Result<Stores, StartError> {
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

/// Where the application is, as a client on this machine writes it.
fn url(plan: &Plan, listener: &TcpListener) -> String {
    let scheme = if plan.options.tls.is_some() { "https" } else { "http" };
    let address = listener.local_addr().unwrap_or(plan.options.listen);
    format!("{scheme}://{address}")
}

fn summary(
    plan: &Plan,
    url: String,
    admin: &Admin,
    tenancy: &Tenancy,
    loaded: (usize, usize),
    began: Instant,
) -> Summary {
    let routes = plan.manifest.triggers.iter().map(|trigger| {
        let route = match &trigger.route.value {
            Route::Public(pattern) => Some(pattern.raw().to_owned()),
            Route::Private => None,
        };
        (route, trigger.component.value.clone())
    });
    let stores = plan.stores.iter().map(|(label, config)| {
        let place = match config {
            waggle_kv::StoreConfig::Embedded { path, .. } => {
                let path = path.clone().unwrap_or_else(|| plan.state_dir.join(STORE_FOLDER));
                format!("embedded, {}", path.display())
            }
            redis @ waggle_kv::StoreConfig::Redis { .. } => match redis.settings().map(|found| found.backend)
            {
                Ok(waggle_kv::Backend::Redis(url)) => url.to_string(),
                _ => "Redis".to_owned(),
            },
        };
        (label.clone(), place)
    });
    Summary {
        application: plan.manifest.application.name.clone(),
        url,
        admin_url: admin.url().to_owned(),
        tenants: (!tenancy.directory.is_open()).then(|| tenancy.directory.count()),
        is_public: !plan.options.listen.ip().is_loopback(),
        routes: routes.collect(),
        model: plan.model.clone(),
        default_model: plan.variables.get("model").map(|value| value.expose().to_owned()),
        stores: stores.collect(),
        loaded,
        took: began.elapsed(),
    }
}
