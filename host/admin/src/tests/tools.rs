//! What an administrator does with tools. Every answer is held against the document, as in the tests beside this one.

use super::*;
use waggle_tools::Digest;

fn declared(name: &str, accept: bool) -> Value {
    json!({
        "name": name, "kind": "http", "description": "Orders.", "version": "1", "accept": accept,
        "base_url": "https://shop.test/api", "url": null,
        "functions": [{
            "name": "get_order", "description": "An order.", "side_effects": false, "needs_approval": false, "output": null,
            "parameters": { "type": "object", "properties": { "id": { "type": "string" } } },
            "request": { "method": "GET", "path": "/orders/{id}", "headers": [["accept", "application/json"]],
                         "arguments": [] }
        }],
        "grants": { "outbound": ["https://files.shop.test"] },
        "limits": { "time_ms_max": 5000 }
    })
}

async fn with_tenant() -> Served {
    let served = served().await;
    let secret = json!({ "origin": "https://shop.test", "secret": { "value": "canary" } });
    served.post("/tenants", json!({ "id": "acme", "settings": { "secrets": { "shop": secret } } })).await;
    served
}

async fn upload(served: &Served, tenant: &str, bytes: &'static [u8]) -> Answered {
    let request = served.request(Method::POST, &format!("/tenants/{tenant}/components"));
    let request = request.header(header::CONTENT_TYPE, "application/wasm").body(Full::from(bytes)).unwrap();
    served.send(request).await
}

#[tokio::test]
async fn a_tool_is_in_force_when_the_version_that_was_read_is_accepted() {
    let served = with_tenant().await;
    let added = served.post("/tenants/acme/tools", declared("shop", false)).await;
    assert_eq!(added.status, 201, "{}", added.text);
    assert_eq!(added.header(header::LOCATION), "/admin/v1/tenants/acme/tools/shop");
    assert_eq!(added.json["accepted"], Value::Null);
    let differences = added.json["pending"]["differences"].to_string();
    assert!(differences.contains("grants: + outbound https://shop.test"), "{differences}");
    assert!(served.tools.of("acme").tools.is_empty(), "nobody has accepted it");

    let digest = added.json["pending"]["digest"].clone();
    let wrong = json!({ "digest": Digest::of(b"").to_string() });
    let refused = served.post("/tenants/acme/tools/shop/accept", wrong).await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("other_pending")));
    let stale = json!({ "digest": digest, "revision": added.json["revision"].as_u64().unwrap() - 1 });
    assert_eq!(served.post("/tenants/acme/tools/shop/accept", stale).await.json["code"], "other_pending");
    let right = json!({ "digest": digest, "revision": added.json["revision"] });
    let accepted = served.post("/tenants/acme/tools/shop/accept", right.clone()).await;
    assert_eq!((accepted.status, &accepted.json["pending"]), (200, &Value::Null), "{}", accepted.text);
    assert_eq!(
        served.tools.of("acme").tools["shop"].grants.outbound,
        ["https://files.shop.test", "https://shop.test"]
    );
    assert_eq!(served.post("/tenants/acme/tools/shop/accept", right).await.json["code"], "nothing_pending");

    let list = served.get("/tenants/acme/tools").await;
    assert_eq!(
        (&list.json["tools"][0]["state"], &list.json["tools"][0]["functions"]),
        (&json!("active"), &json!(1))
    );
    assert_eq!(served.ask(Method::DELETE, "/tenants/acme/tools/shop", None).await.status, 204);
    assert_eq!(served.get("/tenants/acme/tools/shop").await.json["code"], "unknown_tool");
}

#[tokio::test]
async fn a_component_is_uploaded_and_then_a_tool() {
    let served = with_tenant().await;
    let uploaded = upload(&served, "acme", b"\0asm one").await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text);
    assert_eq!(uploaded.json["functions"][0]["name"], "run");
    let tool = json!({ "name": "counter", "kind": "component", "digest": uploaded.json["digest"], "accept": true,
        "overrides": { "run": { "needs_approval": true, "description": null } } });
    let added = served.post("/tenants/acme/tools", tool).await;
    assert_eq!(added.status, 201, "{}", added.text);
    let snapshot = served.tools.of("acme");
    assert!(snapshot.tools["counter"].functions[0].needs_approval);
    let bytes = served.tools.component("acme", &snapshot.tools["counter"].digest).await.unwrap();
    assert_eq!(&bytes[..], b"\0asm one");

    let refused = upload(&served, "acme", b"no component").await;
    assert_eq!((refused.status, &refused.json["code"]), (422, &json!("tool_refused")));
    assert_eq!(refused.json["detail"], "It is no component.");
    let json = served.post("/tenants/acme/components", json!({})).await;
    assert_eq!((json.status, &json.json["code"]), (415, &json!("not_wasm")));
}

