//! tenants.toml: in force from the start, read again whenever it changes, never half.

use crate::neighbours::tenants::{key_of, tenants_toml};
use crate::support::{Server, Setup, failing_start};
use crate::tenants_support::{Admin, Caller, Model, in_force, try_tenant};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

/// The set-up with a file of tenants that holds `text`, and where that file is.
fn with_file(setup: Setup, text: &str) -> (Setup, PathBuf) {
    let path = setup.folder().join("tenants.toml");
    fs::write(&path, text).unwrap();
    let named = path.to_str().unwrap().to_owned();
    (setup.args(&["--tenants", &named]), path)
}

fn caller(server: &Server, tenant: &str) -> Caller {
    Caller::with(server, &key_of(tenant))
}

#[tokio::test]
async fn an_edit_is_in_force_without_a_restart() {
    let model = Model::start().await;
    let bank = |lines: &str| tenants_toml([("bank-a", lines)]);
    let (setup, path) = with_file(model.serve(Setup::application()), &bank(""));
    let server = setup.start();
    server.wait_for_output("1, each with credentials of its own");
    let caller_a = caller(&server, "bank-a");
    assert_eq!(caller_a.turn("hi").await.status, 200);
    assert_eq!(model.last()["model"], "demo", "the variable's default");
    assert_eq!(Caller::nobody(&server).status("/hello").await, 401);
    assert_eq!(caller(&server, "shop-b").status("/hello").await, 401);

    // Another tenant, and with it another key.
    fs::write(&path, tenants_toml([("bank-a", ""), ("shop-b", "")])).unwrap();
    in_force("a new tenant", async || caller(&server, "shop-b").status("/hello").await == 200).await;

    // Variables, as an editor that writes a new file and renames it.
    let beside = path.with_extension("swp");
    let lines = "variables = { model = \"model-of-a\", instructions = \"Be brief.\" }";
    fs::write(&beside, tenants_toml([("bank-a", lines), ("shop-b", "")])).unwrap();
    fs::rename(&beside, &path).unwrap();
    in_force("the tenant's own model", async || {
        assert_eq!(caller_a.turn("hi").await.status, 200);
        model.last()["model"] == "model-of-a"
    })
    .await;
    assert_eq!(model.last()["messages"][0]["content"], "Be brief.", "{:?}", model.last());
    assert_eq!(caller(&server, "shop-b").turn("hi").await.status, 200);
    let others = model.last();
    assert_eq!((&others["model"], others["messages"].as_array().unwrap().len()), (&json!("demo"), 1));

    // Limits.
    fs::write(&path, bank("limits.request_body_bytes_max = 100")).unwrap();
    let long = "x".repeat(200);
    in_force("a limit", async || caller_a.turn(&long).await.status == 413).await;
    in_force("a removed tenant", async || caller(&server, "shop-b").status("/hello").await == 401).await;

    // State.
    fs::write(&path, bank("state = \"suspended\"")).unwrap();
    in_force("a suspension", async || caller_a.turn("hi").await.code() == "tenant_suspended").await;
    fs::write(&path, bank("")).unwrap();
    in_force("its end", async || caller_a.turn("hi").await.status == 200).await;

    // A file that is gone changes nothing, however long that lasts; one that is back counts.
    fs::remove_file(&path).unwrap();
    server.wait_for_output("tenants stay as they were");
    assert_eq!(caller_a.turn("hi").await.status, 200);
    fs::write(&path, tenants_toml([("shop-b", "")])).unwrap();
    in_force("the file that is back", async || caller(&server, "shop-b").status("/hello").await == 200).await;
    assert_eq!(caller_a.status("/hello").await, 401);
    // An empty file has no tenants, and does not open the door.
    fs::write(&path, "").unwrap();
    in_force("an empty file", async || caller(&server, "shop-b").status("/hello").await == 401).await;
    assert_eq!(Caller::nobody(&server).status("/hello").await, 401);
}

/// Every kind of mistake, each with its line and what is said of it.
const MISTAKEN: &str = r#"[tenant.bank-a]
colour = "red"
[tenant.shop-b]
functions = ["chta"]
allowed_outbound_hosts = ["https://ok.example", "nonsense"]
[tenant.shop-b.limits]
requests_per_second = 0
[tenant.shop-b.variables]
modle = "x"
[tenant."Not An Id"]
[tenant.last]
name = 7
[[tenant.club-c.issuers]]
issuer = "https://id.example"
audience = "waggle"
"#;

