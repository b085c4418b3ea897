//! What the index leaves in the store, held against `kv-schemas/`.

use crate::support::{Change, DyingStore, Failing, World, attribute, chunk, placed, run};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;
use waggle_index::{Index, Value};

struct Family {
    name: String,
    is_json: bool,
    key: jsonschema::Validator,
    value: jsonschema::Validator,
}

fn families() -> Vec<Family> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| -> Json {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(read)
        .filter(|schema| schema["owner"] == "guest/index")
        .map(|schema| {
            for field in ["description", "written_by", "store", "time_to_live_s"] {
                assert!(schema.get(field).is_some(), "{field} is missing in {}", schema["family"]);
            }
            let key = json!({"type": "string", "pattern": schema["key"]["pattern"]});
            Family {
                name: schema["family"].as_str().unwrap().to_owned(),
                is_json: schema["value_encoding"] != "binary",
                key: jsonschema::validator_for(&key).unwrap(),
                value: jsonschema::validator_for(&schema["value"]).unwrap(),
            }
        })
        .collect()
}

/// Everything the index can write: also what a crash leaves.
fn busy_world() -> World {
    let world = World::new();
    world.create("a", 2);
    world.create("none", 0);
    let attributes = vec![
        attribute("退", "\"\n"),
        ("n".to_owned(), Value::Number(-1.5e-7)),
        ("b".to_owned(), Value::Boolean(false)),
    ];
    world.publish("a", "g\u{0}\"退", 1, &[placed(0, "apple", &[1.0, -2.0]), chunk(1, "退款")], &attributes);
    world.stage("a", "g\u{0}\"退", 2, &[chunk(0, "x"), chunk(2, "x")]);
    // What calls leave that die at each of their operations.
    for operations in 1..12 {
        let dying = DyingStore::new(&world.store, operations, Failing::Before);
        let _dead_or_done = Change::Stage("a", "h", 1, vec![chunk(0, "x")]).apply(&dying);
    }
    run_failing(&world, "delete_many", |index| run(index.discard("a", "g\u{0}\"退", 2))).unwrap();
    world.create("gone", 0);
    world.publish("gone", "g", 1, &[chunk(0, "x")], &Vec::new());
    run_failing(&world, "delete_many", |index| run(index.drop_index("gone"))).unwrap();
    world
}

type Tested = waggle_index::key_value::KeyValueIndex<waggle_conversation::memory::MemoryStore>;

fn run_failing<T>(world: &World, operation: &'static str, change: impl Fn(&Tested) -> T) -> T {
    world.store.fail(Some(operation));
    let result = change(&world.index);
    world.store.fail(None);
    result
}

#[test]
fn every_key_and_value_is_of_one_described_family() {
    let families = families();
    let mut seen: BTreeMap<&str, usize> = families.iter().map(|family| (family.name.as_str(), 0)).collect();
    let (mut waste, mut reserved, mut dropped) = (false, false, false);
    for (key, value) in busy_world().store.dump() {
        let matching: Vec<&Family> =
            families.iter().filter(|family| family.key.is_valid(&json!(key))).collect();
        let [family] = matching.as_slice() else {
            panic!("{key} belongs to {} families", matching.len());
        };
        *seen.entry(&family.name).or_default() += 1;
        if !family.is_json {
            assert_eq!(value.first(), Some(&1), "{key}");
            continue;
        }
        let value: Json = serde_json::from_slice(&value).unwrap();
        if let Err(error) = family.value.validate(&value) {
            panic!("{key}: {error} at {}: {value:#}", error.instance_path());
        }
        let text = value.to_string();
        waste |= text.contains("\"waste\"");
        reserved |= text.contains("\"reserved\"");
        dropped |= text.contains("\"dropped\"");
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    assert!(seen.values().all(|count| *count > 0), "a family was not written: {seen:?}");
    assert!(waste && dropped, "what is to be deleted was not seen");
    assert!(reserved, "what is being written was not seen");
}

#[test]
fn the_schemas_refuse_what_the_index_does_not_write() {
    let families = families();
    let refuses = |name: &str, value: Json| {
        let family = families.iter().find(|family| family.name == name).unwrap();
        assert!(!family.value.is_valid(&value), "{name} takes {value}");
    };
    refuses("vector/sequence", json!("1"));
    refuses("vector/catalogue", json!({}));
    refuses("vector/catalogue", json!({"indexes": {".a": {"number": 1, "dimensions": 0}}}));
    refuses("vector/catalogue", json!({"indexes": {"a": {"number": 1, "dimensions": 4097}}}));
    refuses("vector/groups", json!({"revision": 1}));
    refuses("vector/groups", json!({"revision": 1, "groups": {"": {}}}));
    refuses("vector/groups", json!({"revision": 1, "groups": {"g": {"drafts": [{"version": 1}]}}}));
    refuses("vector/groups", json!({"revision": -1, "groups": {}}));
}
