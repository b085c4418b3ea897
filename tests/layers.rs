//! The layers: an arrow between crates that goes up or across fails here. ARCHITECTURE.md says what the layers are.

#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// For each crate, the crates of ours it may depend on. A crate that is not listed fails the test.
const ALLOWED: &[(&str, &[&str])] = &[
    // The program, and the one crate that knows all others of the host.
    (
        "waggle",
        &[
            "waggle-admin",
            "waggle-application",
            "waggle-gateway",
            "waggle-knowledge",
            "waggle-manifest",
            "waggle-operations",
            "waggle-secret",
            "waggle-telemetry",
            "waggle-tenancy",
            "waggle-tools",
            "model-sim",
        ],
    ),
    (
        "waggle-application",
        &[
            "waggle-admin",
            "waggle-egress",
            "waggle-engine",
            "waggle-gateway",
            "waggle-kv",
            "waggle-manifest",
            "waggle-measure",
            "waggle-operations",
            "waggle-secret",
            "waggle-telemetry",
            "waggle-tenancy",
            "waggle-tokenizer",
            "waggle-tool-runner",
            "waggle-tools",
            "waggle-vector",
            "waggle-vector-postgres",
            "waggle-work",
        ],
    ),
    // The admin API writes tenants and their tools and reads nothing else.
    ("waggle-admin", &["waggle-listen", "waggle-secret", "waggle-tenancy", "waggle-tools"]),
    // A client of the public API: it knows nothing of the server but what clients do.
    ("waggle-knowledge", &["waggle-secret"]),
    // gateway -> engine -> capabilities.
    (
        "waggle-gateway",
        &["waggle-engine", "waggle-listen", "waggle-manifest", "waggle-measure", "waggle-tenancy"],
    ),
    ("waggle-engine", &["waggle-egress", "waggle-kv", "waggle-measure", "waggle-tenancy", "waggle-vector"]),
    // Shares with the engine how code is compiled and kept, and what a store is.
    ("waggle-tool-runner", &["waggle-engine", "waggle-kv"]),
    // Leaves: they know none of ours but the types of a secret and of an amount of money, and what to measure with.
    ("waggle-listen", &[]),
    ("waggle-secret", &[]),
    ("waggle-money", &[]),
    ("waggle-measure", &[]),
    ("waggle-manifest", &[]),
    ("waggle-kv", &["waggle-measure"]),
    ("waggle-egress", &["waggle-measure", "waggle-money", "waggle-secret"]),
    ("waggle-tenancy", &["waggle-measure", "waggle-money", "waggle-secret"]),
    ("waggle-telemetry", &["waggle-measure"]),
    ("waggle-work", &["waggle-measure"]),
    ("waggle-tokenizer", &[]),
    ("waggle-tools", &[]),
    ("waggle-vector", &["waggle-measure"]),
    // A backend of it, apart because of what it brings along.
    ("waggle-vector-postgres", &["waggle-vector"]),
    // The operations listener tells what telemetry gathers, and nothing that it would have to know.
    ("waggle-operations", &["waggle-listen", "waggle-telemetry"]),
    // functions -> guest; neither knows the host.
    ("channels", &["waggle-desk", "waggle-wasi"]),
    ("chat", &["waggle-chat", "waggle-wasi"]),
    ("docs", &[]),
    ("hello", &["waggle-platform", "waggle-wasi"]),
    ("http-fallback", &[]),
    ("retrieval", &["waggle-retrieval", "waggle-wasi"]),
    ("tools", &["waggle-toolbox", "waggle-wasi"]),
    ("tokenizer-fallback", &["waggle-openai"]),
    ("vector-fallback", &["waggle-index", "waggle-wasi"]),
    (
        "waggle-chat",
        &[
            "waggle-agent",
            "waggle-conversation",
            "waggle-intent",
            "waggle-model",
            "waggle-openai",
            "waggle-platform",
            "waggle-schema",
            "waggle-search",
            "waggle-tool",
        ],
    ),
    (
        "waggle-toolbox",
        &[
            "waggle-conversation",
            "waggle-index",
            "waggle-intent",
            "waggle-mcp",
            "waggle-model",
            "waggle-openai",
            "waggle-platform",
            "waggle-schema",
            "waggle-search",
            "waggle-tool",
        ],
    ),
    (
        "waggle-retrieval",
        &[
            "waggle-conversation",
            "waggle-documents",
            "waggle-index",
            "waggle-model",
            "waggle-openai",
            "waggle-platform",
            "waggle-search",
        ],
    ),
    (
        "waggle-search",
        &["waggle-conversation", "waggle-index", "waggle-model", "waggle-openai", "waggle-platform"],
    ),
    (
        "waggle-desk",
        &["waggle-conversation", "waggle-model", "waggle-openai", "waggle-platform", "waggle-tool"],
    ),
    ("waggle-documents", &[]),
    ("waggle-platform", &["waggle-conversation", "waggle-model", "waggle-openai"]),
    ("waggle-index", &["waggle-conversation"]),
    (
        "waggle-search",
        &["waggle-conversation", "waggle-index", "waggle-model", "waggle-openai", "waggle-platform"],
    ),
    (
        "waggle-wasi",
        &["waggle-conversation", "waggle-index", "waggle-mcp", "waggle-model", "waggle-platform"],
    ),
    ("waggle-conversation", &["waggle-openai"]),
    ("waggle-agent", &["waggle-conversation", "waggle-openai", "waggle-tool"]),
    (
        "waggle-intent",
        &["waggle-conversation", "waggle-model", "waggle-openai", "waggle-platform", "waggle-search"],
    ),
    ("waggle-tool", &[]),
    ("waggle-documents", &[]),
    ("waggle-mcp", &["waggle-model", "waggle-platform", "waggle-tool"]),
    ("waggle-model", &["waggle-openai"]),
    ("waggle-schema", &[]),
    ("waggle-tool", &[]),
    ("waggle-openai", &[]),
    // The bench measures from outside.
    ("model-sim", &[]),
    ("waggle-bench", &["model-sim"]),
    ("native-peer", &[]),
    // What the examples call knows nothing of us.
    ("order-service", &[]),
    // But for what a library of the host adds, which is measured at its calls.
    ("waggle-egress-overhead", &["model-sim", "waggle-egress"]),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let ours: Vec<String> = packages.iter().map(name).collect();
    packages
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().unwrap().iter();
            // What only tests use may point anywhere below the tested crate.
            let used = used.filter(|one| one["kind"].as_str() != Some("dev")).map(name);
            (name(package), used.filter(|one| ours.contains(one)).collect())
        })
        .collect()
}

