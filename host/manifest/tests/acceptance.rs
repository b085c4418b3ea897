//! Realistic manifests, from the file to what the host asks of them.

#![expect(clippy::expect_used, reason = "a helper of tests fails as a test does")]

use std::collections::BTreeMap;
use std::path::Path;

use waggle_manifest::{FileMount, LoadOptions, Manifest, Route, Variables};

const SHOP: &str = include_str!("manifests/shop.toml");

fn shop(profile: Option<&str>) -> Manifest {
    Manifest::parse("apps/shop/spin.toml", SHOP, profile).expect("the manifest is valid")
}

#[test]
fn a_manifest_says_what_the_application_is() {
    let manifest = shop(None);
    assert!(manifest.warnings().is_empty(), "{}", manifest.warnings());
    assert_eq!(manifest.application.name, "shop-assistant");
    assert_eq!(manifest.application.version.as_deref(), Some("1.4.0"));
    assert_eq!(manifest.dir(), Path::new("apps/shop"));
    let names: Vec<&str> = manifest.variables.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(names, ["model_endpoint", "model_api_key", "log_level"]);
    let key = &manifest.variables[1];
    assert!(key.is_secret && key.default.is_none());
}

#[test]
fn components_stand_in_the_order_of_the_file_and_inline_ones_get_names() {
    let manifest = shop(None);
    let ids: Vec<&str> = manifest.components.iter().map(|component| component.id.as_str()).collect();
    assert_eq!(ids, ["chat", "retrieval", "tools", "http-trigger1-component"]);
    let triggers: Vec<(&str, &str)> =
        manifest.triggers.iter().map(|trigger| (trigger.id.as_str(), trigger.component.as_str())).collect();
    let expected = [
        ("responses", "chat"),
        ("chat-http-trigger", "chat"),
        ("retrieval-http-trigger", "retrieval"),
        ("tools-http-trigger", "tools"),
        ("http-trigger1", "http-trigger1-component"),
    ];
    assert_eq!(triggers, expected);
    assert_eq!(manifest.triggers[3].route.value, Route::Private);
}

#[test]
fn a_component_that_only_satisfies_an_interface_of_the_host_is_no_function() {
    let head = "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
                [[trigger.http]]\nroute = \"/...\"\ncomponent = \"chat\"\n";
    let text = format!(
        "{head}[component.counter]\nsource = \"counter.wasm\"\nbuild.command = \"make\"\n\
         [component.chat]\nsource = \"chat.wasm\"\n\
         [component.keeper]\nsource = \"keeper.wasm\"\n\
         [component.chat.dependencies]\n\"waggle:tokenizer/tokenizer@0.1.0\" = {{ component = \"counter\" }}\n\
         \"waggle:vector\" = {{ component = \"keeper\", inherit_configuration = [\"key_value_stores\"] }}\n"
    );
    let manifest = Manifest::parse("spin.toml", &text, None).expect("the manifest is valid");
    assert!(manifest.warnings().is_empty(), "{}", manifest.warnings());
    let ids = |components: &[waggle_manifest::Component]| {
        components.iter().map(|component| component.id.value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&manifest.components), ["chat"]);
    assert_eq!(ids(&manifest.dependencies), ["counter", "keeper"]);
    // With a trigger of its own it is a function as well.
    let trigger = "[[trigger.http]]\nroute = \"/count\"\ncomponent = \"counter\"\n";
    let manifest = Manifest::parse("spin.toml", &format!("{text}{trigger}"), None).expect("it is valid");
    assert_eq!((ids(&manifest.components).len(), manifest.dependencies.len()), (2, 1));
}

#[test]
fn files_and_stores_are_as_written() {
    let manifest = shop(None);
    let retrieval = manifest.component("retrieval").unwrap();
    let files: Vec<FileMount> = retrieval.files.iter().map(|file| file.value.clone()).collect();
    let placed =
        FileMount::Placement { source: "index.bin".to_owned(), destination: "/data/index.bin".to_owned() };
    let pattern = |text: &str| FileMount::Pattern(text.to_owned());
    assert_eq!(files, [pattern("knowledge/**/*.md"), pattern("prompts"), placed]);
    assert_eq!(retrieval.exclude_files[0].value, "knowledge/drafts/*");
    let stores = &manifest.component("chat").unwrap().key_value_stores;
    assert_eq!(stores.iter().map(|store| store.as_str()).collect::<Vec<_>>(), ["default", "conversations"]);
}

#[test]
fn a_profile_overrides_what_it_names_and_nothing_else() {
    let check = |profile: Option<&str>, source: &str, level: &str, commands: &[&str]| {
        let manifest = shop(profile);
        let chat = manifest.component("chat").unwrap();
        assert_eq!(manifest.source_path(chat), Path::new("apps/shop").join(source));
        let environment = BTreeMap::from([("RUST_LOG", level), ("REGION", "eu")]);
        let found: BTreeMap<&str, &str> =
            chat.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, environment);
        let build = chat.build.as_ref().unwrap();
        assert_eq!(build.commands, commands);
        assert_eq!(build.workdir.as_ref().unwrap().value, "functions/chat");
        assert_eq!(build.watch.len(), 2);
    };
    let release = "cargo build --target wasm32-wasip2 --profile function -p chat";
    check(None, "target/wasm32-wasip2/function/chat.wasm", "info", &[release]);
    let debug = ["cargo fetch", "cargo build --target wasm32-wasip2 -p chat"];
    check(Some("debug"), "target/wasm32-wasip2/debug/chat.wasm", "debug", &debug);
    assert_eq!(shop(None).component("retrieval").unwrap().build, None);
    assert_eq!(
        shop(Some("debug")).component("retrieval").unwrap().build.as_ref().unwrap().commands,
        ["make debug"]
    );
}

