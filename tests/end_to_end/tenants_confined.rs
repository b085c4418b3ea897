//! What each tenant may reach, and what is its own: functions, models, hosts outside, keys at upstreams, variables, log
//! files, instances.

use crate::neighbours::tenants::{key_of, with_tenants};
use crate::support::{Function, Server, Setup, wait_until};
use crate::tenants_support::{Admin, Answer, Caller, Model, Origin, in_force, run, state_of};
use serde_json::{Value, json};

fn caller(server: &Server, tenant: &str) -> Caller {
    Caller::with(server, &key_of(tenant))
}

/// An answer without what is another one each time.
fn comparable(answer: &Answer) -> (u16, String) {
    let id = answer.header("x-request-id");
    (answer.status, answer.text.replace(id, "ID"))
}

#[tokio::test]
async fn a_function_that_a_tenant_may_not_use_is_none() {
    let setup = Setup::functions(&[
        Function::hello(),
        Function::guest("counter"),
        Function::guest("outbound")
            .with("allowed_outbound_hosts = [\"http://*.spin.internal\", \"http://self\"]"),
    ]);
    let tenants =
        [("all", ""), ("some", "functions = [\"counter\", \"outbound\"]"), ("none", "functions = []")];
    let server = with_tenants(setup, tenants).start();
    let check = async |tenant: &str, path: &str, expected: u16| {
        let caller = caller(&server, tenant);
        let answer = caller.get(path).await;
        assert_eq!(answer.status, expected, "{tenant} at {path}: {answer:?}");
        if expected == 404 {
            let mut unknown = caller.get("/no-such").await;
            unknown.text = unknown.text.replace("/no-such", path);
            assert_eq!(comparable(&answer), comparable(&unknown), "{tenant} at {path}");
        }
    };
    for (tenant, hello, counter) in [("all", 200, 200), ("some", 404, 200), ("none", 404, 404)] {
        check(tenant, "/hello/", hello).await;
        check(tenant, "/counter/", counter).await;
    }
    // Nor by way of a function that the tenant may use.
    let internal = async |tenant: &str, host: &str| {
        let url = format!("http://{host}/hello/");
        Answer::of(caller(&server, tenant).request("GET", "/outbound/").header("x-url", url)).await.text
    };
    assert_eq!(internal("all", "hello.spin.internal").await, "status 200\nhello\n");
    for host in ["hello.spin.internal", "self"] {
        let told = internal("some", host).await;
        assert!(told.starts_with("status 404"), "{host}: {told}");
    }
}

#[tokio::test]
async fn only_models_of_the_tenants_list_can_be_named() {
    let model = Model::start().await;
    let lines = "models = [\"allowed*\", \"sim\"]\nvariables.model = \"allowed-1\"";
    let server = with_tenants(model.serve(Setup::application()), [("some", lines), ("all", "")]).start();
    let (some, all) = (caller(&server, "some"), caller(&server, "all"));
    for (path, input) in [
        ("/v1/responses", json!({ "input": "hi" })),
        ("/v1/chat/completions", json!({ "messages": [{ "role": "user", "content": "hi" }] })),
    ] {
        let ask = async |caller: &Caller, model: &str| {
            let mut body = input.clone();
            body["model"] = json!(model);
            caller.post(path, &body).await
        };
        assert_eq!(ask(&some, "allowed-2").await.status, 200);
        assert_eq!(model.last()["model"], "allowed-2");
        let refused = ask(&some, "other").await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (404, "model_not_found"),
            "{path}: {refused:?}"
        );
        assert_eq!(ask(&all, "other").await.status, 200);
        assert_eq!(some.post(path, &input).await.status, 200);
        assert_eq!(model.last()["model"], "allowed-1", "{path}: the tenant's default");
    }
    assert_eq!((some.status("/v1/models/sim").await, some.status("/v1/models/other").await), (200, 404));
}

