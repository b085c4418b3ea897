//! Tenants, assembled: the directory with its two sources, and the door.

use crate::error::StartError;
use crate::jwks::EgressJwks;
use crate::plan::Plan;
use crate::tenant_checks::TenantChecks;
use crate::tenant_store::RecordedTenants;
use crate::tenants_file::TenantsFile;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use waggle_egress::Egress;
use waggle_kv::{HostRecords, Store};
use waggle_tenancy::{Directory, DirectoryConfig, Door, Registry, SealingKey, TenantRules, TokenIssuers};

/// The key that seals tenants' secrets, in the state folder.
const SEALING_KEY_FILE: &str = "sealing-key";
/// The family of the host's records that tenants are (kv-schemas/host-tenant.json).
const RECORD_FAMILY: &str = "tenant";
/// How often it is looked whether another host has changed a tenant.
const STORE_LOOK_EVERY: Duration = Duration::from_millis(500);
/// When another host has seen a change, as long as the store answers: the look after the next, and the reading.
pub(crate) const STORE_FOLLOWED_WITHIN: Duration = Duration::from_secs(2);

/// The tenants in force and what keeps them so.
pub(crate) struct Tenancy {
    pub(crate) directory: Arc<Directory>,
    pub(crate) door: Arc<Door>,
    pub(crate) registry: Arc<Registry>,
    file: Option<TenantsFile>,
    following: Vec<AbortHandle>,
}

impl Tenancy {
    /// Puts the tenants of both sources in force.
    ///
    /// # Errors
    /// A file with mistakes, a store that does not answer, a sealing key that is none: a host that started without its
    /// tenants would be open.
    pub(crate) async fn open(
        plan: &Plan,
        checks: Arc<TenantChecks>,
        store: &Arc<dyn Store>,
        egress: Arc<Egress>,
    ) -> Result<Self, StartError> {
        let sealing = Arc::new(sealing_key(plan)?);
        let path = plan.tenants_file();
        let directory = Directory::new(DirectoryConfig {
            defaults: plan.tenancy.limits,
            issuers: TokenIssuers::new(Arc::new(EgressJwks(egress))),
            sealing: Some(Arc::clone(&sealing)),
            base_dir: path.as_deref().map(TenantsFile::folder).unwrap_or_default(),
        });
        let file = path.map(|path: PathBuf| TenantsFile::new(path, Arc::clone(&checks)));
        if let Some(file) = &file {
            file.apply(&directory)?;
        }
        let records = HostRecords::new(Arc::clone(store), RECORD_FAMILY)
            .map_err(|source| StartError::Store { label: plan.tenancy.store.clone(), source })?;
        let registry = Registry::open(
            Arc::new(RecordedTenants(records)),
            Arc::clone(&directory),
            sealing,
            rules(checks),
        )
        .await
        .map_err(|failure| StartError::Tenants { reason: failure.to_string() })?;
        let door = Arc::new(Door::new(Arc::clone(&directory)));
        Ok(Self { directory, door, registry, file, following: Vec::new() })
    }

    /// Follows both sources from now on, until this is dropped.
    pub(crate) fn follow(&mut self) {
        let registry = Arc::clone(&self.registry);
        self.following.push(tokio::spawn(registry.watch(STORE_LOOK_EVERY)).abort_handle());
        if let Some(file) = self.file.take() {
            let directory = Arc::clone(&self.directory);
            self.following.push(tokio::spawn(file.watch(directory)).abort_handle());
        }
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        self.following.iter().for_each(AbortHandle::abort);
    }
}

fn rules(checks: Arc<TenantChecks>) -> TenantRules {
    let declared = Arc::clone(&checks);
    TenantRules {
        check: Arc::new(move |tenant| checks.check(tenant)),
        secret_variables: Arc::new(move |name| declared.is_secret(name)),
    }
}

fn sealing_key(plan: &Plan) -> Result<SealingKey, StartError> {
    let key = match &plan.tenancy.sealing_key_environment {
        Some(name) => {
            let text = std::env::var(name).map_err(|_absent| StartError::Option {
                what: format!("`sealing_key_environment` in [tenancy]: {name}"),
                reason: "the environment variable is not set".into(),
            })?;
            SealingKey::from_text(&text)
        }
        None => SealingKey::load_or_create(&plan.state_dir.join(SEALING_KEY_FILE)),
    };
    key.map_err(|error| StartError::Tenants { reason: error.to_string() })
}
