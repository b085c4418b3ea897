//! What every call goes through, shown with tools that the host runs.

use crate::support::{HOST, Scripted, World, answers, component, function, world};
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;
use waggle_tool::wire::CallError;

/// A world with a tool whose functions differ in what they may do.
fn shop() -> World {
    let output =
        json!({"type": "object", "properties": {"state": {"enum": ["open", "shut"]}}, "required": ["state"]});
    let world = world(&json!([component(
        "shop",
        &[
            function("get", &json!({})),
            function("state", &json!({ "output": output })),
            function("note", &json!({"side_effects": true, "idempotent": true})),
            function("cancel", &json!({"side_effects": true})),
            function("refund", &json!({"side_effects": true, "needs_approval": true})),
        ]
    )]));
    gives(&world, "fine");
    world
}

fn gives(world: &World, output: &str) {
    let told = json!({"output": output, "error": null, "cpu_us": 1, "time_us": 2});
    world.net.script(&format!("{HOST}/v1/tools/shop/call"), [answers(200, &told)]);
}

fn fails(code: &str) -> Scripted {
    answers(
        200,
        &json!({"output": "", "error": {"code": code, "message": "because"}, "cpu_us": 1, "time_us": 2}),
    )
}

fn runs(world: &World) -> usize {
    world.net.to(&format!("{HOST}/v1/tools/shop/call")).len()
}

