//! The endpoints of `/v1/conversations`.

use crate::support::{World, id, says, world};
use serde_json::{Value, json};

fn created(world: &World, body: &Value) -> String {
    let conversation = world.json("POST", "/v1/conversations", body, 200);
    format!("/v1/conversations/{}", id(&conversation))
}

fn message(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn texts(list: &Value) -> Vec<String> {
    let data = list["data"].as_array().unwrap();
    data.iter().map(|item| item["content"][0]["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_conversation_is_created_read_changed_and_deleted() {
    let world = world();
    let path = created(&world, &json!({"metadata": {"topic": "demo"}, "items": [message("hi")]}));
    let read = world.json("GET", &path, &Value::Null, 200);
    assert_eq!((&read["object"], &read["metadata"]), (&json!("conversation"), &json!({"topic": "demo"})));
    let changed = world.json("POST", &path, &json!({"metadata": {"topic": "new"}}), 200);
    assert_eq!(changed["metadata"], json!({"topic": "new"}));
    assert_eq!(changed["created_at"], read["created_at"]);
    assert_eq!(world.json("GET", &path, &Value::Null, 200), changed);
    let gone = world.json("DELETE", &path, &Value::Null, 200);
    assert_eq!((&gone["object"], &gone["deleted"]), (&json!("conversation.deleted"), &json!(true)));
    assert!(world.store.dump().is_empty(), "{:?}", world.store.dump().keys());
    for method in ["GET", "DELETE"] {
        world.json(method, &path, &Value::Null, 404);
    }
    world.json("GET", &format!("{path}/items"), &Value::Null, 404);
    world.json("POST", &format!("{path}/items"), &json!({"items": [message("x")]}), 404);
    world.json("POST", &path, &json!({"metadata": {}}), 404);
}

#[test]
fn an_empty_body_creates_an_empty_conversation() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &Value::Null, 200);
    assert_eq!(conversation["metadata"], json!({}));
}

#[test]
fn wrong_bodies_are_refused_by_name() {
    let world = world();
    let path = created(&world, &json!({}));
    let items = format!("{path}/items");
    let many: Vec<Value> = (0..21).map(|_| message("x")).collect();
    for (path, body, param) in [
        ("/v1/conversations", json!({"items": "x"}), "items"),
        ("/v1/conversations", json!({"items": many}), "items"),
        ("/v1/conversations", json!({"name": "x"}), "name"),
        ("/v1/conversations", json!({"metadata": {"a": 1}}), "metadata"),
        (&path, json!({}), "metadata"),
        (&path, json!({"items": []}), "items"),
        (&items, json!({}), "items"),
        (&items, json!({"items": []}), "items"),
        (&items, json!({"items": [message("x"), {"role": "user"}]}), "items[1]"),
    ] {
        let error = world.json("POST", path, &body, 400);
        assert_eq!(error["error"]["param"], param, "{path} {body}");
    }
}

#[test]
fn items_are_paged_in_both_orders_across_entries() {
    let world = world();
    let path = created(&world, &json!({"items": [message("0"), message("1"), message("2")]}));
    let items = format!("{path}/items");
    for pair in [["3", "4"], ["5", "6"]] {
        let body = json!({"items": pair.map(message)});
        let added = world.json("POST", &items, &body, 200);
        assert_eq!(texts(&added), pair);
    }
    for (order, expected) in
        [("asc", ["0", "1", "2", "3", "4", "5", "6"]), ("desc", ["6", "5", "4", "3", "2", "1", "0"])]
    {
        for limit in 1..=8 {
            let mut seen = Vec::new();
            let mut after = String::new();
            loop {
                let page = world.json(
                    "GET",
                    &format!("{items}?order={order}&limit={limit}{after}"),
                    &Value::Null,
                    200,
                );
                seen.extend(texts(&page));
                if page["has_more"] == false {
                    break;
                }
                after = format!("&after={}", page["last_id"].as_str().unwrap());
            }
            assert_eq!(seen, expected, "{order} by {limit}");
        }
    }
    assert_eq!(world.json("GET", &items, &Value::Null, 200)["data"].as_array().unwrap().len(), 7);
}

#[test]
fn a_page_of_a_long_conversation_is_read_in_bounded_steps() {
    let world = world();
    let path = created(&world, &json!({}));
    for number in 0..300 {
        let body = json!({"items": [message(&number.to_string())]});
        world.json("POST", &format!("{path}/items"), &body, 200);
    }
    world.store.operations();
    let page = world.json("GET", &format!("{path}/items?limit=2"), &Value::Null, 200);
    assert_eq!(texts(&page), ["299", "298"]);
    assert_eq!(world.store.operations(), ["get 1", "get 1", "get_many 3"]);
    world.json("DELETE", &path, &Value::Null, 200);
    assert!(world.store.dump().is_empty());
    let operations = world.store.operations();
    assert!(operations.contains(&"delete_many 200".to_owned()), "{operations:?}");
}

#[test]
fn one_item_is_read_and_deleted_and_the_others_stay() {
    let world = world();
    let path = created(&world, &json!({"items": [message("0"), message("1")]}));
    let items = format!("{path}/items");
    let list = world.json("GET", &format!("{items}?order=asc"), &Value::Null, 200);
    let (first, second) = (list["data"][0].clone(), list["data"][1].clone());
    let item = format!("{items}/{}", id(&first));
    assert_eq!(world.json("GET", &item, &Value::Null, 200), first);
    let conversation = world.json("DELETE", &item, &Value::Null, 200);
    assert_eq!(conversation["object"], "conversation");
    for method in ["GET", "DELETE"] {
        world.json(method, &item, &Value::Null, 404);
    }
    assert_eq!(texts(&world.json("GET", &items, &Value::Null, 200)), ["1"]);
    let page = world.json("GET", &format!("{items}?order=asc&after={}", id(&first)), &Value::Null, 200);
    assert_eq!(texts(&page), ["1"], "a cursor outlives its item");
    world.turn(&json!({"input": "2", "conversation": path.rsplit('/').next().unwrap()}), "ok");
    assert_eq!(world.last_messages(), ["1", "2"]);
    world.json("DELETE", &format!("{items}/{}", id(&second)), &Value::Null, 200);
    assert_eq!(world.json("GET", &format!("{items}?limit=1"), &Value::Null, 200)["has_more"], true);
}

#[test]
fn an_item_of_another_conversation_is_not_found_here() {
    let world = world();
    let (mine, other) = (
        created(&world, &json!({"items": [message("x")]})),
        created(&world, &json!({"items": [message("y")]})),
    );
    let list = world.json("GET", &format!("{other}/items"), &Value::Null, 200);
    let item = id(&list["data"][0]);
    for method in ["GET", "DELETE"] {
        world.json(method, &format!("{mine}/items/{item}"), &Value::Null, 404);
    }
    world.json("GET", &format!("{mine}/items?after={item}"), &Value::Null, 400);
}

#[test]
fn a_store_that_fails_is_a_500_without_its_details() {
    let world = world();
    let path = created(&world, &json!({}));
    for (operation, method, path, body) in [
        ("get", "GET", path.clone(), Value::Null),
        ("get_many", "DELETE", path.clone(), Value::Null),
        ("swap", "POST", path.clone(), json!({"metadata": {}})),
        ("set_many", "POST", format!("{path}/items"), json!({"items": [message("x")]})),
        ("increment", "POST", format!("{path}/items"), json!({"items": [message("x")]})),
    ] {
        world.store.fail(Some(operation));
        let error = world.json(method, &path, &body, 500);
        assert_eq!(error["error"]["code"], "storage_error");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    world.store.fail(None);
    world.store.put(&world.keys("conversation/")[0], b"nonsense");
    world.json("GET", &path, &Value::Null, 500);
}

#[test]
fn a_store_that_is_full_is_a_429_that_names_the_limit_and_what_is_there_stays() {
    let world = world();
    let path = created(&world, &json!({"items": [message("kept")]}));
    world.script(says("an answer"));
    let before = world.store.dump();
    world.store.fill(true);
    for (path, body) in [
        ("/v1/conversations", json!({})),
        (&*path, json!({"metadata": {"topic": "new"}})),
        (&*format!("{path}/items"), json!({"items": [message("x")]})),
        ("/v1/responses", json!({"input": "x", "conversation": path.rsplit('/').next()})),
    ] {
        let reply = world.send("POST", path, &body.to_string());
        let error: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            (reply.status, &error["error"]["code"]),
            (429, &json!("storage_limit_exceeded")),
            "{error}"
        );
        assert_eq!(error["error"]["type"], "insufficient_quota", "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("(storage_bytes_max)") && !message.contains("secret"), "{message}");
        let header =
            |name: &str| reply.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| &**value);
        assert_eq!((header("retry-after"), header("x-should-retry")), (Some("60"), Some("false")), "{path}");
    }
    assert_eq!(world.store.dump(), before);
    // What is there can be read and deleted.
    assert_eq!(texts(&world.json("GET", &format!("{path}/items"), &Value::Null, 200)), ["kept"]);
    world.json("DELETE", &path, &Value::Null, 200);
    world.store.fill(false);
    created(&world, &json!({}));
}
