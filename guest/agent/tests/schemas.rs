//! What is left in the store, held against `kv-schemas/run.json` and `approval.json`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::executor::block_on;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use std::path::Path;
use waggle_agent::cost::{Cost, Spent};
use waggle_agent::journal::{CallAt, Entry, Journal};
use waggle_conversation::approval::{Decided, claim};
use waggle_conversation::memory::MemoryStore;
use waggle_openai::id::ItemKind;
use waggle_openai::item::HostedKind;
use waggle_openai::{ItemId, Nonce};

struct Family {
    key: jsonschema::Validator,
    value: jsonschema::Validator,
}

fn family(name: &str) -> Family {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../kv-schemas/{name}.json"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(schema["family"], name);
    let key = json!({"type": "string", "pattern": schema["key"]["pattern"]});
    Family {
        key: jsonschema::validator_for(&key).unwrap(),
        value: jsonschema::validator_for(&schema["value"]).unwrap(),
    }
}

/// Holds all that is in the store to that family.
fn check(store: &MemoryStore, name: &str, expected: usize) {
    let family = family(name);
    let dump = store.dump();
    assert_eq!(dump.len(), expected);
    for (key, value) in dump {
        assert!(family.key.is_valid(&json!(key)), "{key}");
        let value: Value = serde_json::from_slice(&value).unwrap();
        let errors: Vec<String> = family.value.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{key}: {value}: {errors:?}");
    }
}

#[test]
fn every_record_of_a_run_is_as_its_schema_says() {
    block_on(async {
        let store = MemoryStore::default();
        let (response, raw) = (Nonce::mint(1, 1), || to_raw_value(&json!({"any": ["thing"]})).unwrap());
        let mut journal = Journal::begin(store.clone(), response, Nonce::mint(2, 1));
        let spent = Spent { input_tokens: u64::MAX, cost: Cost(u64::MAX), ..Spent::default() };
        let at = |step, index| CallAt { step, index };
        for entry in [
            Entry::new().note(raw()).begun(at(0, 0), false),
            Entry::new().done(at(0, 0), raw()).asked(1),
            Entry::new().answered(1, raw(), spent).begun(at(1, 0), true).begun(at(1, 1), false),
            Entry::new().done(at(1, 1), raw()).done(at(1, 0), raw()).asked(2),
        ] {
            journal.append(entry, 1_700_000_000_000).await.unwrap();
        }
        let (_, recorded) = Journal::take_up(store.clone(), response, Nonce::mint(2, 2), 7).await.unwrap();
        assert_eq!((recorded.calls_begun(), recorded.answered_steps(), recorded.runners()), (3, 1, 1));
        assert_eq!(recorded.note().map(|note| note.get()), Some(raw().get()));
        check(&store, "run", 5);
    });
}

#[test]
fn every_decision_is_as_its_schema_says() {
    let store = MemoryStore::default();
    let kind = ItemKind::Hosted(HostedKind::McpApproval);
    let decided =
        |index, approve| Decided { request: ItemId { kind, nonce: Nonce::mint(1, 1), index }, approve };
    let all = [decided(0, true), decided(999, false)];
    block_on(claim(&store, &all, Nonce::mint(2, 1), 1_700_000_000)).unwrap();
    check(&store, "approval", 1);
}
