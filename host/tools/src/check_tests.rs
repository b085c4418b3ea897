//! What a version has to be.

use super::*;
use crate::{Grants, Limits};
use serde_json::json;
use std::collections::BTreeMap;

fn version(function: serde_json::Value) -> Version {
    let mut whole = json!({
        "name": "get", "description": "", "parameters": { "type": "object", "properties": { "id": {}, "body": {} } },
        "side_effects": false, "needs_approval": false, "request": { "method": "GET", "path": "/orders/{id}" }
    });
    for (name, value) in function.as_object().unwrap() {
        whole[name] = value.clone();
    }
    Version {
        description: String::new(),
        version: String::new(),
        digest: Digest::of(b"").to_string(),
        kind: Kind::Http { base_url: "https://shop.test/api".to_owned() },
        functions: vec![serde_json::from_value(whole).unwrap()],
        overrides: BTreeMap::new(),
        only: None,
        grants: Grants { outbound: vec!["https://shop.test".to_owned()], ..Grants::default() },
        limits: Limits::default(),
    }
}

fn places(version: &Version) -> Vec<String> {
    let mut found = Mistakes::default();
    version.check(&mut found);
    found.into_vec().iter().map(|mistake| mistake.path.join(".")).collect()
}

#[test]
fn a_function_is_checked_all_through() {
    let check = |function: serde_json::Value, expected: &[&str]| {
        let expected: Vec<String> = expected.iter().map(|place| format!("functions.0.{place}")).collect();
        assert_eq!(places(&version(function.clone())), expected, "{function}");
    };
    let request = |path: &str| json!({ "request": { "method": "GET", "path": path } });
    check(json!({}), &[]);
    check(json!({ "name": "a b" }), &["name"]);
    check(json!({ "name": "x".repeat(49) }), &["name"]);
    check(json!({ "description": "x".repeat(4_097) }), &["description"]);
    check(json!({ "description": "Look.\u{e0041}" }), &["description"]);
    check(json!({ "description": "turned \u{202e}" }), &["description"]);
    check(json!({ "description": "Zwei Zeilen,\neine Familie \u{1f468}\u{200d}\u{1f469}" }), &[]);
    check(json!({ "output": [] }), &["output"]);
    check(json!({ "output": { "description": "x".repeat(33 << 10) } }), &["output"]);
    check(json!({ "remote_name": "x" }), &["remote_name"]);
    check(json!({ "request": null }), &["request"]);
    check(json!({ "request": { "method": "TRACE", "path": "/" } }), &["request.method"]);
    for path in ["orders", "/orders?x", "/a b", "/{id", "/id}", "/{}", "/../x", "/{other}", "/#"] {
        check(request(path), &["request.path"]);
    }
    check(request("/{id}/{body}/x-y.z"), &[]);
    let arguments = |argument: &str, name: &str, place: &str| json!({ "request": { "method": "GET", "path": "/", "arguments": [{ "argument": argument, "name": name, "in": place }] } });
    check(arguments("id", "X-Id", "header"), &[]);
    check(arguments("id", "id[]", "query"), &[]);
    check(arguments("other", "id", "query"), &["request.arguments.0.argument"]);
    for header in ["Authorization", "cookie", "waggle-tool", "a b", "", "Host", "content-length"] {
        check(arguments("id", header, "header"), &["request.arguments.0.name"]);
    }
    check(json!({ "request": { "method": "POST", "path": "/", "body": "nope" } }), &["request.body"]);
    check(
        json!({ "request": { "method": "POST", "path": "/", "body": "body", "idempotency_header": "Idempotency-Key" } }),
        &[],
    );
    check(
        json!({ "request": { "method": "POST", "path": "/", "idempotency_header": "cookie" } }),
        &["request.idempotency_header"],
    );
    check(
        json!({ "request": { "method": "GET", "path": "/", "headers": [["accept", "a/b"], ["x", "\n"]] } }),
        &["request.headers.1"],
    );
}

#[test]
fn schemas_are_objects_that_do_not_nest_without_end() {
    let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({ "items": inner }));
    let mut deep = version(json!({}));
    deep.functions[0].output = Some(nested(62));
    assert_eq!(places(&deep), [""; 0]);
    deep.functions[0].output = Some(nested(64));
    assert_eq!(places(&deep), ["functions.0.output"]);
    deep.functions[0].output = None;
    deep.functions[0].parameters = json!({ "properties": { "id": {} } });
    assert_eq!(places(&deep), ["functions.0.parameters"]);
}

#[test]
fn a_version_is_checked_all_through() {
    let check = |change: &dyn Fn(&mut Version), expected: &[&str]| {
        let mut changed = version(json!({}));
        change(&mut changed);
        assert_eq!(places(&changed), expected);
    };
    check(&|one| one.digest.clear(), &["digest"]);
    check(&|one| one.functions.clear(), &["functions"]);
    check(&|one| one.functions.push(one.functions[0].clone()), &["functions.1.name"]);
    check(&|one| one.grants.outbound.clear(), &["grants.outbound"]);
    for url in ["shop.test", "https://shop.test/?a", "https://shop.test/a b", "https://u:p@shop.test"] {
        check(&|one| one.kind = Kind::Http { base_url: url.to_owned() }, &["base_url"]);
    }
    check(&|one| one.kind = Kind::Http { base_url: "https://shop.test/".to_owned() }, &["base_url"]);
    check(&|one| one.kind = Kind::Component, &["functions.0.request"]);
    check(&|one| one.limits.time_ms_max = 0, &["limits.time_ms_max"]);
    let many = version(json!({})).functions[0].clone();
    check(
        &|one| {
            one.functions =
                (0..65).map(|number| Function { name: number.to_string(), ..many.clone() }).collect()
        },
        &["functions"],
    );
}

#[test]
fn a_tools_name_is_short_and_plain() {
    let check = |name: &str, fits: bool| assert_eq!(check_name(name).is_ok(), fits, "{name}");
    check("a", true);
    check("shop-2_eu", true);
    check(&"a".repeat(32), true);
    for wrong in ["", "A", "1a", "-a", "a.b", "a b", "waggle", &"a".repeat(33)] {
        check(wrong, false);
    }
}