#[tokio::test]
async fn a_tool_is_disabled_and_enabled_and_its_new_version_rejected() {
    let served = with_tenant().await;
    served.post("/tenants/acme/tools", declared("shop", true)).await;
    for (path, state, tools) in
        [("disable", "disabled", 0), ("disable", "disabled", 0), ("enable", "active", 1)]
    {
        let answered = served.ask(Method::POST, &format!("/tenants/acme/tools/shop/{path}"), None).await;
        assert_eq!(answered.status, 200, "{}", answered.text);
        assert_eq!(served.get("/tenants/acme/tools").await.json["tools"][0]["state"], state);
        assert_eq!(served.tools.of("acme").tools.len(), tools);
    }
    let mut next = declared("shop", false);
    next["functions"][0]["side_effects"] = json!(true);
    let added = served.post("/tenants/acme/tools", next).await;
    assert_eq!(added.status, 200, "{}", added.text);
    assert_ne!(added.json["pending"]["digest"], added.json["accepted"]["digest"]);
    let read = json!({ "digest": added.json["pending"]["digest"] });
    let rejected = served.post("/tenants/acme/tools/shop/reject", read).await;
    assert_eq!((rejected.status, &rejected.json["pending"]), (200, &Value::Null));
    // One of which no version was accepted goes with it.
    let added = served.post("/tenants/acme/tools", declared("other", false)).await;
    let read = json!({ "digest": added.json["pending"]["digest"] });
    assert_eq!(served.post("/tenants/acme/tools/other/reject", read).await.status, 204);
    assert_eq!(served.get("/tenants/acme/tools").await.json["tools"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_mcp_server_is_asked_what_it_can_do() {
    let served = with_tenant().await;
    let tool = |url: &str| json!({ "name": "docs", "kind": "mcp", "url": url, "accept": true });
    let away = served.post("/tenants/acme/tools", tool("https://away.test/mcp")).await;
    assert_eq!((away.status, &away.json["code"]), (503, &json!("tool_unavailable")));
    let added = served.post("/tenants/acme/tools", tool("https://mcp.test/mcp")).await;
    assert_eq!(added.status, 201, "{}", added.text);
    // It lists another function by now.
    let refreshed = served.ask(Method::POST, "/tenants/acme/tools/docs/refresh", None).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
    let differences = refreshed.json["pending"]["differences"].to_string();
    assert!(differences.contains("function list_2: new"), "{differences}");
    served.post("/tenants/acme/tools", declared("shop", true)).await;
    let refused = served.ask(Method::POST, "/tenants/acme/tools/shop/refresh", None).await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("nothing_to_list")));
}

#[tokio::test]
async fn mistakes_of_a_tool_are_told_in_their_places() {
    let served = with_tenant().await;
    #[track_caller]
    fn has(answered: &Answered, place: &str, part: &str) {
        assert_eq!(answered.status, 422, "{}", answered.text);
        let found = answered.mistakes();
        assert!(
            found.iter().any(|(at, detail)| *at == place && detail.contains(part)),
            "{place} {part}: {found:?}"
        );
    }
    let with = |pointer: &str, value: Value| {
        let mut tool = declared("shop", false);
        *tool.pointer_mut(pointer).unwrap() = value;
        tool
    };
    for (pointer, value, place, part) in [
        ("/name", json!("Shop"), "/name", "begins with a letter"),
        ("/name", json!("waggle"), "/name", "built-in"),
        ("/kind", json!("shell"), "/kind", "component"),
        ("/base_url", Value::Null, "/base_url", "missing"),
        ("/base_url", json!("ftp://a.test"), "/base_url", "scheme"),
        ("/grants/outbound", json!(["a.test"]), "/grants/outbound/0", "https://api.example.com"),
        ("/grants", json!({ "secrets": ["nope"] }), "/grants/secrets/0", "it has `shop`"),
        ("/grants", json!({ "key_value": ["nope"] }), "/grants/key_value/0", "`default`"),
        ("/limits/time_ms_max", json!(0), "/limits/time_ms_max", ""),
        ("/functions/0/parameters", json!({}), "/functions/0/parameters", "object"),
        ("/functions/0/request/path", json!("/orders/{number}"), "/functions/0/request/path", "`number`"),
        (
            "/functions/0/request/headers",
            json!([["authorization", "x"]]),
            "/functions/0/request/headers/0",
            "secret",
        ),
        ("/functions", json!([]), "/functions", "none"),
    ] {
        has(&served.post("/tenants/acme/tools", with(pointer, value)).await, place, part);
    }
    let unknown = json!({ "name": "a", "kind": "component", "digest": Digest::of(b"x").to_string() });
    assert_eq!(served.post("/tenants/acme/tools", unknown).await.json["code"], "no_component");
}

#[tokio::test]
async fn a_granted_secret_is_one_of_the_tenants_for_an_origin_that_is_granted() {
    let served = with_tenant().await;
    let mut tool = declared("shop", true);
    tool["grants"]["secrets"] = json!(["shop"]);
    let added = served.post("/tenants/acme/tools", tool.clone()).await;
    assert_eq!(added.status, 201, "{}", added.text);
    assert!(!added.text.contains("canary"));
    tool["base_url"] = json!("https://other.test");
    let refused = served.post("/tenants/acme/tools", tool).await;
    assert!(refused.mistakes()[0].1.contains("sent to https://shop.test only"), "{}", refused.text);
}

#[tokio::test]
async fn tools_belong_to_a_tenant_that_there_is() {
    let served = served().await;
    // As long as there are no tenants, everybody is `default`.
    assert_eq!(served.get("/tenants/default/tools").await.json, json!({ "tools": [] }));
    assert_eq!(served.post("/tenants/default/tools", declared("shop", true)).await.status, 201);
    assert_eq!(served.get("/tenants/nobody/tools").await.json["code"], "unknown_tenant");
    served.post("/tenants", json!({ "id": "acme" })).await;
    assert_eq!(served.get("/tenants/default/tools").await.json["code"], "unknown_tenant");
    assert_eq!(served.get("/tenants/acme/tools").await.json, json!({ "tools": [] }));
    served.configure_by_file("filed", json!({ "name": "Filed" }));
    assert_eq!(served.post("/tenants/filed/tools", declared("shop", true)).await.status, 201);
}
