//! Documents as people have them, and as nobody should.

use super::*;
use crate::Place;
use proptest::prelude::*;
use serde_json::json;

fn shop() -> Value {
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Shop", "version": "1.2.0" },
        "servers": [{ "url": "https://{region}.shop.test/api/", "variables": { "region": { "default": "eu" } } }],
        "security": [{ "key": [] }],
        "paths": {
            "/orders/{order id}": {
                "parameters": [{ "$ref": "#/components/parameters/Order" }],
                "get": {
                    "operationId": "orders.get", "summary": "An order", "description": "Everything of it.",
                    "parameters": [
                        { "name": "expand", "in": "query", "schema": { "type": "array", "items": { "type": "string" } } },
                        { "name": "X-Trace", "in": "header", "schema": { "type": "string", "nullable": true } },
                        { "name": "session", "in": "cookie", "schema": { "type": "string" } },
                        { "name": "filter", "in": "query", "style": "deepObject", "schema": { "type": "object" } },
                        { "name": "Authorization", "in": "header", "required": true, "schema": { "type": "string" } }
                    ]
                },
                "patch": {
                    "x-idempotency-header": "Idempotency-Key",
                    "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Change" } } } }
                }
            },
            "/orders": {
                "post": {
                    "operationId": "create",
                    "requestBody": { "content": { "application/json; charset=utf-8": { "schema": { "allOf": [{ "$ref": "#/components/schemas/Change" }] } } } }
                }
            }
        },
        "components": {
            "parameters": { "Order": { "name": "order id", "in": "path", "required": true, "description": "Its number.", "schema": { "type": "integer", "minimum": 0, "exclusiveMinimum": true } } },
            "schemas": {
                "Change": { "type": "object", "required": ["note", "id"], "example": {}, "properties": {
                    "id": { "type": "string", "readOnly": true },
                    "note": { "type": "string", "x-internal": 1 },
                    "tree": { "$ref": "#/components/schemas/Tree" }
                } },
                "Tree": { "type": "object", "properties": { "below": { "type": "array", "items": { "$ref": "#/components/schemas/Tree" } } } }
            },
            "securitySchemes": { "key": { "type": "apiKey", "in": "header", "name": "X-Api-Key" } }
        }
    })
}

fn wanted(operations: &[&str]) -> Wanted {
    Wanted { operations: operations.iter().map(|one| (*one).to_owned()).collect(), base_url: None }
}

