//! What the function leaves in the store, held against `kv-schemas/`.

use crate::support::{World, embedding_world, id, paragraphs};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

struct Family {
    name: String,
    key: jsonschema::Validator,
    value: jsonschema::Validator,
    is_json: bool,
}

/// The families of this crate.
fn families() -> Vec<Family> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .filter(|schema: &Value| schema["owner"] == "guest/retrieval")
        .map(|schema| {
            for field in ["family", "description", "store", "key", "time_to_live_s", "value_encoding", "value"] {
                assert!(schema.get(field).is_some(), "{field} is missing in {}", schema["family"]);
            }
            let key = json!({"type": "string", "pattern": schema["key"]["pattern"]});
            Family {
                name: schema["family"].as_str().unwrap().to_owned(),
                key: jsonschema::validator_for(&key).unwrap(),
                value: jsonschema::validator_for(&schema["value"]).unwrap(),
                is_json: schema["value_encoding"] == "json",
            }
        })
        .collect()
}

/// Counts what is in the store by family, and holds it against that. Those of `waggle-search` are left to that.
fn check(world: &World, families: &[Family], seen: &mut BTreeMap<String, usize>) {
    for (key, value) in world.store.inner.dump() {
        if key.starts_with("embedding/") || key.starts_with("answer/") {
            continue;
        }
        let matching: Vec<&Family> = families.iter().filter(|family| family.key.is_valid(&json!(key))).collect();
        let [family] = matching.as_slice() else { panic!("{key} belongs to {} families", matching.len()) };
        if family.is_json {
            let value: Value = serde_json::from_slice(&value).unwrap();
            if let Err(error) = family.value.validate(&value) {
                panic!("{key}: {error} at {}: {value:#}", error.instance_path());
            }
        }
        *seen.entry(family.name.clone()).or_default() += 1;
    }
}

/// Everything the function can write, looked at again and again.
fn be_busy(world: &World, look: &mut impl FnMut(&World)) {
    let expiring =
        [("purpose", "batch"), ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "3600")];
    let texts = ["one", "two", "three"].map(|name| world.upload(&format!("{name}.md"), &paragraphs(&[name])));
    let other = id(&world.upload_object(&expiring, "other.bin", b"\0\x01\x02\x03\xff\xfe\0\0"));
    let body = json!({"name": "n", "description": "d", "metadata": {"k": "v"}, "file_ids": texts,
        "expires_after": {"anchor": "last_active_at", "days": 7}});
    let store = id(&world.json("POST", "/v1/vector_stores", &body, 200));
    look(world);
    let long: Vec<String> = (0..1500).map(|number| format!("topic{number}")).collect();
    let long = world.upload("long.md", &paragraphs(&long.iter().map(String::as_str).collect::<Vec<_>>()));
    let path = format!("/v1/vector_stores/{store}");
    let batch = json!({"files": [{"file_id": other, "attributes": {"a": "b", "c": 1.5, "d": true, "e": -1}},
        {"file_id": long, "chunking_strategy": {"type": "static", "static":
            {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}}}]});
    let batch = id(&world.json("POST", &format!("{path}/file_batches"), &batch, 200));
    for step in 0..100 {
        let Some(work) = world.platform.queue.borrow_mut().pop_front() else { break };
        // The last attempt of each, too.
        world.deliver_once(&work, step % 2 == 0);
        look(world);
        if step == 3 {
            world.exchange("POST", &format!("{path}/file_batches/{batch}/cancel"), &Value::Null);
            look(world);
        }
    }
    world.set("embedding_model", "long");
    world.pass_s(61);
    world.search(&store, "one");
    for _ in 0..100 {
        let Some(work) = world.platform.queue.borrow_mut().pop_front() else { break };
        world.deliver_once(&work, false);
        look(world);
    }
    world.set("embedding_model", "short");
    world.json("DELETE", &format!("{path}/files/{}", texts[0]), &Value::Null, 200);
    look(world);
    world.json("DELETE", &format!("/v1/files/{}", texts[1]), &Value::Null, 200);
    let second = world.create_store(&[&texts[2]]);
    world.json("DELETE", &format!("/v1/vector_stores/{second}"), &Value::Null, 200);
    look(world);
}

#[test]
fn every_key_and_value_is_of_one_described_family() {
    let families = families();
    let mut seen: BTreeMap<String, usize> = families.iter().map(|family| (family.name.clone(), 0)).collect();
    let world = embedding_world();
    for user in [None, Some("!\"\\~")] {
        be_busy(&world.called_by(user), &mut |world| check(world, &families, &mut seen));
        world.set("embedding_model", "short");
    }
    assert_eq!(seen.len(), 10);
    assert!(seen.values().all(|count| *count > 0), "a family was not written: {seen:?}");
}

#[test]
fn the_schemas_refuse_what_the_function_does_not_write() {
    let families = families();
    let refuses = |name: &str, value: Value| {
        let family = families.iter().find(|family| family.name == name).unwrap();
        assert!(!family.value.is_valid(&value), "{name} takes {value}");
    };
    refuses("file", json!({}));
    refuses("content", json!({"contents": [{"hash": "x", "blob": "y", "parts": 1, "files": []}]}));
    refuses("roster/head", json!({"next": 1, "pages": [0, 0]}));
    refuses("roster/page", json!({"revision": 1, "entries": [{"id": "x"}]}));
    refuses("vector_store", json!({"created_at": 1}));
    refuses("vector_store/lane", json!({"until_ms": 1, "ticket": "x"}));
    let keys = |key: &str| families.iter().filter(|family| family.key.is_valid(&json!(key))).count();
    assert_eq!(keys("file/x"), 0);
    assert_eq!(keys("vector_store/000000000000000000000000/lane/4"), 0);
}
