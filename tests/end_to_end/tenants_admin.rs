//! From two commands to a multi-tenant server: `waggle up`, `waggle tenant`, and what the door does meanwhile.

use crate::support::{Server, Setup, waggle};
use crate::tenants_support::{
    Admin, Answer, Caller, files_below, files_with, in_force, key_in, run, state_of, tenant, try_tenant,
};
use serde_json::{Value, json};
use std::net::{IpAddr, UdpSocket};

/// A refusal for want of a credential, in the shape of the API.
#[track_caller]
fn check_unauthorized(answer: &Answer) {
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"waggle\"", "{answer:?}");
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error", "{answer:?}");
    assert_eq!(answer.code(), "invalid_api_key", "{answer:?}");
}

#[tokio::test]
async fn two_commands_make_a_server_of_tenants() {
    let mut server = Setup::application().start();
    let nobody = Caller::nobody(&server);
    // Open: whoever is on this machine is the tenant `default`, whatever they send.
    assert_eq!(nobody.turn("hi").await.status, 200);
    assert_eq!(Caller::with(&server, "sk-anything").turn("hi").await.status, 200);

    let printed = tenant(&server, &["add", "bank-a"]);
    let key = key_in(&printed);
    assert!(printed.contains(&format!("curl {}/v1/responses", server.url(""))), "{printed}");
    in_force("the first tenant", async || nobody.turn("hi").await.status == 401).await;
    check_unauthorized(&nobody.turn("hi").await);
    check_unauthorized(&Caller::with(&server, "sk-anything").turn("hi").await);
    let other = if key.ends_with('A') { 'B' } else { 'A' };
    check_unauthorized(&Caller::with(&server, &format!("{}{other}", &key[..58])).turn("hi").await);
    let bank = Caller::with(&server, &key);
    assert_eq!(bank.turn("hi").await.status, 200);
    let elsewhere = nobody.get("/hello").await;
    assert_eq!(elsewhere.header("content-type"), "application/problem+json", "{elsewhere:?}");
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (401, "invalid_api_key"));
    // Who asks whether the host is well needs no credential.
    assert_eq!(nobody.status("/.well-known/spin/health").await, 200);

    // Tenants and keys outlive the process; so does what the tenant owns.
    let conversation = bank.conversation().await;
    server.restart();
    let bank = Caller::with(&server, &key);
    assert_eq!(bank.status(&format!("/v1/conversations/{conversation}")).await, 200);
    check_unauthorized(&Caller::nobody(&server).turn("hi").await);

    // The last tenant's removal does not open the door, nor does a restart after it.
    tenant(&server, &["remove", "bank-a", "--yes"]);
    check_unauthorized(&bank.turn("hi").await);
    check_unauthorized(&Caller::nobody(&server).turn("hi").await);
    server.restart();
    check_unauthorized(&Caller::nobody(&server).turn("hi").await);
    // Without --erase its data stays and is that of a tenant of the same id.
    let bank = Caller::with(&server, &key_in(&tenant(&server, &["add", "bank-a"])));
    assert_eq!(bank.status(&format!("/v1/conversations/{conversation}")).await, 200);
}

#[tokio::test]
async fn a_tenant_is_listed_shown_suspended_and_resumed() {
    let server = Setup::application().start();
    assert!(tenant(&server, &["list"]).contains("waggle tenant add ID"));
    let key = key_in(&tenant(&server, &["add", "shop-b", "--name", "The shop"]));
    key_in(&tenant(&server, &["add", "bank-a"]));
    let shop = Caller::with(&server, &key);
    assert_eq!(shop.turn("hi").await.status, 200);

    let list = tenant(&server, &["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("bank-a ") && lines[1].starts_with("shop-b "), "{list}");
    assert!(lines[1].contains("active") && lines[1].contains("The shop"), "{list}");
    let shown = tenant(&server, &["show", "shop-b"]);
    for part in [
        "shop-b (of the store)",
        "\"The shop\"",
        &key[..15],
        "concurrent_requests",
        "storage_bytes",
        "last used 20",
    ] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    assert!(!shown.contains(&key[16..]) && !shown.contains("Unix"), "{shown}");

    tenant(&server, &["suspend", "shop-b"]);
    let refused = shop.turn("hi").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "tenant_suspended"), "{refused:?}");
    assert!(tenant(&server, &["list"]).contains("suspended"));
    tenant(&server, &["resume", "shop-b"]);
    assert_eq!(shop.turn("hi").await.status, 200);
}

