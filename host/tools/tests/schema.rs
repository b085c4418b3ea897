//! What the registry leaves in the store, held against `kv-schemas/host-tool.json`, `host-tool-head.json`,
//! `host-tool-component.json` and `host-tool-part.json`.

#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use waggle_tools::{
    Function, Grants, Limits, MemoryToolKeys, NewTool, Registry, ToolKeys, ToolSource, Unlisted,
};

const TENANT: &str = "bank-7_eu";

struct Source;

fn functions() -> Vec<Function> {
    let function = json!({ "name": "run", "description": "Runs.", "parameters": { "type": "object" },
        "output": { "type": "object" }, "side_effects": true, "idempotent": true, "needs_approval": true,
        "remote_name": "it.run" });
    vec![serde_json::from_value(function).unwrap()]
}

#[async_trait]
impl ToolSource for Source {
    async fn inspect(&self, _component: Bytes) -> Result<Vec<Function>, Unlisted> {
        Ok(functions().into_iter().map(|one| Function { remote_name: None, ..one }).collect())
    }

    async fn list_remote(
        &self,
        _tenant: &str,
        _name: &str,
        _url: &str,
        _grants: &Grants,
        _limits: &Limits,
    ) -> Result<Vec<Function>, Unlisted> {
        Ok(functions())
    }

    fn stores(&self) -> BTreeSet<String> {
        BTreeSet::from(["default".to_owned()])
    }
}

/// Tools with everything that one can have.
fn tools(digest: &str) -> Vec<NewTool> {
    let tools = json!([
        { "name": "counter", "kind": "component", "digest": digest, "version": "1", "only": ["run"],
          "overrides": { "run": { "description": "d", "side_effects": false, "idempotent": false, "needs_approval": false } },
          "grants": { "key_value": ["default"] } },
        { "name": "shop", "kind": "http", "base_url": "https://shop.test", "accept": true,
          "grants": { "outbound": ["http://10.0.0.1:81"], "secrets": ["key"] },
          "functions": [{ "name": "change", "description": "", "side_effects": true, "needs_approval": false,
            "parameters": { "type": "object", "properties": { "id": {}, "q": {}, "all": {} } },
            "request": { "method": "PUT", "path": "/{id}", "body": "all", "headers": [["accept", "a/b"]],
                         "arguments": [{ "argument": "q", "name": "q", "in": "query" }],
                         "idempotency_header": "Idempotency-Key" } }] },
        { "name": "docs", "kind": "mcp", "url": "https://mcp.test/mcp", "accept": true }
    ]);
    serde_json::from_value(tools).unwrap()
}

async fn keys() -> Vec<(String, Bytes)> {
    let keys = Arc::new(MemoryToolKeys::default());
    let registry = Registry::open(Arc::clone(&keys) as Arc<dyn ToolKeys>).await.unwrap();
    let bytes = Bytes::from(vec![7; 600_000]);
    let component = registry.put_component(TENANT, bytes, &Source).await.unwrap();
    let secrets = BTreeMap::from([("key".to_owned(), "https://shop.test".to_owned())]);
    for new in tools(&component.digest) {
        registry.add(TENANT, new, &secrets, &Source).await.unwrap();
    }
    registry.report_changed(TENANT, "docs", "another description").await.unwrap();
    // Another version of one that runs.
    let wider = NewTool {
        limits: Limits { cpu_ms_max: 60_000, ..Limits::default() },
        accept: false,
        ..tools("").remove(1)
    };
    registry.add(TENANT, wider, &secrets, &Source).await.unwrap();
    keys.all(TENANT)
}

fn schema(family: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas");
    serde_json::from_str(&std::fs::read_to_string(folder.join(format!("{family}.json"))).unwrap()).unwrap()
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::validator_for(schema).unwrap()
}

