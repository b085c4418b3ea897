//! What was started, for the start-up screen.

use crate::admin::Admin;
use crate::model::ModelChoice;
use crate::operations::OperationsListener;
use crate::plan::Plan;
use crate::stores::STORE_FOLDER;
use crate::tenancy::Tenancy;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use waggle_manifest::Route;

/// What the start-up screen shows.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The application's name.
    pub application: String,
    /// `http://127.0.0.1:3000`
    pub url: String,
    /// Where the admin API is.
    pub admin_url: String,
    /// Where metrics are read, unless that is off.
    pub operations_url: Option<String>,
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

/// Where the application is, as a client on this machine writes it.
pub(crate) fn url(plan: &Plan, listener: &TcpListener) -> String {
    let scheme = if plan.options.tls.is_some() { "https" } else { "http" };
    let address = listener.local_addr().unwrap_or(plan.options.listen);
    format!("{scheme}://{address}")
}

/// What was started.
pub(crate) fn summary(
    plan: &Plan,
    url: String,
    admin: &Admin,
    operations: &OperationsListener,
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
        operations_url: operations.url().map(ToOwned::to_owned),
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
