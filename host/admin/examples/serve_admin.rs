//! The admin API over tenants in memory, for tests that need a server of their own: prints its URL and serves until it is
//! ended. `WAGGLE_ADMIN_KEY` holds the admin key.

#![expect(clippy::print_stdout, reason = "the caller reads the URL there")]

use async_trait::async_trait;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use waggle_admin::{AdminKey, ErasureReport, Host, StoreErasure, Usage, serve};
use waggle_secret::Secret;
use waggle_tenancy::{
    Directory, DirectoryConfig, FetchedJwks, JwksFetch, Limits, MemoryTenantStore, Registry, SealingKey,
    TenantId, TenantRules, TokenIssuers,
};

/// An application whose tenants own nothing.
struct Application;

#[async_trait]
impl Host for Application {
    async fn erase(&self, _tenant: &TenantId) -> Result<ErasureReport, String> {
        let store = StoreErasure { store: "default".into(), keys: 0, bytes: 0, remaining: 0 };
        Ok(ErasureReport { stores: vec![store], log_files: 0 })
    }

    async fn ended(&self, _tenant: &TenantId) {}

    fn quiet_after(&self) -> Duration {
        Duration::ZERO
    }

    async fn usage(&self, _tenant: &TenantId) -> Usage {
        Usage { concurrent_requests: Some(0), ..Usage::default() }
    }

    fn is_secret_variable(&self, name: &str) -> bool {
        name.contains("secret")
    }
}

#[async_trait]
impl JwksFetch for Application {
    async fn fetch(&self, _url: &str) -> Result<FetchedJwks, String> {
        Err("key sets are not fetched here".into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let key = AdminKey::new(&Secret::new(std::env::var("WAGGLE_ADMIN_KEY")?))?;
    let sealing = Arc::new(SealingKey::from_text(&"A".repeat(43))?);
    let directory = Directory::new(DirectoryConfig {
        defaults: Limits::default(),
        issuers: TokenIssuers::new(Arc::new(Application)),
        sealing: Some(Arc::clone(&sealing)),
        base_dir: PathBuf::new(),
    });
    let store = Arc::new(MemoryTenantStore::default());
    let rules = TenantRules {
        check: Arc::new(|_tenant| Vec::new()),
        secret_variables: Arc::new(|name| name.contains("secret")),
    };
    let registry = Registry::open(store, directory, sealing, rules).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    serve(listener, registry, Arc::new(Application), key, std::future::pending()).await;
    Ok(())
}