#[tokio::test]
async fn every_key_is_of_one_family_and_every_value_as_it_is_described() {
    let families = ["host-tool", "host-tool-head", "host-tool-component", "host-tool-part"].map(schema);
    let keys = keys().await;
    let mut seen = BTreeSet::new();
    for (key, value) in &keys {
        let is_of = |family: &&Value| {
            let pattern = json!({ "type": "string", "pattern": family["key"]["pattern"] });
            validator(&pattern).is_valid(&json!(key))
        };
        let of: Vec<&Value> = families.iter().filter(is_of).collect();
        let [family] = of.as_slice() else { panic!("{key} is of {} families", of.len()) };
        seen.insert(family["family"].as_str().unwrap());
        if family["value_encoding"] == "binary" {
            assert!(value.len() <= 512 << 10, "{key}");
            continue;
        }
        let value: Value = serde_json::from_slice(value).unwrap();
        if let Err(error) = validator(&family["value"]).validate(&value) {
            panic!("{key}: {error} at {}: {value:#}", error.instance_path());
        }
    }
    assert_eq!(seen.len(), families.len(), "{seen:?}");
}

#[tokio::test]
async fn the_schema_describes_every_field_there_is_and_no_other() {
    let schema = schema("host-tool");
    let all: Vec<Value> = keys()
        .await
        .iter()
        .filter(|(key, _)| key.starts_with("tool/"))
        .map(|(_, value)| serde_json::from_slice(value).unwrap())
        .collect();
    #[track_caller]
    fn check(schema: &Value, pointer: &str, found: &[&Value]) {
        let described = schema.pointer(pointer).unwrap().as_object().unwrap();
        let seen = |field: &&String| found.iter().any(|object| object.get(field.as_str()).is_some());
        let missing: Vec<&String> = described.keys().filter(|field| !seen(field)).collect();
        assert!(missing.is_empty(), "{pointer} has {missing:?}, which nobody writes");
    }
    check(&schema, "/value/properties", &all.iter().collect::<Vec<_>>());
    let versions: Vec<&Value> = all.iter().flat_map(|tool| [&tool["accepted"], &tool["pending"]]).collect();
    check(&schema, "/value/$defs/version/properties", &versions);
    check(&schema, "/value/$defs/pending/properties", &versions);
    let functions: Vec<&Value> =
        versions.iter().flat_map(|one| one["functions"].as_array().into_iter().flatten()).collect();
    check(&schema, "/value/$defs/function/properties", &functions);
    let requests: Vec<&Value> = functions.iter().map(|function| &function["request"]).collect();
    check(&schema, "/value/$defs/function/properties/request/properties", &requests);
    let limits: Vec<&Value> = versions.iter().map(|version| &version["limits"]).collect();
    check(&schema, "/value/$defs/version/properties/limits/properties", &limits);
}

#[tokio::test]
async fn the_schema_refuses_what_is_never_written() {
    let value = validator(&schema("host-tool")["value"]);
    let keys = keys().await;
    let check = |tool: &str, pointer: &str, wrong: Value| {
        let (_, written) = keys.iter().find(|(key, _)| *key == format!("tool/{tool}")).unwrap();
        let mut record: Value = serde_json::from_slice(written).unwrap();
        assert!(value.is_valid(&record));
        *record.pointer_mut(pointer).unwrap() = wrong.clone();
        assert!(!value.is_valid(&record), "{pointer} may be {wrong}");
    };
    check("shop", "/name", json!("waggle"));
    check("shop", "/revision", json!(0));
    check("shop", "/accepted/kind", json!("mcp"));
    check("shop", "/accepted/digest", json!("sha256:0"));
    check("shop", "/accepted/functions", json!([]));
    check("shop", "/accepted/limits/time_ms_max", json!(0));
    check("shop", "/accepted/grants/outbound", json!(["https://a.test/x"]));
    check("shop", "/pending/differences", Value::Null);
    check("docs", "/changed", json!({}));
    check("counter", "/pending/functions/0/parameters", json!({}));
}
