//! Every kind of mistake in a manifest, one by one and all at once, against golden files.

#![expect(clippy::expect_used, reason = "a helper of tests fails as a test does")]

use waggle_manifest::{Diagnostics, Manifest};

/// A valid manifest's beginning, for tests of what comes after.
const HEAD: &str = "spin_manifest_version = 2\n[application]\nname = \"app\"\n";
/// A valid trigger and component, for tests of what comes before.
const TAIL: &str =
    "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"chat\"\n[component.chat]\nsource = \"chat.wasm\"\n";

fn mistakes(text: &str) -> Diagnostics {
    Manifest::parse("spin.toml", text, None).expect_err("the manifest should have been refused")
}

/// Exactly one mistake is found, at `marked` in the text, and its drawing holds `expected`.
fn check(text: &str, marked: &str, expected: &str) {
    let found = mistakes(text);
    let shown = found.to_string();
    assert_eq!(found.len(), 1, "{shown}");
    assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    let place = found.iter().next().and_then(|finding| finding.location.clone()).expect("a place");
    assert_eq!(&text[place.span], marked, "{shown}");
}

fn check_component(lines: &str, marked: &str, expected: &str) {
    check(&format!("{HEAD}{TAIL}{lines}\n"), marked, expected);
}

fn check_trigger(lines: &str, marked: &str, expected: &str) {
    let component = "[component.chat]\nsource = \"chat.wasm\"\n";
    check(&format!("{HEAD}[[trigger.http]]\n{lines}\n{component}"), marked, expected);
}

fn check_variable(line: &str, marked: &str, expected: &str) {
    check(&format!("{HEAD}[variables]\n{line}\n{TAIL}"), marked, expected);
}

#[test]
fn all_mistakes_of_a_file_are_reported_together() {
    insta::assert_snapshot!(mistakes(include_str!("manifests/mistakes.toml")));
}

#[test]
fn all_syntax_errors_are_reported_together_and_cause_no_others() {
    insta::assert_snapshot!(mistakes(include_str!("manifests/syntax.toml")));
}

#[test]
fn warnings_alone_do_not_refuse_a_manifest() {
    let text = include_str!("manifests/warnings.toml");
    let manifest = Manifest::parse("spin.toml", text, None).expect("a manifest with warnings is valid");
    insta::assert_snapshot!(manifest.warnings());
}

#[test]
fn a_manifest_of_another_version_is_refused_as_a_whole() {
    let old = "spin_manifest_version = \"1\"\nname = \"x\"\ntrigger = { type = \"http\" }\n[[component]]\nid = \"a\"\n";
    check(old, "\"1\"", "manifest of version 1; version 2 is needed");
    check("spin_version = \"1\"\nname = \"x\"\n", "spin_version", "manifest of version 1");
    check("spin_manifest_version = 1\n", "1", "manifest of version 1");
    check("spin_manifest_version = \"2\"\n", "\"2\"", "without quotes");
    check("spin_manifest_version = 3\n", "3", "not known");
    check(&format!("[application]\nname = \"x\"\n{TAIL}"), "", "`spin_manifest_version` is missing");
}

#[test]
fn the_application_needs_a_name_and_a_trigger() {
    check(&format!("spin_manifest_version = 2\n{TAIL}"), "", "the table `[application]` is missing");
    check(
        &format!("spin_manifest_version = 2\n[application]\n{TAIL}"),
        "[application]",
        "`application.name` is missing",
    );
    check(&format!("{}{TAIL}", HEAD.replace("app\"", "\"")), "\"\"", "must not be empty");
    check(HEAD, "", "no HTTP trigger");
    check(&format!("trigger = 5\n{HEAD}"), "5", "`trigger` must be a table, not an integer");
    check(&format!("{HEAD}vesion = \"1\"\n{TAIL}"), "vesion", "did you mean `version`?");
    check(&format!("{HEAD}authors = \"me\"\n{TAIL}"), "\"me\"", "must be a list of strings, not a string");
    check(&format!("{HEAD}{TAIL}[componnt.x]\n"), "componnt", "unknown key `componnt`");
}