#[test]
fn dependencies_point_down_only() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (package, used) in dependencies() {
        let Some(may_use) = allowed.get(package.as_str()) else {
            wrong.push(format!("{package} has no layer; give it one in tests/layers.rs and ARCHITECTURE.md"));
            continue;
        };
        for other in used.iter().filter(|other| !may_use.contains(&other.as_str())) {
            wrong.push(format!("{package} must not depend on {other}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Programs and examples of all crates go to the same folders, where the last one built would replace the others.
#[test]
fn no_two_programs_have_one_name() {
    let metadata = metadata();
    let mut owners: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        for target in package["targets"].as_array().unwrap() {
            for kind in target["kind"].as_array().unwrap().iter().filter_map(Value::as_str) {
                if matches!(kind, "bin" | "example") {
                    let program = (kind.to_owned(), target["name"].as_str().unwrap().to_owned());
                    owners.entry(program).or_default().push(package["name"].as_str().unwrap().to_owned());
                }
            }
        }
    }
    assert!(owners.contains_key(&("bin".into(), "waggle".into())), "the check looks in the wrong place");
    owners.retain(|_, packages| packages.len() > 1);
    assert!(owners.is_empty(), "programs of one name: {owners:?}");
}

#[test]
fn only_the_engine_has_unsafe_code() {
    let output = Command::new("grep")
        .args([
            "-rln",
            "--include=*.rs",
            "-E",
            r"unsafe_code|unsafe \{|unsafe fn",
            "src",
            "host",
            "guest",
            "functions",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let files: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let known = |file: &String| file == "host/engine/src/load.rs";
    assert!(files.iter().any(known), "the check looks in the wrong place: {files:?}");
    assert!(files.iter().all(known), "unsafe code outside host/engine/src/load.rs: {files:?}");
}
