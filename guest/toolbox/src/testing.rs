//! Tools for tests.

use crate::registry::Snapshot;
use serde_json::{Value, json};

/// A component tool with these functions.
pub(crate) fn tool_json(name: &str, functions: &[&str]) -> Value {
    let functions: Vec<Value> = functions
        .iter()
        .map(|function| {
            json!({"name": function, "description": "", "parameters": {"type": "object"},
                "side_effects": false, "needs_approval": false})
        })
        .collect();
    json!({"name": name, "description": "d", "version": "1", "digest": "sha256:0", "kind": "component",
        "functions": functions, "time_ms_max": 1000, "output_bytes_max": 1000})
}

/// A registry of these tools.
pub(crate) fn registry(tools: &Value) -> Snapshot {
    // By way of text: a schema is kept as it is written.
    let text = json!({"revision": "1", "data": tools}).to_string();
    Snapshot::new(serde_json::from_str(&text).unwrap(), true)
}