#[test]
fn a_profile_that_no_component_has_is_a_mistake() {
    let found = Manifest::parse("spin.toml", SHOP, Some("deugb")).unwrap_err().to_string();
    assert!(
        found.contains("no component has a profile `deugb`") && found.contains("did you mean `debug`?"),
        "{found}"
    );
}

#[test]
fn requests_reach_the_component_of_their_route() {
    let table = shop(None).route_table();
    let check = |path: &str, expected: Option<(&str, &str, &str)>| {
        let found = table.lookup(path);
        let found = found.as_ref().map(|found| (found.component, found.matched_route, found.path_info));
        assert_eq!(found, expected, "{path}");
    };
    check("/", Some(("http-trigger1-component", "/", "")));
    check("/v1/responses/r_1", Some(("chat", "/v1/...", "/responses/r_1")));
    check("/v1/models/gpt", Some(("chat", "/v1/models/:model", "")));
    check("/v1/models", Some(("chat", "/v1/...", "/models")));
    check("/search/docs/a/b", Some(("retrieval", "/search/:index/...", "/a/b")));
    check("/tools", None);
    assert_eq!(table.routes().len(), 4);
}

#[test]
fn variables_reach_the_components_that_name_them() {
    let overrides = [("model_api_key".to_owned(), "sk-1".to_owned())];
    let environment = |name: &str| (name == "SPIN_VARIABLE_LOG_LEVEL").then(|| "trace".to_owned());
    let variables = Variables::resolve(&shop(None), overrides, environment).unwrap();
    let shown: Vec<(String, String)> = variables
        .component_variables("chat")
        .into_iter()
        .map(|(name, value)| (name, value.expose().to_owned()))
        .collect();
    let expected = [
        ("authorization", "Bearer sk-1"),
        ("endpoint", "http://127.0.0.1:4010/v1"),
        ("fixed", "no template"),
        ("level", "trace"),
    ];
    assert_eq!(shown, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(variables.component_variables("tools").is_empty());
    let chat = variables.outbound_hosts("chat");
    assert!(chat.allows("http", "127.0.0.1", Some(4010)) && chat.allows("http", "tools.spin.internal", None));
    assert!(!chat.allows("http", "chat.spin.internal", None));
    let tools = variables.outbound_hosts("tools");
    assert!(tools.allows("https", "eu.shop.example", Some(8443)) && tools.allows("redis", "10.2.3.4", None));
    assert!(tools.allows("http", "chat.spin.internal", None));
    assert!(variables.outbound_hosts("retrieval").is_empty());
}

#[test]
fn missing_wasm_files_are_shown_at_their_source_with_what_makes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spin.toml");
    std::fs::write(&path, SHOP).unwrap();
    for file in ["console.wasm", "tools.wasm"] {
        std::fs::write(folder.path().join(file), "").unwrap();
    }
    // A folder stands for the spin.toml in it.
    let manifest = Manifest::load(folder.path(), &LoadOptions::default()).unwrap();
    let found = manifest.check_sources().unwrap_err();
    assert_eq!(found.len(), 2, "{found}");
    let shown = found.to_string();
    assert!(
        shown.contains("the WebAssembly file of `chat` does not exist") && shown.contains("`waggle build`"),
        "{shown}"
    );
    assert!(shown.contains("spin.toml:45:10"), "{shown}");
    for file in ["retrieval.wasm", "target/wasm32-wasip2/function/chat.wasm"] {
        let file = folder.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "").unwrap();
    }
    manifest.check_sources().unwrap();
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark_change_nothing() {
    let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let manifest = Manifest::parse("spin.toml", &windows(SHOP), None).unwrap();
    let shown = |manifest: &Manifest| format!("{:?} {:?}", manifest.triggers, manifest.application);
    assert_eq!(shown(&manifest), shown(&shop(None)));
    let found =
        Manifest::parse("spin.toml", &windows(&SHOP.replace("chat.wasm", "")), Some("x")).unwrap_err();
    let plain = Manifest::parse("spin.toml", &SHOP.replace("chat.wasm", ""), Some("x")).unwrap_err();
    assert_eq!(found.to_string(), plain.to_string());
}

#[test]
fn empty_trigger_ids_are_made_up_like_absent_ones() {
    let text = SHOP.replace("route = ", "id = \"\"\nroute = ").replace("id = \"responses\"\n", "");
    let manifest = Manifest::parse("spin.toml", &text, None).unwrap();
    let ids: Vec<&str> = manifest.triggers.iter().map(|trigger| trigger.id.as_str()).collect();
    let expected = [
        "chat-http-trigger",
        "http-trigger1",
        "retrieval-http-trigger",
        "tools-http-trigger",
        "http-trigger2",
    ];
    assert_eq!(ids, expected);
}

#[test]
fn the_smallest_manifest_is_enough() {
    let text = "spin_manifest_version = 2\n[application]\nname = \"hello\"\n\
                [[trigger.http]]\nroute = \"/...\"\ncomponent = { source = \"hello.wasm\" }\n";
    let manifest = Manifest::parse("spin.toml", text, None).unwrap();
    assert_eq!(manifest.route_table().lookup("/any").unwrap().component, "http-trigger1-component");
    assert_eq!(manifest.dir(), Path::new(""));
}

#[test]
fn a_manifest_that_is_not_there_says_how_to_name_one() {
    let folder = tempfile::tempdir().unwrap();
    let found = Manifest::load(folder.path(), &LoadOptions::default()).unwrap_err().to_string();
    assert!(found.contains("cannot read") && found.contains("--from FILE"), "{found}");
}
