//! What this crate leaves in the store, held against `kv-schemas/`.

use crate::retrieve::RetrieveRequest;
use crate::search::SearchRequest;
use crate::testing::{NAMES, World, world};
use futures::executor::block_on;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

struct Family {
    name: String,
    key: jsonschema::Validator,
    value: Option<jsonschema::Validator>,
}

fn families() -> Vec<Family> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kv-schemas");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .filter(|schema: &Value| schema["owner"] == "guest/search")
        .map(|schema| {
            for field in
                ["family", "description", "store", "key", "time_to_live_s", "value_encoding", "value"]
            {
                assert!(schema.get(field).is_some(), "{field} is missing in {}", schema["family"]);
            }
            let key = json!({"type": "string", "pattern": schema["key"]["pattern"]});
            let is_json = schema["value_encoding"] != "binary";
            Family {
                name: schema["family"].as_str().unwrap().to_owned(),
                key: jsonschema::validator_for(&key).unwrap(),
                value: is_json.then(|| jsonschema::validator_for(&schema["value"]).unwrap()),
            }
        })
        .collect()
}

/// Everything this crate can write.
fn busy_world() -> World {
    let world = world();
    world.platform.set("answer_cache", "on");
    let index = world.index("a", true, &[("owl", &["the grey owl hunts at night"])]);
    let settings = world.settings();
    let searcher = world.searcher(&settings);
    block_on(async {
        searcher.embedder().embed(&["a document", "another"]).await.unwrap();
        searcher.embedder().dimensions().await.unwrap();
        for (question, is_answered) in [("When does it hunt?", true), ("What does it eat?", false)] {
            let search = SearchRequest {
                indexes: vec![index.clone()],
                queries: vec![question.to_owned()],
                ..SearchRequest::default()
            };
            let request = RetrieveRequest {
                search,
                prompt_version: Some("p".to_owned()),
                extractive: true,
                uncounted: false,
            };
            let key = searcher.retrieve(&NAMES, &request).await.unwrap().answer_key.unwrap();
            let data = vec![serde_json::value::to_raw_value(&json!({"file_id": "owl"})).unwrap()];
            assert!(!is_answered || searcher.keep_answer(&key, "At night [1].", data).await.unwrap());
        }
    });
    world
}

#[test]
fn every_key_and_value_is_of_one_described_family() {
    let families = families();
    let mut seen: BTreeMap<&str, usize> = families.iter().map(|family| (family.name.as_str(), 0)).collect();
    for (key, value) in busy_world().store.dump() {
        let matching: Vec<&Family> =
            families.iter().filter(|family| family.key.is_valid(&json!(key))).collect();
        let [family] = matching.as_slice() else { panic!("{key} belongs to {} families", matching.len()) };
        *seen.entry(&family.name).or_default() += 1;
        let Some(schema) = &family.value else { continue };
        let value: Value = serde_json::from_slice(&value).unwrap();
        if let Err(error) = schema.validate(&value) {
            panic!("{key}: {error} at {}: {value:#}", error.instance_path());
        }
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.values().all(|count| *count > 0), "a family was not written: {seen:?}");
}