#[test]
fn a_call_is_run_by_the_host_and_what_it_gives_is_cleaned() {
    let world = shop();
    gives(&world, "open\u{202e}\u{0}");
    let reply = world.call("shop", "get", r#"{"id": "A7"}"#);
    assert_eq!((reply.output.as_str(), reply.error, reply.attempts), ("open", None, 1));
    let sent = &world.net.to(&format!("{HOST}/v1/tools/shop/call"))[0];
    let sent: Value = serde_json::from_slice(sent.body.as_ref().unwrap()).unwrap();
    let expected = json!({"function": "get", "arguments": {"id": "A7"}, "idempotency_key": "key-1", "digest": "sha256:1"});
    assert_eq!(sent, expected);
}

#[test]
fn what_is_not_there_or_not_as_it_was_is_not_called() {
    let world = shop();
    let check = |label: &str, function: &str, changes: &Value| {
        let reply = world.call_with(label, function, "{}", changes);
        assert_eq!(reply.error, Some(CallError::Unknown), "{label}.{function}: {}", reply.output);
    };
    check("crm", "get", &json!({}));
    check("shop", "drop\u{1b}", &json!({}));
    check("waggle", "rm", &json!({}));
    check("shop", "get", &json!({"digest": "sha256:2"}));
    check("waggle", "calculator", &json!({"digest": "waggle:0"}));
    assert_eq!(runs(&world), 0);
}

#[test]
fn a_change_of_the_registry_is_seen_at_the_next_call() {
    let world = shop();
    assert_eq!(world.call("shop", "get", "{}").error, None);
    world.register(&json!([]));
    assert_eq!(world.call("shop", "get", "{}").error, Some(CallError::Unknown));
    // What has not changed is not sent again.
    world.call("shop", "get", "{}");
    let asked = world.net.to(&format!("{HOST}/v1/tools"));
    let conditional =
        asked.iter().filter(|request| request.headers.iter().any(|(name, _)| name == "if-none-match"));
    assert_eq!(conditional.count(), 2);
}

#[test]
fn arguments_are_held_to_their_schema() {
    let world = shop();
    let check = |arguments: &str, told: &str| {
        let reply = world.call("shop", "get", arguments);
        assert_eq!(reply.error, Some(CallError::InvalidArguments));
        assert!(reply.output.contains(told), "{}", reply.output);
    };
    check(r#"{"id": 7}"#, "at '/id': expected a string, found 7");
    check("{", "no JSON");
    check("[]", "one JSON object");
    check(&format!("{}{}", r#"{"id":"#.repeat(40), "}".repeat(40)), "nested deeper than 32");
    check(&format!(r#"{{"id":"{}"}}"#, "x".repeat(70_000)), "longer than 65536 bytes");
    assert_eq!(runs(&world), 0);
}

#[test]
fn what_needs_approval_is_called_with_it_only() {
    let world = shop();
    assert_eq!(world.call("shop", "refund", "{}").error, Some(CallError::ApprovalRequired));
    assert_eq!(runs(&world), 0);
    let approved = world.call_with("shop", "refund", "{}", &json!({"approved": true}));
    assert_eq!((approved.error, runs(&world)), (None, 1));
}

#[test]
fn only_what_is_safe_to_repeat_is_repeated() {
    let check = |function: &str, failure: Scripted, attempts: u32, error: CallError| {
        let world = shop();
        world.net.script(&format!("{HOST}/v1/tools/shop/call"), [failure]);
        let reply = world.call("shop", function, "{}");
        assert_eq!((reply.attempts, reply.error), (attempts, Some(error)), "{function}: {}", reply.output);
        assert_eq!(runs(&world), attempts as usize);
    };
    let busy = || Scripted::Answer(429, vec![("retry-after", "1".to_owned())], Vec::new());
    let cut = || Scripted::Fails(TransportFailure::Cut("secret".to_owned()));
    check("get", busy(), 3, CallError::Unavailable);
    check("note", busy(), 3, CallError::Unavailable);
    check("cancel", busy(), 1, CallError::Unavailable);
    check("get", cut(), 3, CallError::Failed);
    check("cancel", cut(), 1, CallError::OutcomeUnknown);
    check("get", fails("unavailable"), 3, CallError::Unavailable);
    check("get", fails("trapped"), 1, CallError::Failed);
    check("get", Scripted::Fails(TransportFailure::Denied("no".to_owned())), 1, CallError::Denied);
    check("get", answers(404, &json!({})), 1, CallError::Unknown);
}

#[test]
fn a_second_attempt_may_succeed_under_the_same_key() {
    let world = shop();
    let told = json!({"output": "fine", "error": null});
    world.net.script(&format!("{HOST}/v1/tools/shop/call"), [fails("unavailable"), answers(200, &told)]);
    let reply = world.call("shop", "note", "{}");
    assert_eq!((reply.attempts, reply.error), (2, None));
    let keys: Vec<Value> = world
        .net
        .to(&format!("{HOST}/v1/tools/shop/call"))
        .iter()
        .map(|request| {
            serde_json::from_slice::<Value>(request.body.as_ref().unwrap()).unwrap()["idempotency_key"]
                .clone()
        })
        .collect();
    assert_eq!(keys, ["key-1", "key-1"]);
}

#[test]
fn waits_fit_into_the_time_of_the_call() {
    let world = shop();
    let later = Scripted::Answer(429, vec![("retry-after", "60".to_owned())], Vec::new());
    world.net.script(&format!("{HOST}/v1/tools/shop/call"), [later]);
    let reply = world.call("shop", "get", "{}");
    assert_eq!((reply.attempts, reply.error), (1, Some(CallError::Unavailable)));
}

#[test]
fn a_tool_that_never_answers_is_given_up() {
    let world = shop();
    world.net.script(&format!("{HOST}/v1/tools/shop/call"), [Scripted::Silence]);
    let reply = world.call("shop", "cancel", "{}");
    assert_eq!((reply.attempts, reply.error), (1, Some(CallError::TimedOut)));
    assert!(reply.output.contains("may have happened"), "{}", reply.output);
    assert!((10_000..12_000).contains(&reply.duration_ms), "{}", reply.duration_ms);
    let read = world.call("shop", "get", "{}");
    assert!(!read.output.contains("may have happened"), "{}", read.output);
}

#[test]
fn a_call_that_was_interrupted_is_made_again_only_if_that_is_safe() {
    let world = shop();
    let repeated = json!({"repeated": true});
    let check = |function: &str, expected: Option<CallError>| {
        assert_eq!(world.call_with("shop", function, "{}", &repeated).error, expected, "{function}");
    };
    check("cancel", Some(CallError::OutcomeUnknown));
    assert_eq!(runs(&world), 0);
    check("get", None);
    check("note", None);
    assert_eq!(runs(&world), 2);
}

#[test]
fn outputs_are_held_to_their_bound_and_schema() {
    let world = shop();
    let check = |function: &str, output: &str, expected: Option<CallError>, told: &str| {
        gives(&world, output);
        let reply = world.call("shop", function, "{}");
        assert_eq!(reply.error, expected, "{}", reply.output);
        assert!(reply.output.contains(told), "{}", reply.output);
    };
    check("get", &"x".repeat(10_001), Some(CallError::InvalidOutput), "longer than 10000 bytes");
    check("state", "open", Some(CallError::InvalidOutput), "no JSON");
    check("state", r#"{"state":"lost"}"#, Some(CallError::InvalidOutput), "at '/state'");
    check("state", r#"{"state":"open"}"#, None, r#"{"state":"open"}"#);
    check("get", "any text", None, "any text");
}

#[test]
fn links_stay_where_the_tenant_wants_them() {
    let world = shop();
    gives(&world, "https://shop.example/a https://evil.example/b");
    assert_eq!(world.call("shop", "get", "{}").output, "https://shop.example/a https://evil.example/b");
    world.set("tool_links", "approved");
    world.set("tool_link_hosts", "docs.example, shop.example");
    assert_eq!(world.call("shop", "get", "{}").output, "https://shop.example/a [link removed]");
    world.set("tool_links", "some");
    let asked = json!({"label": "shop", "function": "get", "digest": "sha256:1", "arguments": "{}", "idempotency_key": "k"});
    world.json("POST", "/v1/tools/call", &asked, 500);
}

#[test]
fn what_the_operator_reads_is_not_what_the_model_reads() {
    let world = shop();
    world.net.script(&format!("{HOST}/v1/tools/shop/call"), [answers(500, &json!("inner secret"))]);
    let reply = world.call("shop", "get", "{}");
    assert!(!reply.output.contains("secret"), "{}", reply.output);
    assert!(world.platform.lines.borrow().iter().any(|line| line.contains("inner secret")));
}

#[test]
fn a_host_that_does_not_answer_is_told_from_one_without_a_registry() {
    let world = World::default();
    let tools = json!([{"name": "shop", "description": "", "version": "1", "digest": "sha256:1", "kind": "http",
        "base_url": "https://shop.example", "time_ms_max": 1000, "output_bytes_max": 1000,
        "functions": [function("get", &json!({"request": {"method": "GET", "path": "/x"}}))]}]);
    world.set("tools_registry", &tools.to_string());
    world.net.script("https://shop.example", [answers(200, &json!(1))]);
    assert_eq!(world.call("shop", "get", "{}").output, "1");
    // Nobody is told the tool's name who is not the host.
    assert!(world.net.to("https://shop.example")[0].headers.iter().all(|(name, _)| name != "waggle-tool"));
    // For a while it is not asked again.
    world.call("shop", "get", "{}");
    assert_eq!(world.net.to(HOST).len(), 1);
    world.pass_s(11);
    world.call("shop", "get", "{}");
    assert_eq!(world.net.to(HOST).len(), 2);
    world.set("tools_registry", "{");
    world.json("GET", "/v1/tools", &Value::Null, 500);
    let component = json!([component("c", &[function("f", &json!({}))])]);
    world.set("tools_registry", &component.to_string());
    world.json("GET", "/v1/tools", &Value::Null, 500);
}

#[test]
fn what_is_asked_is_read_before_anything_is_done() {
    let world = shop();
    for asked in [json!({}), json!([]), json!({"label": "shop"})] {
        world.json("POST", "/v1/tools/call", &asked, 400);
        world.json("POST", "/v1/tools/catalog", &asked, 400);
    }
    let mut call = json!({"label": "shop", "function": "get", "digest": "sha256:1", "arguments": "{}", "idempotency_key": ""});
    world.json("POST", "/v1/tools/call", &call, 400);
    call["idempotency_key"] = json!("a\nb");
    world.json("POST", "/v1/tools/call", &call, 400);
    let many = vec![json!({"label": "shop"}); 129];
    world.json("POST", "/v1/tools/catalog", &json!({ "select": many }), 400);
    assert_eq!(runs(&world), 0);
}

#[test]
fn the_list_tells_nothing_of_the_inside() {
    let world = shop();
    world.register(
        &json!([{"name": "shop", "description": "d", "version": "1", "digest": "sha256:1", "kind": "http",
        "base_url": "https://inner.example", "time_ms_max": 1000, "output_bytes_max": 1000,
        "functions": [function("get", &json!({"request": {"method": "GET", "path": "/inner"}}))]}]),
    );
    let list = world.json("GET", "/v1/tools", &Value::Null, 200);
    assert_eq!((&list["data"][0]["id"], &list["data"][1]["id"]), (&json!("waggle"), &json!("shop")));
    assert_eq!(list["data"][1]["functions"][0]["name"], "get");
    assert!(!list.to_string().contains("inner"), "{list}");
}

#[test]
fn a_catalogue_is_what_there_is_of_what_was_selected() {
    let world = shop();
    let select = json!({"select": [{"label": "shop", "functions": ["refund"]}, {"label": "waggle"}, {"label": "crm"}]});
    let catalog = world.json("POST", "/v1/tools/catalog", &select, 200);
    let names: Vec<&str> =
        catalog["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let expected = [
        "shop__refund",
        "search_knowledge",
        "current_time",
        "calculator",
        "search_conversation",
        "hand_over",
    ];
    assert_eq!(names, expected);
    assert_eq!(catalog["missing"], json!(["There is no tool 'crm'."]));
    assert_eq!(catalog["tools"][0]["needs_approval"], true);
}
