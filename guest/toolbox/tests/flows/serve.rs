//! What MCP's clients are served. How the protocol is spoken is shown in `guest/mcp`.

use crate::support::{HOST, World, answers, component, function, world};
use serde_json::{Value, json};
use waggle_platform::Request;

const FILE: &str = "file-000000000000000000000001";

fn shop() -> World {
    let output = json!({"type": "object", "properties": {"state": {"type": "string"}}});
    let world = world(&json!([component(
        "shop",
        &[
            function("get", &json!({ "output": output })),
            function("pay", &json!({"side_effects": true, "needs_approval": true})),
        ]
    )]));
    let told = json!({"output": r#"{"state":"open"}"#, "error": null});
    world.net.script(&format!("{HOST}/v1/tools/shop/call"), [answers(200, &told)]);
    world
}

/// Asks as a client of 2025-11-25 does once it has shaken hands.
fn ask(world: &World, method: &str, params: &Value) -> Value {
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string();
    let request = Request { method: "POST", path_with_query: "/mcp", ..Request::default() };
    let reply = world.send(request, &headers, body.as_bytes());
    serde_json::from_slice(&reply.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8(reply.body).unwrap()))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn tools_are_listed_and_called() {
    let world = shop();
    let listed = ask(&world, "tools/list", &json!({}));
    assert_eq!(
        names(&listed["result"]["tools"]),
        ["calculator", "current_time", "search_knowledge", "shop__get"]
    );
    let called = ask(&world, "tools/call", &json!({"name": "shop__get", "arguments": {"id": "7"}}));
    assert_eq!(called["result"]["structuredContent"], json!({"state": "open"}), "{called}");
    let sum = ask(&world, "tools/call", &json!({"name": "calculator", "arguments": {"expression": "6*7"}}));
    assert_eq!(sum["result"]["content"][0]["text"], "42");
    let wrong = ask(&world, "tools/call", &json!({"name": "shop__get", "arguments": {"id": 7}}));
    assert_eq!(wrong["result"]["isError"], true);
    let log = world.audit();
    assert_eq!((log.len(), &log[0]["via"]), (3, &json!("mcp")));
}

#[test]
fn what_nobody_could_approve_is_not_there() {
    let world = shop();
    for name in ["shop__pay", "hand_over", "search_conversation", "shop__drop", "x"] {
        let refused = ask(&world, "tools/call", &json!({"name": name, "arguments": {}}));
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    assert!(world.net.to(&format!("{HOST}/v1/tools/shop/call")).is_empty());
}

#[test]
fn users_are_served_what_the_tenant_has_named_for_them() {
    let world = shop().called_by("ada");
    let listed = ask(&world, "tools/list", &json!({}));
    assert_eq!(names(&listed["result"]["tools"]), ["calculator", "current_time", "search_knowledge"]);
    world.set("mcp_user_tools", "shop.get");
    let listed = ask(&world, "tools/list", &json!({}));
    assert_eq!(names(&listed["result"]["tools"]), ["shop__get"]);
}

#[test]
fn progress_is_a_stream_that_ends_with_the_answer() {
    let world = shop();
    let params = json!({"name": "shop__get", "arguments": {}, "_meta": {"progressToken": "p"}});
    let Value::String(events) = ask(&world, "tools/call", &params) else { panic!("no stream") };
    assert!(events.contains("notifications/progress") && events.contains("\\\"open\\\""), "{events}");
}

#[test]
fn files_are_resources() {
    let world = shop();
    let file = json!({"id": FILE, "object": "file", "filename": "returns.md", "bytes": 5});
    let list = json!({"object": "list", "data": [file], "last_id": FILE, "has_more": false});
    let retrieval = "http://retrieval.spin.internal/v1/files";
    world.net.script(&format!("{retrieval}?limit"), [answers(200, &list)]);
    world.net.script(&format!("{retrieval}/{FILE}"), [answers(200, &file), answers(200, &json!("text"))]);
    let listed = ask(&world, "resources/list", &json!({}));
    let uri = format!("waggle://files/{FILE}");
    assert_eq!(listed["result"]["resources"][0]["uri"], json!(uri));
    assert_eq!(listed["result"]["resources"][0]["mimeType"], "text/markdown");
    let read = ask(&world, "resources/read", &json!({ "uri": uri }));
    assert_eq!(read["result"]["contents"][0]["text"], "\"text\"");
    for unknown in ["waggle://files/../x", "file:///etc/passwd", "waggle://files/file-1"] {
        assert!(ask(&world, "resources/read", &json!({ "uri": unknown }))["error"].is_object(), "{unknown}");
    }
}

#[test]
fn prompts_are_those_of_the_variable() {
    let world = shop();
    world.set("mcp_prompts", r#"[{"name":"greet","arguments":[{"name":"who","required":true}],"messages":[{"text":"Greet {{who}}."}]}]"#);
    let prompt = ask(&world, "prompts/get", &json!({"name": "greet", "arguments": {"who": "Ada"}}));
    assert_eq!(prompt["result"]["messages"][0]["content"]["text"], "Greet Ada.");
    world.set("mcp_prompts", "{");
    let refused = ask(&world, "prompts/list", &json!({}));
    assert_eq!(refused["error"]["code"], "internal_error");
}

#[test]
fn pages_of_other_origins_are_refused_where_the_function_is_told_so() {
    let world = shop();
    let from = |origin: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("origin", origin),
        ];
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
        let request = Request { method: "POST", path_with_query: "/mcp", ..Request::default() };
        world.send(request, &headers, body.as_bytes()).status
    };
    assert_ne!(from("https://any.example"), 403);
    world.set("mcp_origins", "https://app.example");
    assert_ne!(from("https://app.example"), 403);
    assert_eq!(from("https://any.example"), 403);
}
