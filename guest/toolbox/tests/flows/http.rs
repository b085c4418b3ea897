//! HTTP tools: what is sent, and what becomes of answers.

use crate::support::{Scripted, World, answers, function, tool, world};
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;
use waggle_tool::wire::CallError;

const ORDERS: &str = "https://orders.example/api/orders";

fn orders() -> World {
    let kind = json!({"kind": "http", "base_url": "https://orders.example/api", "outbound": ["https://orders.example"]});
    let get = json!({"request": {"method": "GET", "path": "/orders/{id}"}});
    let cancel = json!({"side_effects": true, "idempotent": true, "request": {"method": "POST",
        "path": "/orders/{id}/cancel", "idempotency_header": "Idempotency-Key"},
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}, "reason": {"type": "string"}}, "required": ["id"]}});
    let charge = json!({"side_effects": true, "request": {"method": "POST", "path": "/charges"}});
    let world = world(&json!([tool(
        "orders",
        &kind,
        &[
            function("get", &get),
            function("cancel", &cancel),
            function("charge", &charge),
            function("broken", &json!({})),
        ]
    )]));
    world.net.script(ORDERS, [answers(200, &json!({"state": "open"}))]);
    world
}

#[test]
fn a_request_goes_out_under_the_tools_name() {
    let world = orders();
    assert_eq!(world.call("orders", "get", r#"{"id": "A/7"}"#).output, r#"{"state":"open"}"#);
    let sent = &world.net.to(ORDERS)[0];
    assert_eq!((sent.method, sent.url.as_str()), ("GET", "https://orders.example/api/orders/A%2F7"));
    assert!(sent.headers.contains(&("waggle-tool".to_owned(), "orders".to_owned())), "{:?}", sent.headers);
    assert_eq!(sent.body, None);
}

#[test]
fn all_attempts_carry_the_same_key() {
    let world = orders();
    let busy = Scripted::Answer(503, vec![("retry-after", "1".to_owned())], Vec::new());
    world.net.script(ORDERS, [busy, answers(200, &json!({"state": "cancelled"}))]);
    let reply = world.call("orders", "cancel", r#"{"id": "7", "reason": "late"}"#);
    assert_eq!((reply.attempts, reply.error), (2, None));
    for sent in world.net.to(ORDERS) {
        assert!(
            sent.headers.contains(&("idempotency-key".to_owned(), "key-1".to_owned())),
            "{:?}",
            sent.headers
        );
        assert_eq!(sent.body.as_deref(), Some(&br#"{"reason":"late"}"#[..]));
    }
}

#[test]
fn failures_are_told_as_what_they_are() {
    let check = |function: &str, answer: Scripted, error: CallError, attempts: u32, told: &str| {
        let world = orders();
        for url in [ORDERS, "https://orders.example/api/charges"] {
            world.net.script(url, [answer.clone()]);
        }
        let reply = world.call("orders", function, r#"{"id": "7"}"#);
        assert_eq!((reply.error, reply.attempts), (Some(error), attempts), "{function}: {}", reply.output);
        assert!(reply.output.contains(told), "{}", reply.output);
    };
    let text = |status, text: &str| Scripted::Answer(status, Vec::new(), text.as_bytes().to_vec());
    check("get", text(404, "no such order"), CallError::Failed, 1, "answered 404: no such order");
    check("get", text(500, ""), CallError::Failed, 3, "answered 500");
    check("charge", text(500, ""), CallError::Failed, 1, "may have happened");
    check("charge", text(402, "no money"), CallError::Failed, 1, "no money");
    let away = Scripted::Answer(302, vec![("location", "http://127.0.0.1/".to_owned())], Vec::new());
    check("get", away, CallError::Failed, 1, "redirects are not followed");
    let image = Scripted::Answer(200, vec![("content-type", "image/png".to_owned())], vec![1]);
    check("get", image, CallError::InvalidOutput, 1, "no text");
    check("get", text(200, &"x".repeat(100_000)), CallError::InvalidOutput, 1, "longer than 10000 bytes");
    let unreachable = Scripted::Fails(TransportFailure::Unreachable("10.0.0.7 secret".to_owned()));
    check("charge", unreachable, CallError::Unavailable, 1, "cannot be reached");
    let denied = Scripted::Fails(TransportFailure::Denied("secret".to_owned()));
    check("get", denied, CallError::Denied, 1, "not granted");
    check("broken", text(200, ""), CallError::Failed, 1, "not set up");
}

#[test]
fn no_argument_leads_to_another_path_or_adds_what_the_schema_does_not_name() {
    let world = orders();
    for arguments in [
        r#"{"id": ".."}"#,
        r#"{"id": "a/../../admin"}"#,
        r#"{"id": ""}"#,
        "{}",
        r#"{"id": "7", "admin": true}"#,
    ] {
        let reply = world.call("orders", "cancel", arguments);
        assert_eq!(reply.error, Some(CallError::InvalidArguments), "{arguments}: {}", reply.output);
    }
    assert!(world.net.to("https://orders.example").is_empty());
}

#[test]
fn links_to_what_a_tool_was_granted_stay() {
    let world = orders();
    world.set("tool_links", "approved");
    let told = json!({"page": "https://orders.example/7", "ad": "https://evil.example/?q=1"});
    world.net.script(ORDERS, [answers(200, &told)]);
    let output: Value = serde_json::from_str(&world.call("orders", "get", r#"{"id": "7"}"#).output).unwrap();
    assert_eq!(output, json!({"page": "https://orders.example/7", "ad": "[link removed]"}));
    let failed = b"See https://evil.example/?q=1".to_vec();
    world.net.script(ORDERS, [Scripted::Answer(404, Vec::new(), failed)]);
    let reply = world.call("orders", "get", r#"{"id": "7"}"#);
    assert!(
        reply.output.ends_with("See [link removed]"),
        "a failure is told in the server's words: {}",
        reply.output
    );
}