#[test]
fn what_this_host_does_not_run_is_refused_by_name() {
    let redis = "[[trigger.redis]]\nchannel = \"x\"\ncomponent = \"chat\"\n";
    check(&format!("{HEAD}{TAIL}{redis}"), "redis", "`trigger.redis`: this host runs HTTP triggers only");
    check_component("sqlite_databases = [\"default\"]", "sqlite_databases", "SQLite databases are not run");
    check_component("ai_models = [\"llama\"]", "ai_models", "models inside the host are not run");
    check_component("allowed_http_hosts = [\"a\"]", "allowed_http_hosts", "write `allowed_outbound_hosts");
    check_component(
        "dependencies = { \"a:b\" = \"1.0\" }",
        "\"a:b\"",
        "this host neither offers `a:b` itself nor composes components",
    );
    let own = "\"waggle:tokenizer/tokenizer@0.1.0\"";
    check_component(&format!("dependencies = {{ {own} = 1 }}"), "1", "must be a version, or a table");
    check_component(
        &format!("dependencies = {{ {own} = {{ component = \"cat\" }} }}"),
        "\"cat\"",
        "there is no component `cat`",
    );
    let other_source = |source: &str| format!("{HEAD}{}", TAIL.replace("\"chat.wasm\"", source));
    check(
        &other_source("{ url = \"https://x/y.wasm\", digest = \"sha256:0\" }"),
        "source",
        "from a URL are not fetched",
    );
    check(
        &other_source("{ registry = \"r\", package = \"a:b\", version = \"1.0.0\" }"),
        "source",
        "from a registry (OCI) are not fetched",
    );
    let trigger = "route = \"/\"\ncomponent = \"chat\"\n";
    check_trigger(&format!("{trigger}executor = {{ type = \"wagi\" }}"), "\"wagi\"", "Wagi (CGI)");
    check_trigger(&format!("{trigger}executor = {{ type = \"x\" }}"), "\"x\"", "no executor `x`");
    check_trigger(&format!("{trigger}components = {{ a = \"chat\" }}"), "components", "not composed");
    check_trigger("route = \"/\"\nstatic_response = { body = \"x\" }", "static_response", "not served");
}

#[test]
fn what_is_empty_asks_for_nothing_and_is_not_refused() {
    let text = format!("{HEAD}{TAIL}sqlite_databases = []\nai_models = []\n[component.chat.dependencies]\n");
    assert!(Manifest::parse("spin.toml", &text, None).is_ok());
}

#[test]
fn triggers_are_checked() {
    check_trigger("component = \"chat\"", "[[trigger.http]]", "`trigger.http[0].route` is missing");
    check_trigger("route = \"/\"", "[[trigger.http]]", "`trigger.http[0].component` is missing");
    check_trigger("route = \"/\"\ncomponent = \"chatt\"", "\"chatt\"", "did you mean `chat`?");
    check_trigger("route = \"/\"\ncomponent = 5", "5", "must be a component's name");
    check_trigger(
        "route = 5\ncomponent = \"chat\"",
        "5",
        "must be a path, or `{ private = true }`, not an integer",
    );
    check_trigger("route = \"/a?b\"\ncomponent = \"chat\"", "?", "leave the query out");
    check_trigger("route = \"/a.../b\"\ncomponent = \"chat\"", "a...", "only at the end");
    check_trigger(
        "route = { private = false }\ncomponent = \"chat\"",
        "{ private = false }",
        "or `{ private = true }`",
    );
    check_trigger("rout = \"/\"\nroute = \"/\"\ncomponent = \"chat\"", "rout", "did you mean `route`?");
    check(
        &format!("{HEAD}{}", TAIL.replace("[[trigger.http]]", "[trigger.http]")),
        "http",
        "with two brackets",
    );
}

#[test]
fn two_routes_of_one_shape_are_a_mistake_that_shows_both() {
    let second = "[[trigger.http]]\nroute = \"users/:name/*\"\ncomponent = \"chat\"\n";
    let first = TAIL.replace("/...", "/users/:id/...");
    let text = format!("{HEAD}{first}{second}");
    check(&text, "\"users/:name/*\"", "5 | route = \"/users/:id/...\"");
    let ids = format!(
        "{HEAD}[[trigger.http]]\nid = \"a\"\nroute = \"/a\"\ncomponent = \"chat\"\n{}",
        TAIL.replacen('\n', "\nid = 'a'\n", 1)
    );
    check(&ids, "'a'", "two triggers have the id `a`");
}

