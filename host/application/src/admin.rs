//! The admin API on its own listener: bound with the others, announced in the state folder, stopped last.

use crate::error::StartError;
use crate::plan::Plan;
use crate::running::listen;
use crate::tenant_host::RunningHost;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use waggle_admin::{AdminKey, Announcement};
use waggle_tenancy::Registry;

/// The admin API, bound but not yet serving.
pub(crate) struct Admin {
    listener: TcpListener,
    host: Arc<RunningHost>,
    key: AdminKey,
    url: String,
    announcement: Announcement,
}

/// The admin API while it serves.
pub(crate) struct ServingAdmin {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _announcement: Announcement,
}

impl Admin {
    /// Binds the listener, finds or makes the key, and writes down where it is.
    ///
    /// # Errors
    /// When the address, the key or the state folder cannot be used.
    pub(crate) async fn bind(
        plan: &Plan,
        host: RunningHost,
        application_url: &str,
    ) -> Result<Self, StartError> {
        let admin = |error: &dyn std::fmt::Display| StartError::Admin { reason: error.to_string() };
        let key = plan.admin.key(&plan.configuration_dir, &plan.state_dir).map_err(|error| admin(&error))?;
        let listener = listen(plan.admin.listen, "--admin-listen").await?;
        let address = listener.local_addr().map_err(|error| admin(&error))?;
        let url = format!("http://{address}");
        let announcement =
            Announcement::write(&plan.state_dir, &url, application_url).map_err(|error| admin(&error))?;
        Ok(Self { listener, host: Arc::new(host), key, url, announcement })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn start(self, registry: Arc<Registry>) -> ServingAdmin {
        let (stop, stopped) = oneshot::channel();
        let Self { listener, host, key, announcement, url: _ } = self;
        let task = tokio::spawn(waggle_admin::serve(listener, registry, host, key, async {
            let _ = stopped.await;
        }));
        ServingAdmin { stop, task, _announcement: announcement }
    }
}

impl ServingAdmin {
    /// Finishes what is under way.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}
