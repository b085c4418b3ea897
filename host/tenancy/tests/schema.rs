//! What the registry leaves in the store, held against `kv-schemas/host-tenant.json`.

#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use waggle_secret::Secret;
use waggle_tenancy::{
    Directory, DirectoryConfig, FetchedJwks, JwksFetch, Limits, MemoryTenantStore, NewKey, Registry,
    SealingKey, StoredTenant, Tenant, TenantId, TenantRules, TenantSettings, TenantStore, TokenIssuers,
};

const SECRET: &str = "canary-secret-of-32-bytes-or-more";

struct NoFetch;

#[async_trait::async_trait]
impl JwksFetch for NoFetch {
    async fn fetch(&self, url: &str) -> Result<FetchedJwks, String> {
        Err(format!("nothing is fetched here: {url}"))
    }
}

fn schema() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas/host-tenant.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::validator_for(schema).unwrap()
}

fn settings(value: Value) -> TenantSettings {
    serde_json::from_value(value).unwrap()
}

/// A tenant with everything that one can have.
fn full() -> TenantSettings {
    let jwks =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    settings(json!({
        "name": "Bank",
        "state": "suspended",
        "issuers": [
            { "issuer": "a", "audience": "w", "secret": { "value": SECRET } },
            { "issuer": "b", "audience": "w", "jwks": jwks, "clock_skew_s": 0, "user_claim": "user" },
            { "issuer": "c", "audience": "w", "jwks_url": "https://id.example/jwks" }
        ],
        "variables": { "instructions": "Be kind.", "api_key": SECRET, "empty_key": "" },
        "secrets": {
            "search": { "origin": "https://search.example", "path_prefix": "/v1", "header": "x-api-key",
                        "prefix": "", "secret": { "value": SECRET } },
            "short": { "origin": "http://127.0.0.1:8080", "secret": { "value": "s" } }
        },
        "allowed_outbound_hosts": ["https://search.example"],
        "functions": ["chat"],
        "models": ["gpt-*"],
        "limits": { "requests_per_second": 1, "requests_burst": 1, "concurrent_requests_max": 1,
                    "waiting_requests_max": 0, "wait_ms_max": 0, "request_body_bytes_max": 0,
                    "tokens_per_minute": 1_000_000_000_000_u64, "instances_max": 16_000,
                    "instance_memory_bytes_max": 65_536, "memory_bytes_max": 17_592_186_044_416_u64,
                    "request_cpu_ms_max": 1, "cpu_ms_per_second": 1, "storage_bytes_max": 1_024,
                    "vector_bytes_max": 1_024,
                    "tokens_per_day": 1, "tokens_per_month": 1, "cost_per_minute": "0.000001",
                    "cost_per_day": 2.50, "cost_per_month": 1_000_000_000, "user_tokens_per_minute": 1,
                    "user_tokens_per_day": 1, "user_tokens_per_month": 1, "user_cost_per_day": "10.01",
                    "user_cost_per_month": "100" },
        "isolation": "request",
        "log_file": true,
        "trace_content": true
    }))
}

/// What is stored of an empty tenant and of one with everything.
async fn stored() -> Vec<StoredTenant> {
    let store = Arc::new(MemoryTenantStore::default());
    let sealing = Arc::new(SealingKey::from_text(&"A".repeat(43)).unwrap());
    let directory = Directory::new(DirectoryConfig {
        defaults: Limits::default(),
        issuers: TokenIssuers::new(Arc::new(NoFetch)),
        sealing: Some(Arc::clone(&sealing)),
        base_dir: PathBuf::new(),
    });
    let tenants: Arc<dyn TenantStore> = Arc::clone(&store) as _;
    let rules = TenantRules {
        check: Arc::new(|_| Vec::new()),
        secret_variables: Arc::new(|name| name.ends_with("_key")),
    };
    let registry = Registry::open(tenants, directory, sealing, rules).await.unwrap();
    for (id, settings) in [("a", TenantSettings::default()), ("bank-7_eu", full())] {
        let id = TenantId::new(id).unwrap();
        registry.create(Tenant { id: id.clone(), settings }).await.unwrap();
        for expires_at in [None, Some(4_000_000_000)] {
            let key = NewKey { name: "ci".to_owned(), scopes: vec!["chat".to_owned()], expires_at };
            let (_kept, _shown): (_, Secret) = registry.add_key(&id, key).await.unwrap();
        }
    }
    store.load().await.unwrap().1
}