#[test]
fn components_are_checked() {
    check(&format!("{HEAD}{}[component.x]\n", TAIL), "[component.x]", "`component.x.source` is missing");
    check(&format!("{HEAD}{TAIL}[component.my_chat]\nsource = \"a\"\n"), "my_chat", "write `my-chat`");
    check_component("enviroment = { A = \"1\" }", "enviroment", "did you mean `environment`?");
    check_component(
        "environment = { A = 1 }",
        "1",
        "`component.chat.environment.A` must be a string, not an integer",
    );
    check_component("environment = { \"A=B\" = \"1\" }", "\"A=B\"", "must not be empty or hold `=`");
    check_component("key_value_stores = [\"a b\"]", "\"a b\"", "may hold only letters");
    check_component("key_value_stores = \"default\"", "\"default\"", "must be a list of strings");
    check_component("files = [\"assets/.\"]", "\"assets/.\"", "names a folder, not files");
    check_component("files = [\"../a.txt\"]", "\"../a.txt\"", "no `..`");
    check_component("files = [\"/etc/*\"]", "\"/etc/*\"", "no absolute path");
    check_component("files = [{ source = \"a\" }]", "{ source = \"a\" }", "files[0].destination` is missing");
    check_component(
        "files = [{ source = \"a\", destination = \"/../b\" }]",
        "\"/../b\"",
        "must not hold `..`",
    );
    check_component("files = [5]", "5", "must be a glob or");
    check_component("build = \"make\"", "\"make\"", "`component.chat.build` must be a table, not a string");
    check_component(
        "build = { workdir = \"a\" }",
        "{ workdir = \"a\" }",
        "`component.chat.build.command` is missing",
    );
    check_component("build = { command = [] }", "[]", "must not be empty");
    check_component("build = { command = 5 }", "5", "a command or a list of commands");
    check_component("build = { command = \"a\", wathc = [] }", "wathc", "did you mean `watch`?");
    check_component("profile = { debug = { sorce = \"a\" } }", "sorce", "did you mean `source`?");
    check_component("profile.debug.dependencies = { a = \"1\" }", "a", "nor composes components");
}

#[test]
fn variables_are_checked() {
    check_variable("a-b = { default = \"\" }", "a-b", "write `a_b`");
    check_variable("a = { required = true, default = \"x\" }", "true", "is required and has a default");
    check_variable("a = { secret = true }", "a", "is not required and has no default");
    check_variable("a = { required = false }", "a", "is not required and has no default");
    check_variable("a = { required = \"yes\" }", "\"yes\"", "must be true or false");
    check_variable("a = \"x\"", "\"x\"", "write `a = { default = … }`");
    check_variable("a = { default = \"x\", desc = \"y\" }", "desc", "did you mean `description`?");
    check_variable("a = { default = 5 }", "5", "`variables.a.default` must be a string");
}

#[test]
fn templates_are_checked_to_the_character() {
    check_component("variables = { x = \"a {{ b \" }", "{{ b ", "`{{` is never closed");
    check_component("variables = { x = 'a {{ }}' }", "{{ }}", "names no variable");
    check_component("variables = { x = \"a {{ nope }}\" }", "{{ nope }}", "add it to `[variables]`");
    check_component(
        "variables = { x = \"\"\"a {{ nope }}\"\"\" }",
        "{{ nope }}",
        "there is no variable `nope`",
    );
    // Written with an escape, so only the whole value can be marked.
    check_component(
        "variables = { x = \"\\t{{ nope }}\" }",
        "\"\\t{{ nope }}\"",
        "there is no variable `nope`",
    );
    check_component("variables = { X = \"\" }", "X", "write `x`");
    check_component(
        "allowed_outbound_hosts = [\"http://{{ hst }}\"]",
        "{{ hst }}",
        "there is no variable `hst`",
    );
    let text = format!(
        "{HEAD}[variables]\nhost = {{ default = \"x\" }}\n{TAIL}allowed_outbound_hosts = [\"http://{{{{ hst }}}}\"]\n"
    );
    check(&text, "{{ hst }}", "did you mean `host`?");
}

#[test]
fn allowed_hosts_are_checked_to_the_character() {
    let check = |entry: &str, marked: &str, expected: &str| {
        check_component(
            &format!("allowed_outbound_hosts = [\"https://good\", \"{entry}\"]"),
            marked,
            expected,
        );
    };
    check("https://a/path", "/path", "holds no path");
    check("https://user:pw@a", "user:pw@", "no user or password");
    check("https://a?q", "?q", "no query");
    check("example.com", "example.com", "the scheme is missing");
    check("*://a", "*", "the port is missing");
    check("http://chatt.spin.internal", "\"http://chatt.spin.internal\"", "did you mean `chat`?");
}
