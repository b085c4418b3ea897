//! tenants.toml: read as a whole, in force as a whole; a file with a mistake changes nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use waggle_manifest::{Diagnostic, Diagnostics, RuntimeConfig};
use waggle_tenancy::{Directory, FieldMistake, Origin, Tenant, TenantId, TenantSettings};

use crate::discreet;
use crate::tenant_checks::TenantChecks;

/// How often it is looked whether the file has changed.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The section of one tenant: `[tenant.ID]`.
const SECTION: &str = "tenant";

/// The file with the tenants.
pub(crate) struct TenantsFile {
    path: PathBuf,
    checks: Arc<TenantChecks>,
}

impl TenantsFile {
    pub(crate) fn new(path: PathBuf, checks: Arc<TenantChecks>) -> Self {
        Self { path, checks }
    }

    /// The folder that relative paths in the file are relative to.
    pub(crate) fn folder(path: &Path) -> PathBuf {
        path.parent().map(Path::to_path_buf).unwrap_or_default()
    }

    /// Reads the file and puts its tenants in force.
    ///
    /// # Errors
    /// All mistakes; the tenants in force stay as they are.
    pub(crate) fn apply(&self, directory: &Directory) -> Result<(), Diagnostics> {
        let (file, tenants) = self.read()?;
        let Err(refused) = directory.replace(Origin::File, tenants) else { return Ok(()) };
        let mut found = Diagnostics::new();
        for (tenant, mistake) in &refused.mistakes {
            found.push(told(&file, tenant, mistake));
        }
        for conflict in &refused.conflicts {
            let path = [SECTION, conflict.second.1.as_str()];
            found.push(discreet::place(&file.mistake(&path, conflict.to_string())));
        }
        Err(found)
    }

    fn read(&self) -> Result<(RuntimeConfig, Vec<Tenant>), Diagnostics> {
        let help = "`file` in [tenancy] of the runtime configuration, or --tenants, names it";
        let mut file =
            RuntimeConfig::load_named(&self.path, help).map_err(|found| discreet::syntax(&found))?;
        let mut found = Diagnostics::new();
        let sections: std::collections::BTreeMap<String, TenantSettings> =
            file.named_sections(SECTION, &mut found);
        file.finish(&mut found);
        let mut found = discreet::values(&found);
        let mut tenants = Vec::new();
        for (label, settings) in sections {
            match TenantId::new(&label) {
                Ok(id) => tenants.push(Tenant { id, settings }),
                Err(error) => {
                    found.push(discreet::place(&file.mistake(&[SECTION, &label], error.to_string())));
                }
            }
        }
        for tenant in &tenants {
            for mistake in tenant.check().into_iter().chain(self.checks.check(tenant)) {
                found.push(told(&file, &tenant.id, &mistake));
            }
        }
        found.into_result((file, tenants)).map(|(read, _warnings)| read)
    }

    /// Applies the file again whenever it changes, for as long as the program runs.
    pub(crate) async fn watch(self, directory: Arc<Directory>) {
        let mut seen = self.state();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let state = self.state();
            if state == seen {
                continue;
            }
            seen = state;
            match self.apply(&directory) {
                Ok(()) => tracing::info!(file = %self.path.display(), "tenants read again"),
                Err(mistakes) => {
                    for mistake in mistakes.iter() {
                        tracing::error!(file = %self.path.display(), "{mistake}");
                    }
                    tracing::error!(file = %self.path.display(), "tenants stay as they were");
                }
            }
        }
    }

    /// What tells one version of the file from another: size, time, and which file it is (editors write a new one).
    fn state(&self) -> Option<(u64, i64, i64, u64)> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some((metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino()))
    }
}

/// A mistake in a tenant's section, at its place in the file.
fn told(file: &RuntimeConfig, tenant: &TenantId, mistake: &FieldMistake) -> Diagnostic {
    let mut path = vec![SECTION, tenant.as_str()];
    path.extend(mistake.path.iter().map(String::as_str));
    discreet::place(&file.mistake(&path, mistake.message.clone()))
}