#[tokio::test]
async fn keys_are_added_rotated_and_revoked() {
    let server = Setup::application().start();
    let first = key_in(&tenant(&server, &["add", "bank-a"]));
    let counts = async |key: &str| Caller::with(&server, key).status("/hello").await == 200;

    // The old key goes on for the time that was asked for, and no longer.
    let second =
        key_in(&tenant(&server, &["rotate-key", "bank-a", "--grace", "3s"]).replace(&first[..15], ""));
    assert_ne!(first, second);
    assert!(counts(&first).await && counts(&second).await, "within the grace both keys count");
    in_force("the end of the grace", async || !counts(&first).await).await;
    let late = Caller::with(&server, &first).turn("hi").await;
    assert!(late.text.contains("expired"), "{late:?}");
    assert!(counts(&second).await);

    // Without one it ends at once. The tenant has two keys by now, but only one that counts.
    let third = key_in(&tenant(&server, &["rotate-key", "bank-a"]));
    assert!(!counts(&second).await && counts(&third).await);

    let scoped =
        tenant(&server, &["add-key", "bank-a", "--scope", "chat", "--name", "ci", "--expires-in", "1s"]);
    let scoped = key_in(&scoped);
    in_force("the end of a key with a date", async || !counts(&scoped).await).await;

    tenant(&server, &["revoke-key", "bank-a", &third[..15]]);
    assert!(!counts(&third).await);
    let (done, _, error) = try_tenant(&state_of(&server.setup), &["rotate-key", "bank-a"]);
    assert!(!done && error.contains("waggle tenant add-key bank-a"), "{error}");
}

#[tokio::test]
async fn a_tenant_that_is_erased_leaves_nothing_behind() {
    let canary = "erase-me-4f1f9b6c";
    let mut server = Setup::application().start();
    let settings = server.setup.folder().join("settings.toml");
    std::fs::write(&settings, format!("log_file = true\n[variables]\ninstructions = \"{canary}\"\n"))
        .unwrap();
    let key = key_in(&tenant(&server, &["add", "bank-a", "--settings", settings.to_str().unwrap()]));
    let other = Caller::with(&server, &key_in(&tenant(&server, &["add", "shop-b"])));
    let (bank, kept) = (Caller::with(&server, &key), other.conversation().await);
    let mut ids = Vec::new();
    for number in 0..20 {
        let id = bank.conversation().await;
        let turn = json!({ "input": format!("{canary} {number}"), "conversation": id });
        assert_eq!(bank.post("/v1/responses", &turn).await.status, 200);
        ids.push(id);
    }
    let state = state_of(&server.setup);
    assert!(!files_with(&state, canary).is_empty(), "what was said is stored somewhere");

    let (done, _, error) = try_tenant(&state, &["remove", "bank-a", "--erase"]);
    assert!(!done && error.contains("--yes"), "without a terminal nobody can be asked: {error}");
    let admin = Admin::of(&server);
    let served = admin.call("DELETE", "/tenants/bank-a?erase=true", None).await;
    assert_eq!((served.status, served.code().as_str()), (409, "tenant_active"), "{served:?}");
    assert_eq!(bank.status("/hello").await, 200, "nothing was changed");
    let printed = tenant(&server, &["remove", "bank-a", "--erase", "--yes"]);
    for part in ["The tenant `bank-a` is removed", "store default:", "a second look found 0"] {
        assert!(printed.contains(part), "{part} is missing in {printed}");
    }
    assert!(!printed.contains(" 0 keys, 0 bytes erased"), "{printed}");
    let found = files_with(&state, canary);
    assert!(found.is_empty(), "{found:?} still hold what was erased");
    let record = files_with(&state, &key[3..15]);
    assert!(record.is_empty(), "{record:?} still hold the tenant's key");

    // Also for one who takes over the id, and after a restart.
    let again = Caller::with(&server, &key_in(&tenant(&server, &["add", "bank-a"])));
    for id in &ids {
        assert_eq!(again.status(&format!("/v1/conversations/{id}")).await, 404);
    }
    assert_eq!(other.status(&format!("/v1/conversations/{kept}")).await, 200);
    server.restart();
    let found = files_with(&state, canary);
    assert!(found.is_empty(), "{found:?} hold it again");
}

