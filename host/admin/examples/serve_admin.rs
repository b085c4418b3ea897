//! The admin API over tenants in memory, for tests that need a server of their own: prints its URL and serves until it is
//! ended. `WAGGLE_ADMIN_KEY` holds the admin key.

#![expect(clippy::print_stdout, reason = "the caller reads the URL there")]

use async_trait::async_trait;
use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use waggle_admin::{AdminKey, ErasureReport, Host, StoreErasure, Tools, Usage, serve};
use waggle_secret::Secret;
use waggle_tenancy::{
    Directory, DirectoryConfig, FetchedJwks, JwksFetch, Limits, MemoryTenantStore, Registry, SealingKey,
    TenantId, TenantRules, TokenIssuers,
};
use waggle_tools::{Function, Grants, Limits as ToolLimits, MemoryToolKeys, ToolSource, Unlisted};

/// An application whose tenants own nothing but tools, of which none runs.
struct Application {
    tools: Tools,
}

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

    fn tools(&self) -> Option<&Tools> {
        Some(&self.tools)
    }
}

/// Says of whatever begins as a component does that it can do one thing.
struct OneFunction;

#[async_trait]
impl ToolSource for OneFunction {
    async fn inspect(&self, component: bytes::Bytes) -> Result<Vec<Function>, Unlisted> {
        if !component.starts_with(b"\0asm") {
            return Err(Unlisted::Refused("it is no component".to_owned()));
        }
        Ok(vec![Function {
            name: "run".to_owned(),
            description: String::new(),
            parameters: serde_json::json!({ "type": "object" }),
            output: None,
            side_effects: false,
            idempotent: false,
            needs_approval: false,
            request: None,
            remote_name: None,
        }])
    }

    async fn list_remote(
        &self,
        _tenant: &str,
        _name: &str,
        url: &str,
        _grants: &Grants,
        _limits: &ToolLimits,
    ) -> Result<Vec<Function>, Unlisted> {
        Err(Unlisted::Unavailable(format!("no server is asked here, nor {url}")))
    }

    fn stores(&self) -> BTreeSet<String> {
        BTreeSet::from(["default".to_owned()])
    }
}

struct NoKeySets;

#[async_trait]
impl JwksFetch for NoKeySets {
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
        issuers: TokenIssuers::new(Arc::new(NoKeySets)),
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
    let tools = waggle_tools::Registry::open(Arc::new(MemoryToolKeys::default())).await?;
    let application = Application { tools: Tools { registry: tools, source: Arc::new(OneFunction) } };
    serve(listener, registry, Arc::new(application), key, std::future::pending()).await;
    Ok(())
}