#[tokio::test]
async fn a_tenants_list_of_hosts_takes_away_and_its_keys_go_where_they_belong() {
    let (first, second) = (Origin::start(), Origin::start());
    let (one, two) = (first.url.clone(), second.url.clone());
    first.answer(200, "fine");
    second.answer(200, "fine");
    let outbound =
        Function::guest("outbound").with(&format!("allowed_outbound_hosts = [\"{one}\", \"{two}\"]"));
    let secret = |tenant: &str, value: &str| {
        format!(
            "[tenant.{tenant}.secrets.model]\norigin = \"{one}\"\npath_prefix = \"/v1/chat\"\n\
             header = \"x-api-key\"\nprefix = \"Key \"\nsecret = {{ value = \"{value}\" }}"
        )
    };
    let tenants = [
        ("narrow", format!("allowed_outbound_hosts = [\"{one}\", \"https://elsewhere.example\"]")),
        ("nothing", "allowed_outbound_hosts = []".to_owned()),
        ("bank-a", secret("bank-a", "canary-of-bank")),
        ("shop-b", secret("shop-b", "canary-of-shop")),
    ];
    let server = with_tenants(
        Setup::functions(&[outbound]),
        tenants.iter().map(|(tenant, lines)| (*tenant, lines.as_str())),
    )
    .start();
    let fetch = async |tenant: &str, url: &str| {
        let request = caller(&server, tenant).request("GET", "/outbound/").header("x-url", url);
        Answer::of(request).await.text
    };
    let denied = "error ErrorCode::HttpRequestDenied";
    for (tenant, to_one, to_two) in
        [("bank-a", true, true), ("narrow", true, false), ("nothing", false, false)]
    {
        for (url, allowed) in [(&one, to_one), (&two, to_two)] {
            let told = fetch(tenant, &format!("{url}/v1/models")).await;
            assert_eq!(told.starts_with("status 200"), allowed, "{tenant} to {url}: {told}");
            assert_eq!(told.starts_with(denied), !allowed, "{tenant} to {url}: {told}");
        }
        // What the function may not reach, the tenant's list does not add.
        let told = fetch(tenant, "https://elsewhere.example/").await;
        assert!(told.starts_with(denied), "{tenant}: {told}");
    }

    let key_sent = async |tenant: &str, to: &Origin, path: &str| {
        let told = fetch(tenant, &format!("{}{path}", to.url)).await;
        assert_eq!(told, "status 200\nfine", "{tenant}");
        let head = to.heads().pop().unwrap();
        assert!(head.contains(path), "{head}");
        head.lines().find_map(|line| line.strip_prefix("x-api-key: ")).map(str::to_owned)
    };
    let path = "/v1/chat/completions";
    assert_eq!(key_sent("bank-a", &first, path).await.as_deref(), Some("Key canary-of-bank"));
    assert_eq!(key_sent("shop-b", &first, path).await.as_deref(), Some("Key canary-of-shop"));
    assert_eq!(key_sent("narrow", &first, path).await, None);
    // Not to another place of the same host, nor to another host.
    assert_eq!(key_sent("bank-a", &first, "/v1/responses").await, None);
    assert_eq!(key_sent("bank-a", &second, path).await, None);
    assert!(!server.output().contains("canary"), "{}", server.output());
}