#[test]
fn an_operation_becomes_a_function_whose_arguments_are_placed() {
    let imported = openapi(&shop(), &wanted(&["orders.get"])).unwrap();
    assert_eq!(imported.base_url, "https://eu.shop.test/api");
    assert_eq!((imported.title.as_str(), imported.version.as_str()), ("Shop", "1.2.0"));
    let function = &imported.functions[0];
    assert_eq!(function.name, "orders_get");
    assert_eq!(function.description, "An order\nEverything of it.");
    assert!(!function.side_effects && !function.needs_approval);
    let request = function.request.as_ref().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/orders/{order_id}"));
    let placed: Vec<_> =
        request.arguments.iter().map(|one| (one.argument.as_str(), one.name.as_str(), one.r#in)).collect();
    assert_eq!(placed, [("expand", "expand", Place::Query), ("X-Trace", "X-Trace", Place::Header)]);
    assert_eq!(
        function.parameters,
        json!({ "type": "object", "required": ["order_id"], "additionalProperties": false, "properties": {
            "order_id": { "type": "integer", "exclusiveMinimum": 0, "description": "Its number." },
            "expand": { "type": "array", "items": { "type": "string" } },
            "X-Trace": { "type": ["string", "null"] }
        } })
    );
    let notes = imported.notes.join("\n");
    for part in [
        "`session` goes into a cookie",
        "`filter` has the style `deepObject`",
        "`X-Api-Key`",
        "https://eu.shop.test",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

#[test]
fn a_body_is_its_members_where_it_is_a_plain_object_and_else_one_argument() {
    let imported = openapi(&shop(), &wanted(&["PATCH /orders/{order id}", "create"])).unwrap();
    let [patch, create] = imported.functions.as_slice() else { panic!() };
    assert_eq!(patch.name, "PATCH_orders_order_id");
    assert!(patch.side_effects && patch.needs_approval && patch.idempotent);
    let request = patch.request.as_ref().unwrap();
    assert_eq!(
        (request.body.as_deref(), request.idempotency_header.as_deref()),
        (None, Some("Idempotency-Key"))
    );
    assert_eq!(patch.parameters["required"], json!(["order_id", "note"]));
    assert_eq!(patch.parameters["properties"]["note"], json!({ "type": "string" }));
    assert!(patch.parameters["properties"].get("id").is_none(), "what only answers hold is not asked for");
    // A schema that holds itself may be anything where it comes again.
    assert_eq!(
        patch.parameters["properties"]["tree"]["properties"]["below"],
        json!({ "type": "array", "items": {} })
    );
    assert_eq!(create.request.as_ref().unwrap().body.as_deref(), Some("body"));
    assert_eq!(create.parameters.get("required"), None);
    assert!(!create.idempotent);
}

#[test]
fn what_is_imported_is_a_tool() {
    let tool = openapi(&shop(), &Wanted::default()).unwrap().into_tool("shop".to_owned());
    tool.check().unwrap();
    let functions = tool.functions.clone();
    let version = tool.into_version(functions).unwrap();
    assert_eq!(version.functions.len(), 3);
    assert_eq!(version.grants.outbound, ["https://eu.shop.test"], "its own place is proposed");
}

#[test]
fn what_cannot_be_imported_says_why() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Value), asked: &[&str], parts: &[&str]) {
        let mut document = shop();
        change(&mut document);
        let error = openapi(&document, &wanted(asked)).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    check(
        |_| {},
        &["orders.list"],
        &["no operation `orders.list`", "`orders.get`", "`PATCH /orders/{order id}`"],
    );
    check(|all| all["openapi"] = json!("4.0.0"), &[], &["openapi: 4.0.0"]);
    check(|all| *all = json!({ "swagger": "2.0" }), &[], &["Swagger 2.0"]);
    check(|all| all["paths"] = json!({}), &[], &["no operations"]);
    check(|all| drop(all.as_object_mut().unwrap().remove("servers")), &[], &["--base-url"]);
    check(|all| all["servers"][0]["url"] = json!("/api"), &[], &["`/api` is no whole address"]);
    check(
        |all| all["paths"]["/orders"]["post"]["servers"] = json!([{ "url": "https://b.test" }]),
        &[],
        &["import them as two"],
    );
    check(
        |all| drop(all["components"].as_object_mut().unwrap().remove("parameters")),
        &["orders.get"],
        &["#/components/parameters/Order"],
    );
    check(
        |all| all["components"]["schemas"]["Tree"] = json!({ "$ref": "other.json#/Tree" }),
        &["create"],
        &["other.json#/Tree"],
    );
    check(
        |all| all["components"]["parameters"]["Order"] = json!({ "$ref": "#/components/parameters/Order" }),
        &["orders.get"],
        &["leads nowhere"],
    );
    check(
        |all| {
            all["paths"]["/orders"]["post"]["requestBody"] =
                json!({ "required": true, "content": { "text/xml": {} } })
        },
        &["create"],
        &["create", "application/json"],
    );
    check(
        |all| all["paths"]["/orders/{order id}"]["parameters"] = json!([]),
        &["orders.get"],
        &["`order id`, which no parameter describes"],
    );
    check(
        |all| all["paths"]["/orders/{order id}"]["get"]["parameters"][2]["required"] = json!(true),
        &["orders.get"],
        &["`session` goes into a cookie", "it is required"],
    );
}

#[test]
fn a_document_that_unfolds_without_end_is_refused() {
    let mut document = shop();
    for level in 0..20 {
        let next = json!({ "$ref": format!("#/components/schemas/L{}", level + 1) });
        document["components"]["schemas"][format!("L{level}")] =
            json!({ "type": "object", "properties": { "a": next, "b": next, "c": next, "d": next } });
    }
    document["components"]["schemas"]["L20"] = json!({ "type": "string" });
    document["components"]["schemas"]["Change"] = json!({ "$ref": "#/components/schemas/L0" });
    assert!(matches!(openapi(&document, &wanted(&["create"])), Err(ImportError::Unfolds(_))));
}

#[test]
fn too_many_operations_are_to_be_chosen_from() {
    let mut document = shop();
    for number in 0..70 {
        document["paths"][format!("/p{number}")] = json!({ "get": {} });
    }
    let error = openapi(&document, &Wanted::default()).unwrap_err();
    assert!(matches!(error, ImportError::TooMany { count: 73, .. }), "{error}");
    assert!(openapi(&document, &wanted(&["get /p7"])).is_ok());
}

#[test]
fn names_of_functions_are_short_plain_and_unique() {
    let mut document = shop();
    let long = "x".repeat(60);
    document["paths"] = json!({ "/a": { "get": { "operationId": long }, "post": { "operationId": format!("{long}y") }, "delete": { "operationId": "…" } } });
    let imported = openapi(&document, &Wanted::default()).unwrap();
    let names: Vec<&str> = imported.functions.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["x".repeat(48).as_str(), format!("{}_2", "x".repeat(45)).as_str(), "call"]);
}

#[test]
fn yaml_is_read_as_json_is() {
    let yaml = "openapi: 3.1.0\ninfo: {title: T, version: '1'}\nservers: [{url: https://a.test}]\npaths:\n  /x:\n    get:\n      operationId: x\n      responses:\n        200: {description: Fine}\n";
    let document = read(yaml.as_bytes()).unwrap();
    assert_eq!(openapi(&document, &Wanted::default()).unwrap().functions[0].name, "x");
    assert_eq!(read(b"\xef\xbb\xbf{}").unwrap(), json!({}));
    for (text, part) in [("{\"a\": }", "line 1"), ("a: [1", ""), ("\u{1}", "")] {
        let error = read(text.as_bytes()).unwrap_err();
        assert!(matches!(&error, ImportError::Syntax(_)), "{text:?}: {error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(matches!(read(b"\xff"), Err(ImportError::Syntax(_))));
}

#[test]
fn aliases_of_yaml_do_not_grow_without_end() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    assert!(read(bomb.as_bytes()).is_err());
}

#[test]
fn a_request_in_a_line_is_a_tool() {
    let arguments = |all: &[&str]| -> Vec<Argument> { all.iter().map(|one| one.parse().unwrap()).collect() };
    let imported = declared(
        "get https://shop.test:8443/api/orders/{id}?status={state}",
        "get order",
        "An order.",
        &arguments(&["id:integer", "state?"]),
    )
    .unwrap();
    assert_eq!(imported.base_url, "https://shop.test:8443");
    let function = &imported.functions[0];
    assert_eq!((function.name.as_str(), function.side_effects), ("get_order", false));
    assert_eq!(
        function.parameters,
        json!({ "type": "object", "required": ["id"], "additionalProperties": false,
                "properties": { "id": { "type": "integer" }, "state": { "type": "string" } } })
    );
    assert_eq!(function.request.as_ref().unwrap().path, "/api/orders/{id}");
    assert_eq!(function.request.as_ref().unwrap().arguments[0].name, "status");

    let post = declared("POST https://shop.test/orders", "create", "", &arguments(&["lines:array"])).unwrap();
    let function = post.functions[0].clone();
    assert!(function.side_effects && function.needs_approval);
    assert_eq!(function.parameters["required"], json!(["lines"]));
    let tool = post.into_tool("shop".to_owned());
    tool.into_version(vec![function]).unwrap();
}

#[test]
fn a_line_that_is_no_request_says_what_is_missing() {
    let check = |line: &str, arguments: &[Argument]| {
        assert!(matches!(declared(line, "x", "", arguments), Err(ImportError::Line { .. })), "{line}");
    };
    check("https://a.test/x", &[]);
    check("GET /x", &[]);
    check("GET https://a.test/x?y=1", &[]);
    check("GET https://a.test/x", &["y".parse().unwrap()]);
    for wrong in ["", "?", "a b", "a:text", "a:", &"x".repeat(65)] {
        assert!(wrong.parse::<Argument>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn whatever_is_imported_is_valid_or_refused(path in "/[a-z{}/ %é]{0,20}", name in "[a-z{} é]{0,8}", id in "\\PC{0,60}", place in "(query|path|header)") {
        let mut document = shop();
        document["paths"] = json!({ &path: { "get": { "operationId": id, "parameters": [{ "name": name, "in": place, "schema": { "type": "string" } }] } } });
        if let Ok(imported) = openapi(&document, &Wanted::default()) {
            for function in &imported.functions {
                prop_assert!(!function.name.is_empty() && function.name.len() <= 48);
                let request = function.request.as_ref().unwrap();
                for placed in &request.arguments {
                    prop_assert!(function.parameters["properties"].get(&placed.argument).is_some());
                }
            }
        }
    }

    #[test]
    fn no_line_panics(line in "\\PC{0,60}") {
        let _ = declared(&line, "x", "", &[]);
        let _ = declared(&format!("GET https://{line}"), "x", "", &[]);
    }
}
