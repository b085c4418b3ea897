//! What the function leaves in the store, held against `kv-schemas/`.

use crate::support::{HOST, answers, component, function, world};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

struct Family {
    name: String,
    key: jsonschema::Validator,
    value: jsonschema::Validator,
}

/// The families of this crate.
fn families() -> Vec<Family> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .filter(|schema: &Value| schema["owner"] == "guest/toolbox")
        .map(|schema| {
            for field in
                ["family", "description", "store", "key", "time_to_live_s", "value_encoding", "value"]
            {
                assert!(schema.get(field).is_some(), "{field} is missing in {}", schema["family"]);
            }
            let key = json!({"type": "string", "pattern": schema["key"]["pattern"]});
            Family {
                name: schema["family"].as_str().unwrap().to_owned(),
                key: jsonschema::validator_for(&key).unwrap(),
                value: jsonschema::validator_for(&schema["value"]).unwrap(),
            }
        })
        .collect()
}

#[test]
fn every_key_and_value_is_of_one_family() {
    let world = world(&json!([component(
        "shop",
        &[function("get", &json!({})), function("pay", &json!({"side_effects": true})),]
    )]));
    let told = json!({"output": "x".repeat(9_000), "error": null});
    world.net.script(&format!("{HOST}/v1/tools/shop/call"), [answers(200, &told)]);
    world.set("tool_audit_entries_max", "20");
    for _ in 0..16 {
        let changes = json!({"conversation": "conv_1", "response": "r".repeat(1_000)});
        world.call_with("shop", "get", &json!({"id": "é".repeat(10_000)}).to_string(), &changes);
        world.called_by("ada").call("shop", "pay", "{}");
        world.call("shop", &"f".repeat(1_000), "{");
    }
    let families = families();
    let mut seen = BTreeSet::new();
    for (key, value) in world.store.dump() {
        let matching: Vec<&Family> =
            families.iter().filter(|family| family.key.is_valid(&json!(key))).collect();
        let [family] = matching.as_slice() else { panic!("{key} belongs to {} families", matching.len()) };
        let value: Value = serde_json::from_slice(&value).unwrap();
        if let Err(error) = family.value.validate(&value) {
            panic!("{key}: {error} at {}: {value:#}", error.instance_path());
        }
        seen.insert(family.name.clone());
    }
    let all: BTreeSet<String> = families.into_iter().map(|family| family.name).collect();
    assert_eq!(seen, all);
}