#[tokio::test]
async fn each_tenants_key_goes_to_the_model_else_the_operators() {
    let model = Model::start().await;
    let origin = model.0.url();
    let setup = model.serve(Setup::application()).env("OPENAI_API_KEY", "sk-operator");
    let secret = format!(
        "[tenant.bank-a.secrets.model]\norigin = \"{origin}\"\nsecret = {{ environment = \"BANK\" }}"
    );
    let tenants = [("bank-a", secret.as_str()), ("plain", "")];
    let server = with_tenants(setup.env("BANK", "sk-bank"), tenants).start();
    let admin = Admin::of(&server);
    let key =
        |value: &str| json!({ "secrets": { "model": { "origin": origin, "secret": { "value": value } } } });
    let stored = Caller::with(&server, &admin.create("stored", key("sk-stored-1")).await);
    let sent = async |caller: &Caller| {
        let answer = caller.turn("hi").await;
        assert!(answer.status == 200 && !answer.text.contains("sk-"), "{answer:?}");
        model.last_header("authorization")
    };
    for _ in 0..2 {
        assert_eq!(sent(&caller(&server, "bank-a")).await.as_deref(), Some("Bearer sk-bank"));
        assert_eq!(sent(&stored).await.as_deref(), Some("Bearer sk-stored-1"));
        assert_eq!(sent(&caller(&server, "plain")).await.as_deref(), Some("Bearer sk-operator"));
    }
    // A change of anything else keeps the value that nobody is shown; a new value counts at once.
    admin.change("stored", json!({ "name": "Renamed" })).await;
    assert_eq!(sent(&stored).await.as_deref(), Some("Bearer sk-stored-1"));
    admin.change("stored", key("sk-stored-2")).await;
    assert_eq!(sent(&stored).await.as_deref(), Some("Bearer sk-stored-2"));
    // The command line reads what stands in its own variables and files, and sends the value.
    let (folder, state) = (server.setup.folder(), state_of(&server.setup));
    let settings = folder.join("settings.toml");
    let of_command =
        format!("[secrets.model]\norigin = \"{origin}\"\nsecret = {{ environment = \"MINE\" }}\n");
    std::fs::write(&settings, of_command).unwrap();
    let args =
        ["tenant", "set", "stored", settings.to_str().unwrap(), "--state-dir", state.to_str().unwrap()];
    let (done, out, error) = run(&args, &[("MINE", "sk-of-command")]);
    assert!(done && !out.contains("sk-of-command"), "{out}{error}");
    assert_eq!(sent(&stored).await.as_deref(), Some("Bearer sk-of-command"));
    admin.change("stored", key("sk-stored-2")).await;
    // The one that is not shown cannot be sent elsewhere by whoever only has the admin API.
    let mut settings = admin.done("GET", "/tenants/stored", None).await["settings"].take();
    settings["secrets"]["model"]["origin"] = json!("https://evil.example");
    let moved = admin.call("PUT", "/tenants/stored", Some(&settings)).await;
    assert!(moved.status == 422 || moved.status == 400, "{moved:?}");
    assert_eq!(sent(&stored).await.as_deref(), Some("Bearer sk-stored-2"));
    // Files and variables of the host are tenants.toml's to name.
    for source in [json!({ "environment": "OPENAI_API_KEY" }), json!({ "file": "/etc/passwd" })] {
        let secrets = json!({ "secrets": { "model": { "origin": origin, "secret": source } } });
        let body = json!({ "id": "thief", "settings": secrets });
        let refused = admin.call("POST", "/tenants", Some(&body)).await;
        assert!((400..500).contains(&refused.status), "{refused:?}");
    }
}

