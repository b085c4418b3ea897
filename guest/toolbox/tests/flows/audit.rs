//! The audit log: who asked, what ran, with which arguments, what came back.

use crate::support::{HOST, World, answers, component, function, world};
use serde_json::{Value, json};
use waggle_tool::wire::CallError;

fn shop() -> World {
    let world = world(&json!([component(
        "shop",
        &[
            function("get", &json!({})),
            function("pay", &json!({"side_effects": true, "needs_approval": true})),
        ]
    )]));
    let told = json!({"output": "token sk-abcdefghijklmnopqrst", "error": null});
    world.net.script(&format!("{HOST}/v1/tools/shop/call"), [answers(200, &told)]);
    world
}

#[test]
fn a_call_is_noted_with_secrets_masked() {
    let service = shop();
    let world = service.called_by("ada");
    let arguments = r#"{"id":"A7","password":"hunter2","card_number":"4111111111111111"}"#;
    let changes = json!({"approved": true, "conversation": "conv_1"});
    world.call_with("shop", "pay", arguments, &changes);
    world.call_with("shop", "pay", arguments, &json!({}));
    let log = service.audit();
    assert_eq!(log.len(), 2);
    let (refused, done) = (&log[0], &log[1]);
    assert_eq!((&refused["status"], &refused["error"]), (&json!("refused"), &json!("approval_required")));
    assert_eq!(
        (&done["status"], &done["user"], &done["via"]),
        (&json!("completed"), &json!("ada"), &json!("agent"))
    );
    assert_eq!(
        (&done["tool"], &done["function"], &done["approved"]),
        (&json!("shop"), &json!("pay"), &json!(true))
    );
    assert_eq!(
        (&done["conversation"], &done["response"], &done["side_effects"]),
        (&json!("conv_1"), &json!("resp_1"), &json!(true))
    );
    assert_eq!((&done["output"], &done["attempts"]), (&json!("token [masked]"), &json!(1)));
    let kept = serde_json::to_string(&log).unwrap();
    for secret in ["hunter2", "4111", "sk-abc"] {
        assert!(!kept.contains(secret), "{kept}");
    }
    assert!(kept.contains("A7"));
}

#[test]
fn nothing_is_changed_without_a_trace() {
    let world = shop();
    world.store.fail(Some("set_many"));
    let reply = world.call_with("shop", "pay", "{}", &json!({"approved": true}));
    assert_eq!(reply.error, Some(CallError::Unavailable));
    assert!(world.net.to(&format!("{HOST}/v1/tools/shop/call")).is_empty());
    // What changes nothing is not held up.
    assert_eq!(world.call("shop", "get", "{}").error, None);
    assert!(world.platform.lines.borrow().iter().any(|line| line.contains("audit log was not written")));
}

#[test]
fn a_call_that_never_came_back_has_left_its_beginning() {
    let world = shop();
    world.store.operations();
    world.call_with("shop", "pay", "{}", &json!({"approved": true}));
    assert_eq!(world.store.operations(), ["increment 1", "set_many 1", "set_many 1"]);
    world.call("shop", "get", "{}");
    assert_eq!(world.store.operations(), ["increment 1", "set_many 1"]);
}

#[test]
fn the_log_is_read_in_pages_and_by_services_only() {
    let world = shop();
    for _ in 0..5 {
        world.call("shop", "get", "{}");
    }
    let page = world.json("GET", "/v1/tools/audit?limit=2", &Value::Null, 200);
    let ids = |page: &Value| {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&page), ["audit_000000000005", "audit_000000000004"]);
    assert_eq!((&page["has_more"], &page["last_id"]), (&json!(true), &json!("audit_000000000004")));
    let next = world.json("GET", "/v1/tools/audit?limit=3&after=audit_000000000004", &Value::Null, 200);
    assert_eq!((ids(&next).len(), &next["has_more"]), (3, &json!(false)));
    let oldest = world.json("GET", "/v1/tools/audit?order=asc&limit=1", &Value::Null, 200);
    assert_eq!((ids(&oldest), &oldest["has_more"]), (vec!["audit_000000000001".to_owned()], &json!(true)));
    let refused = world.called_by("ada").json("GET", "/v1/tools/audit", &Value::Null, 403);
    assert_eq!(refused["error"]["code"], "not_a_service");
}

#[test]
fn one_users_calls_are_read_by_a_service_and_by_them_alone() {
    let world = shop();
    for user in ["ada", "bob", "ada", "bob", "ada"] {
        world.called_by(user).call("shop", "get", "{}");
    }
    world.call("shop", "get", "{}");
    let read = |world: &World, query: &str| {
        let list = world.json("GET", &format!("/v1/tools/audit?{query}"), &Value::Null, 200);
        let entries = list["data"].as_array().unwrap().iter();
        assert!(entries.clone().all(|entry| entry["user"] == "ada"), "{list}");
        let ids = entries.map(|entry| entry["id"].as_str().unwrap()[14..].to_owned()).collect::<Vec<_>>();
        (ids, list["has_more"].as_bool().unwrap())
    };
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<String>>();
    for asker in [world.called_by("ada"), world.clone()] {
        assert_eq!(read(&asker, "user=ada"), (ids(&["0005", "0003", "0001"]), false));
        assert_eq!(read(&asker, "user=ada&order=asc&limit=2"), (ids(&["0001", "0003"]), true));
        let next = "user=ada&order=asc&limit=2&after=audit_000000000003";
        assert_eq!(read(&asker, next), (ids(&["0005"]), false));
    }
    assert_eq!(read(&world, "user=eve"), (ids(&[]), false));
    world.called_by("bob").json("GET", "/v1/tools/audit?user=ada", &Value::Null, 403);
    world.json("GET", "/v1/tools/audit?user=a%20b", &Value::Null, 400);
}

#[test]
fn the_log_keeps_so_many_calls_and_for_so_long() {
    let world = shop();
    world.set("tool_audit_entries_max", "20");
    for _ in 0..64 {
        world.call("shop", "get", "{}");
    }
    assert_eq!(world.audit().len(), 20);
    let kept = || world.store.dump().keys().filter(|key| key.starts_with("tool_audit/entry/")).count();
    assert_eq!(kept(), 20);
    world.pass_s(91 * 86_400);
    assert!(world.audit().is_empty());
    // They go when others come.
    for _ in 0..16 {
        world.call("shop", "get", "{}");
    }
    assert_eq!((world.audit().len(), kept()), (16, 16));
}

#[test]
fn a_user_who_is_erased_is_in_the_log_no_more() {
    let world = shop();
    for user in ["ada", "bob", "ada"] {
        world.called_by(user).call("shop", "get", "{}");
    }
    world.call("shop", "get", "{}");
    world.called_by("bob").json("DELETE", "/v1/tools/users/ada/data", &Value::Null, 404);
    let erased = world.json("DELETE", "/v1/tools/users/ada/data", &Value::Null, 200);
    assert_eq!(erased["tool_calls"], 2);
    let users: Vec<Value> = world.audit().iter().map(|entry| entry["user"].clone()).collect();
    assert_eq!(users, [Value::Null, json!("bob")]);
    let own = world.called_by("bob").json("DELETE", "/v1/tools/users/bob/data", &Value::Null, 200);
    assert_eq!(own["tool_calls"], 1);
}