const MISTAKES: [(usize, &str); 8] = [
    (2, "colour"),
    (4, "chta"),
    (5, "nonsense"),
    (7, "requests_per_second"),
    (9, "modle"),
    (10, "Not An Id"),
    (12, "name"),
    (13, "jwks_url"),
];

#[test]
fn every_mistake_keeps_the_program_from_starting() {
    let (setup, _path) = with_file(Setup::application(), MISTAKEN);
    let error = failing_start(&setup);
    for (line, part) in MISTAKES {
        assert!(error.contains(&format!("tenants.toml:{line}:")), "line {line} is not named in {error}");
        assert!(error.contains(part), "{part} is missing in {error}");
    }

    let (setup, path) = with_file(Setup::application(), "[tenant.bank-a\n");
    let error = failing_start(&setup);
    assert!(error.contains("tenants.toml:1:"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = failing_start(&setup);
    assert!(error.contains("tenants.toml") && error.contains("--tenants"), "{error}");

    // Two tenants with one key: whose request would it be?
    let key = tenants_toml([("bank-a", "")]);
    let twice = format!("{key}{}", key.replace("bank-a", "shop-b"));
    let (setup, _path) = with_file(Setup::application(), &twice);
    let error = failing_start(&setup);
    assert!(error.contains("bank-a") && error.contains("shop-b"), "{error}");
}

#[tokio::test]
async fn an_edit_with_mistakes_keeps_the_old_tenants_and_logs_them_all() {
    let (setup, path) = with_file(Setup::application(), &tenants_toml([("bank-a", "")]));
    let server = setup.start();
    let bank = caller(&server, "bank-a");
    assert_eq!(bank.status("/hello").await, 200);
    fs::write(&path, format!("{}{MISTAKEN}", tenants_toml([("good", "")]))).unwrap();
    server.wait_for_output("tenants stay as they were");
    let output = server.output();
    for (line, part) in MISTAKES {
        let line = line + tenants_toml([("good", "")]).lines().count();
        assert!(output.contains(&format!("tenants.toml:{line}:")), "line {line} is not named in {output}");
        assert!(output.contains(part), "{part} is missing in {output}");
    }
    assert_eq!(bank.status("/hello").await, 200, "the old tenants stay");
    assert_eq!(caller(&server, "good").status("/hello").await, 401, "nothing of the new file is in force");
    fs::write(&path, tenants_toml([("good", "")])).unwrap();
    in_force("the mended file", async || caller(&server, "good").status("/hello").await == 200).await;
    assert_eq!(bank.status("/hello").await, 401);
}

#[tokio::test]
async fn tenants_of_the_file_and_of_the_store_stand_beside_each_other() {
    let (setup, path) = with_file(Setup::application(), &tenants_toml([("filed", "")]));
    let server = setup.start();
    let admin = Admin::of(&server);
    let stored = Caller::with(&server, &admin.create("stored", json!({})).await);
    let filed = caller(&server, "filed");
    assert_eq!((filed.status("/hello").await, stored.status("/hello").await), (200, 200));
    let list = admin.done("GET", "/tenants", None).await;
    let sources: Vec<_> = list["tenants"].as_array().unwrap().iter().map(|one| &one["source"]).collect();
    assert_eq!(sources, ["file", "store"], "{list}");

    // What is in the file is changed in the file.
    let state = server.setup.folder().join("state");
    for args in
        [&["suspend", "filed"][..], &["remove", "filed", "--yes"], &["add-key", "filed"], &["add", "filed"]]
    {
        let (done, _, error) = try_tenant(&state, args);
        assert!(!done && error.contains("tenants.toml"), "{args:?}: {error}");
    }
    // An edit that takes the id of one of the store's is refused as a whole.
    fs::write(&path, tenants_toml([("filed", ""), ("stored", "")])).unwrap();
    server.wait_for_output("tenants stay as they were");
    assert!(server.output().contains("stored"), "{}", server.output());
    assert_eq!((filed.status("/hello").await, stored.status("/hello").await), (200, 200));
    // The file's are not gone while the store's change, and the other way round.
    admin.done("DELETE", "/tenants/stored", None).await;
    assert_eq!((filed.status("/hello").await, stored.status("/hello").await), (200, 401));
}