#[tokio::test]
async fn variables_are_the_tenants_own() {
    let head = "spin_manifest_version = 2\n[application]\nname = \"tested\"\n\
                [variables]\ncolour = { default = \"grey\" }\npassword = { default = \"none\", secret = true }\n";
    let source = crate::support::guests().join("variables_probe.wasm");
    let component = format!(
        "[[trigger.http]]\nroute = \"/variables/...\"\ncomponent = \"probe\"\n[component.probe]\nsource = \"{}\"\n\
         [component.probe.variables]\ncolour = \"{{{{ colour }}}}\"\nboth = \"{{{{ colour }}}}-{{{{ password }}}}\"\n",
        source.to_str().unwrap()
    );
    let tenants = [("plain", ""), ("red", "variables = { colour = \"red\", password = \"hunter2\" }")];
    let server = with_tenants(Setup::manifest(&format!("{head}{component}")), tenants).start();
    let read = async |caller: &Caller, name: &str| caller.get(&format!("/variables/spin3?{name}")).await.text;
    for (tenant, colour, both) in [("plain", "grey", "grey-none"), ("red", "red", "red-hunter2")] {
        for _ in 0..2 {
            assert_eq!(read(&caller(&server, tenant), "colour").await, colour, "{tenant}");
            assert_eq!(read(&caller(&server, tenant), "both").await, both, "{tenant}");
        }
    }
    // By the admin API, a change is in force for the next request, and what is secret is not shown.
    let admin = Admin::of(&server);
    let stored = Caller::with(&server, &admin.create("stored", json!({})).await);
    assert_eq!(read(&stored, "both").await, "grey-none");
    admin.change("stored", json!({ "variables": { "colour": "blue", "password": "hunter3" } })).await;
    in_force("variables by the admin API", async || read(&stored, "both").await == "blue-hunter3").await;
    let shown = admin.done("GET", "/tenants/stored", None).await;
    assert_eq!(shown["settings"]["variables"], json!({ "colour": "blue", "password": null }), "{shown}");
    let of_file = admin.done("GET", "/tenants/red", None).await;
    assert!(!of_file.to_string().contains("hunter2"), "{of_file}");
    // What was not shown stays when the settings are sent back as they were shown.
    admin.change("stored", json!({ "name": "Renamed" })).await;
    assert_eq!(read(&stored, "both").await, "blue-hunter3");
}

#[tokio::test]
async fn a_tenants_log_file_has_its_lines_and_no_others() {
    let tenants = [("logged", "log_file = true"), ("also", "log_file = true"), ("silent", "")];
    let server =
        with_tenants(Setup::functions(&[Function::guest("panic"), Function::hello()]), tenants).start();
    for tenant in ["logged", "also", "silent", "logged"] {
        assert_eq!(caller(&server, tenant).status("/panic/?now").await, 500);
    }
    let logs = state_of(&server.setup).join("logs");
    let lines = |tenant: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(logs.join(format!("{tenant}.jsonl"))).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let panics = |tenant: &str| {
        let is_one =
            |line: &&Value| line["line"].as_str().is_some_and(|line| line.contains("secret of this"));
        lines(tenant).iter().filter(is_one).count()
    };
    wait_until("the lines in the files", || panics("logged") == 2 && panics("also") == 1);
    for tenant in ["logged", "also"] {
        for line in lines(tenant) {
            assert_eq!((&line["tenant"], &line["function"]), (&json!(tenant), &json!("panic")), "{line}");
            assert!(line["request"].as_str().unwrap().starts_with("req_"), "{line}");
            assert!(line["instance"].is_u64() && line["time"].is_string(), "{line}");
        }
    }
    assert!(!logs.join("silent.jsonl").exists());
}

#[tokio::test]
async fn requests_of_one_tenant_are_apart_where_it_wants_that() {
    let tenants = [("shared", ""), ("apart", "isolation = \"request\"")];
    let server = with_tenants(Setup::functions(&[Function::guest("counter")]), tenants).start();
    let count = async |tenant: &str| caller(&server, tenant).get("/counter/").await.text;
    for served in ["1", "2", "3"] {
        assert_eq!(count("apart").await, "1");
        assert_eq!(count("shared").await, served);
    }
    let config = "[engine]\nisolation = \"request\"\n";
    let tenants = [("plain", ""), ("shared", "isolation = \"tenant\"")];
    let setup = Setup::functions(&[Function::guest("counter")]).runtime_config(config);
    let server = with_tenants(setup, tenants).start();
    let count = async |tenant: &str| caller(&server, tenant).get("/counter/").await.text;
    for served in ["1", "2"] {
        assert_eq!(count("plain").await, "1", "the host's word, where the tenant has none");
        assert_eq!(count("shared").await, served);
    }
    // Instances that are done are gone.
    let admin = Admin::of(&server);
    in_force("the end of an instance of one request", async || {
        admin.done("GET", "/tenants/plain/usage", None).await["instances"] == 0
    })
    .await;
}