#[tokio::test]
async fn what_a_tenant_uses_is_told() {
    let server = Setup::application().start();
    let admin = Admin::of(&server);
    let limits = json!({ "tokens_per_minute": 1_000_000, "storage_bytes_max": 1_000_000 });
    let limited = Caller::with(&server, &admin.create("limited", json!({ "limits": limits })).await);
    let free = Caller::with(&server, &admin.create("free", json!({})).await);
    let usage = async |tenant: &str| admin.done("GET", &format!("/tenants/{tenant}/usage"), None).await;
    assert_eq!(usage("limited").await["storage_bytes"], 0);
    assert_eq!(usage("limited").await["tokens_last_minute"], 0);
    for caller in [&limited, &free] {
        assert_eq!(caller.turn("hello there").await.status, 200);
    }
    let (limited, free) = (usage("limited").await, usage("free").await);
    let bytes = |usage: &Value| usage["storage_bytes"].as_u64().unwrap();
    assert!(bytes(&limited) > 100 && bytes(&free) > 100, "{limited} {free}");
    assert!(limited["tokens_last_minute"].as_u64().unwrap() > 0, "{limited}");
    assert_eq!(free.get("tokens_last_minute"), None, "without a limit nobody counts them");
}

#[tokio::test]
async fn an_output_that_nobody_reads_ends_the_program_quietly() {
    let server = Setup::application().start();
    tenant(&server, &["add", "bank-a"]);
    let state = state_of(&server.setup);
    for args in [&["list"][..], &["show", "bank-a"], &["list", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = waggle();
        command.arg("tenant").args(args).arg("--state-dir").arg(&state).stdout(writer);
        let output =
            command.stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(141), "{args:?}");
    }
}