#[tokio::test]
async fn every_stored_tenant_is_as_its_family_is_described() {
    let schema = schema();
    let key = validator(&json!({ "type": "string", "pattern": schema["key"]["pattern"] }));
    let value = validator(&schema["value"]);
    let stored = stored().await;
    assert_eq!(stored.len(), 2);
    for tenant in stored {
        let name = format!("record/{}", tenant.id);
        assert!(key.is_valid(&json!(name)), "{name}");
        let settings: Value = serde_json::from_slice(&tenant.settings).unwrap();
        if let Err(error) = value.validate(&settings) {
            panic!("{name}: {error} at {}: {settings:#}", error.instance_path());
        }
        assert!(!settings.to_string().contains("canary"), "a secret is stored as it is");
    }
}

#[tokio::test]
async fn the_schema_describes_every_field_there_is_and_no_other() {
    let schema = schema();
    let full = stored().await.into_iter().find(|tenant| tenant.id.as_str() != "a").unwrap();
    let settings: Value = serde_json::from_slice(&full.settings).unwrap();
    #[track_caller]
    fn check(schema: &Value, pointer: &str, found: &[&Value]) {
        let described = schema.pointer(pointer).unwrap().as_object().unwrap();
        let seen = |field: &&String| found.iter().any(|object| object.get(field.as_str()).is_some());
        let missing: Vec<&String> = described.keys().filter(|field| !seen(field)).collect();
        assert!(missing.is_empty(), "{pointer} has {missing:?}, which nobody writes");
    }
    let list = |field: &str| settings[field].as_array().unwrap().iter().collect::<Vec<_>>();
    check(&schema, "/value/properties", &[&settings]);
    check(&schema, "/value/properties/limits/properties", &[&settings["limits"]]);
    check(&schema, "/value/properties/api_keys/items/properties", &list("api_keys"));
    check(&schema, "/value/properties/issuers/items/properties", &list("issuers"));
    let secret = &settings["secrets"]["search"];
    check(&schema, "/value/properties/secrets/additionalProperties/properties", &[secret]);
}

#[tokio::test]
async fn the_schema_refuses_what_is_never_written() {
    let value = validator(&schema()["value"]);
    let tenants = stored().await;
    let check = |pointer: &str, wrong: Value| {
        let full = tenants.iter().find(|tenant| tenant.id.as_str() != "a").unwrap();
        let mut settings: Value = serde_json::from_slice(&full.settings).unwrap();
        assert!(value.is_valid(&settings));
        *settings.pointer_mut(pointer).unwrap() = wrong.clone();
        assert!(!value.is_valid(&settings), "{pointer} may be {wrong}");
    };
    check("/secrets/search/secret", json!({ "value": "plain" }));
    check("/secrets/search/secret", json!({ "sealed": "plain" }));
    check("/secrets/search/secret", json!({ "environment": "HOME" }));
    check("/variables/api_key", json!({ "sealed": "plain" }));
    check("/variables/api_key", json!({ "value": "plain" }));
    check("/issuers/0/secret", json!({ "file": "/etc/passwd" }));
    check("/issuers/0", json!({ "issuer": "a", "audience": "w", "clock_skew_s": 0, "user_claim": "sub" }));
    check("/api_keys/0/hash", json!("wk_abcdefgh2345_"));
    check("/limits/wait_ms_max", json!(60_001));
    check("/limits/cost_per_day", json!(2.5));
    check("/limits/cost_per_day", json!("2.50"));
    check("/limits", json!({}));
    check("/state", json!("removed"));
}
