//! The example of a tool in Rust, built as its README says, and called from a turn. Those in JavaScript and Python need their
//! own compilers.

use crate::support::{Setup, root};
use crate::tenants_support::{Admin, Caller, Model};
use crate::tools_host::component_of;
use model_sim::{Behaviour, SimConfig};
use serde_json::json;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_rust_converts_money_in_a_turn() {
    let folder = root().join("examples/tools/rust");
    let target = root().join("target/example-tools");
    let built =
        Command::new("sh").arg(folder.join("build.sh")).env("CARGO_TARGET_DIR", target).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let behaviour = Behaviour { obeys_everything: true, ..Behaviour::default() };
    let config = SimConfig { recorded_requests_max: 10, behaviour, ..SimConfig::default() };
    let model = Model(model_sim::start(config).await.unwrap());
    let server = model.serve(Setup::application().args(&["--variable", "model=sim"])).start();
    let admin = Admin::of(&server);
    let settings = json!({ "variables": { "tools": "currency" } });
    let caller = Caller::with(&server, &admin.create("shop", settings).await);
    component_of(&admin, "shop", "currency", &folder.join("tool.wasm"), json!({})).await;

    let asked = r#"[sim: call currency__convert {"amount":100,"from":"EUR","to":"JPY"}]"#;
    let answer = caller.post("/v1/responses", &json!({ "input": asked })).await.json();
    let output = answer["output"].as_array().unwrap();
    let said = output.iter().find_map(|item| item["output"].as_str());
    assert_eq!(said, Some(r#"{"amount":18100.0,"currency":"JPY"}"#), "{answer:#}");
    assert_eq!(answer["status"], "completed");
}