#[tokio::test]
async fn programs_get_the_answers_as_json() {
    let server = Setup::application().start();
    let json = |args: &[&str]| -> Value {
        let printed = tenant(&server, &[args, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{args:?}: {printed}"))
    };
    assert_eq!(json(&["list"]), json!({ "tenants": [] }));
    let added = json(&["add", "bank-a"]);
    assert_eq!(added["tenant"]["id"], "bank-a");
    let key = added["key"]["secret"].as_str().unwrap().to_owned();
    assert_eq!(Caller::with(&server, &key).status("/hello").await, 200);
    assert_eq!(json(&["list"])["tenants"][0]["state"], "active");
    assert_eq!(json(&["suspend", "bank-a"])["settings"]["state"], "suspended");
    assert_eq!(json(&["resume", "bank-a"])["settings"]["state"], "active");
    let shown = json(&["show", "bank-a"]);
    assert_eq!(shown["keys"][0]["id"], key[3..15]);
    assert!(shown["keys"][0]["last_used_at"].is_u64(), "{shown}");
    assert!(json(&["rotate-key", "bank-a"])["secret"].as_str().unwrap().starts_with("wk_"));
    assert!(json(&["add-key", "bank-a"])["secret"].as_str().unwrap().starts_with("wk_"));
    let erased = json(&["remove", "bank-a", "--erase", "--yes"]);
    assert_eq!(erased["erased"]["stores"][0]["remaining"], 0, "{erased}");
}

#[tokio::test]
async fn what_cannot_be_done_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (done, _, error) = try_tenant(folder.path(), &["list"]);
    assert!(!done && error.contains("waggle up") && error.contains("--state-dir"), "{error}");

    let mut server = Setup::application().start();
    let state = state_of(&server.setup);
    let refused = |args: &[&str], parts: &[&str]| {
        let (done, out, error) = try_tenant(&state, args);
        assert!(!done, "{args:?}: {out}");
        for part in parts {
            assert!(error.contains(part), "{args:?}: {part} is missing in {error}");
        }
    };
    key_in(&tenant(&server, &["add", "bank-a"]));
    refused(&["add", "bank-a"], &["bank-a"]);
    refused(&["add", "Bank A"], &["a-z"]);
    refused(&["show", "nobody"], &["no tenant `nobody`"]);
    refused(&["remove", "nobody", "--yes"], &["no tenant `nobody`"]);
    refused(&["remove", "nobody", "--erase", "--yes"], &["no tenant `nobody`"]);
    refused(&["revoke-key", "bank-a", "aaaaaaaaaaaa"], &["no such"]);
    let wrong = server.setup.folder().join("wrong.toml");
    std::fs::write(&wrong, "colour = 1\n[limits]\nrequests_per_second = 0\n[variables]\nnone = \"x\"\n")
        .unwrap();
    refused(&["set", "bank-a", wrong.to_str().unwrap()], &["colour"]);
    std::fs::write(&wrong, "functions = [\"chta\"]\n[variables]\nnone = \"x\"\n").unwrap();
    refused(
        &["set", "bank-a", wrong.to_str().unwrap()],
        &["chta", "it has chat, retrieval, tools, channels, hello", "none"],
    );
    let (done, _, error) =
        run(&["tenant", "list", "--admin-url", &Admin::of(&server).url, "--admin-key", "wadm_wrong"], &[]);
    assert!(!done && error.contains("admin key") && !error.contains("wadm_wrong"), "{error}");

    // A server that was killed leaves its announcement behind; nobody answers there.
    server.kill();
    refused(&["list"], &["waggle up", "nobody answers"]);
}

/// An address of this machine that is not a loopback one: the one by which it would call others. Nothing is sent.
fn other_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test]
async fn without_tenants_only_this_machine_is_served() {
    let server = Setup::application().args(&["--listen", "0.0.0.0:0"]).start();
    server.wait_for_output("other machines are refused");
    let port = server.address().rsplit(':').next().unwrap().to_owned();
    let ask = async |host: &str, field: Option<(&str, &str)>| {
        let mut request = crate::support::client()
            .post(format!("http://{host}:{port}/v1/responses"))
            .json(&json!({ "input": "hi" }));
        if let Some((name, value)) = field {
            request = request.header(name, value);
        }
        Answer::of(request).await
    };
    assert_eq!(ask("127.0.0.1", None).await.status, 200);
    for field in [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("x-forwarded-for", "")] {
        check_unauthorized(&ask("127.0.0.1", Some(field)).await);
    }
    match other_address() {
        Some(address) => {
            let refused = ask(&address.to_string(), None).await;
            check_unauthorized(&refused);
            assert!(refused.text.contains("configure a tenant"), "{refused:?}");
        }
        None => eprintln!("skipped: this machine has no address but loopback ones"),
    }
}

#[tokio::test]
async fn the_key_of_the_admin_api_is_its_owners_only_and_needed() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Setup::application().start();
    let (admin, state) = (Admin::of(&server), state_of(&server.setup));
    for file in files_below(&state) {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        let name = file.file_name().unwrap().to_str().unwrap();
        if ["admin-key", "sealing-key"].contains(&name) {
            assert_eq!(mode, 0o600, "{file:?}");
        }
    }
    for (key, expected) in [("", 401), ("wadm_wrong", 401), (&admin.key[1..], 401), (&admin.key, 200)] {
        assert_eq!(admin.with_key(key).call("GET", "/tenants", None).await.status, expected, "{key:?}");
    }
    // Neither listener serves the other's paths.
    assert_eq!(Caller::nobody(&server).status("/admin/v1/tenants").await, 404);
    let bank = admin.create("bank-a", json!({})).await;
    assert_eq!(admin.with_key(&bank).call("GET", "/tenants", None).await.status, 401);
    let document = admin.done("GET", "/openapi.json", None).await;
    assert!(document["paths"].as_object().unwrap().len() > 5, "{document}");
}

#[test]
fn an_admin_api_elsewhere_is_named_by_its_flag() {
    let server: Server = Setup::application().args(&["--admin-listen", "127.0.0.1:0"]).start();
    let admin = Admin::of(&server);
    server.wait_for_output(&format!("{}/admin/v1", admin.url));
    let environment = [("WAGGLE_ADMIN_URL", admin.url.as_str()), ("WAGGLE_ADMIN_KEY", admin.key.as_str())];
    let (done, out, error) = run(&["tenant", "add", "far-away"], &environment);
    assert!(done, "{error}");
    key_in(&out);
}
