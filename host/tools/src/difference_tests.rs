//! What a version changes, said in sentences.

use super::*;
use crate::Limits;
use serde_json::json;

fn version(change: impl FnOnce(&mut Version)) -> Version {
    let function: Function = serde_json::from_value(json!({
        "name": "get", "description": "An order.", "parameters": { "type": "object" }, "side_effects": false,
        "needs_approval": false,
        "request": { "method": "GET", "path": "/orders/{id}" }
    }))
    .unwrap();
    let mut version = Version {
        description: "Orders.".to_owned(),
        version: "1".to_owned(),
        digest: "sha256:0".to_owned(),
        kind: Kind::Http { base_url: "https://shop.test".to_owned() },
        functions: vec![function],
        overrides: BTreeMap::new(),
        only: None,
        grants: Grants { outbound: vec!["https://shop.test".to_owned()], ..Grants::default() },
        limits: Limits::default(),
    };
    change(&mut version);
    version
}

#[test]
fn each_change_is_told_and_nothing_else() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Version), expected: &[&str]) {
        assert_eq!(differences(Some(&version(|_| {})), &version(change)), expected);
    }
    check(|_| {}, &[]);
    check(|one| one.grants.secrets.push("shop".to_owned()), &["grants: + secrets shop"]);
    check(|one| one.grants.outbound.clear(), &["grants: - outbound https://shop.test"]);
    check(|one| one.grants.key_value.push("default".to_owned()), &["grants: + key_value default"]);
    check(
        |one| (one.limits.cpu_ms_max, one.limits.time_ms_max) = (500, 20_000),
        &["limits: time_ms_max raised to 20000, from 10000", "limits: cpu_ms_max lowered to 500, from 1000"],
    );
    check(|one| one.functions[0].description.push('!'), &["function get: description changed"]);
    check(|one| one.functions[0].parameters = json!({}), &["function get: parameters changed"]);
    check(|one| one.functions[0].output = Some(json!({})), &["function get: output changed"]);
    check(
        |one| one.functions[0].side_effects = true,
        &["function get: has side effects; was: without side effects"],
    );
    check(
        |one| one.functions[0].needs_approval = true,
        &["function get: without side effects, needs approval; was: without side effects"],
    );
    check(
        |one| one.functions[0].name = "delete".to_owned(),
        &["function delete: new, without side effects", "function get: gone"],
    );
    check(
        |one| one.functions[0].request.as_mut().unwrap().method = "DELETE".to_owned(),
        &["function get: request DELETE /orders/{id}, was GET /orders/{id}"],
    );
    check(
        |one| one.functions[0].request.as_mut().unwrap().body = Some("id".to_owned()),
        &["function get: where its arguments go changed"],
    );
    check(
        |one| one.kind = Kind::Mcp { url: "https://mcp.test".to_owned() },
        &["kind: mcp at https://mcp.test, was http at https://shop.test"],
    );
    check(|one| one.version = "2".to_owned(), &["version: `2`, was `1`"]);
    check(|one| one.description.clear(), &["description: changed"]);
}

#[test]
fn of_the_first_version_everything_is_told() {
    let told = differences(None, &version(|one| one.functions[0].side_effects = true));
    assert_eq!(
        told,
        [
            "kind: http at https://shop.test",
            "grants: + outbound https://shop.test",
            "function get: new, has side effects"
        ]
    );
}

#[test]
fn what_others_wrote_cannot_steer_a_terminal_or_fill_it() {
    let told =
        differences(None, &version(|one| one.grants.secrets.push("\u{1b}[2J".to_owned() + &"x".repeat(500))));
    let line = told.iter().find(|line| line.starts_with("grants: + secrets")).unwrap();
    assert!(!line.contains('\u{1b}') && line.chars().count() < 250, "{line}");
}
