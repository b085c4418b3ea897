//! `/v1/vector_stores`.

use crate::support::{embedding_world, id, world};
use serde_json::{Value, json};

#[test]
fn a_vector_store_is_created_read_changed_listed_and_deleted() {
    let world = world();
    let body = json!({"name": "help", "description": "d", "metadata": {"k": "v"},
        "expires_after": {"anchor": "last_active_at", "days": 2}});
    let store = world.json("POST", "/v1/vector_stores", &body, 200);
    let expected = json!({"id": store["id"], "object": "vector_store", "created_at": 1_700_000_000, "name": "help",
        "description": "d", "usage_bytes": 0, "status": "completed", "metadata": {"k": "v"},
        "file_counts": {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0},
        "expires_after": {"anchor": "last_active_at", "days": 2}, "expires_at": 1_700_172_800,
        "last_active_at": 1_700_000_000, "waggle_search": "lexical", "waggle_embedding_model": null});
    assert_eq!(store, expected);
    let path = format!("/v1/vector_stores/{}", id(&store));
    assert_eq!(world.get(&path), store);
    let changed = json!({"name": null, "metadata": null, "expires_after": null});
    let changed = world.json("POST", &path, &changed, 200);
    assert_eq!(
        (&changed["name"], &changed["metadata"], &changed["expires_at"]),
        (&json!(""), &json!({}), &Value::Null)
    );
    let same = world.json("POST", &path, &json!({}), 200);
    assert_eq!(same, changed, "what is not named stays");
    let second = world.json("POST", "/v1/vector_stores", &Value::Null, 200);
    let listed = world.get("/v1/vector_stores?order=asc&limit=1");
    assert_eq!((&listed["data"], &listed["has_more"]), (&json!([changed]), &json!(true)));
    let listed = world.get(&format!("/v1/vector_stores?order=asc&after={}", id(&store)));
    assert_eq!((&listed["data"], &listed["last_id"]), (&json!([second]), &second["id"]));
    let deleted = world.json("DELETE", &path, &Value::Null, 200);
    assert_eq!(deleted, json!({"id": store["id"], "object": "vector_store.deleted", "deleted": true}));
    world.json("GET", &path, &Value::Null, 404);
    assert_eq!(world.get("/v1/vector_stores")["data"], json!([second]));
}

#[test]
fn wrong_bodies_name_what_is_wrong() {
    let world = world();
    let store = world.create_store(&[]);
    for (body, status, param) in [
        (json!({"name": 1}), 400, Some("name")),
        (json!({"file_ids": ["x"]}), 404, None),
        (json!({"file_ids": "x"}), 400, Some("file_ids")),
        (json!({"chunking_strategy": {"type": "x"}, "file_ids": []}), 400, Some("chunking_strategy.type")),
        (json!({"expires_after": {"anchor": "last_active_at"}}), 400, Some("expires_after")),
        (json!({"expires_after": {"anchor": "last_active_at", "days": 1.5}}), 400, Some("expires_after")),
        (json!({"unknown": 1}), 400, Some("unknown")),
        (json!([]), 400, None),
    ] {
        let error = world.json("POST", "/v1/vector_stores", &body, status);
        assert_eq!(error["error"]["param"].as_str(), param, "{body}");
    }
    let path = format!("/v1/vector_stores/{store}");
    world.json("POST", &path, &json!({"file_ids": []}), 400);
    world.json("POST", &path, &json!({"expires_after": {"anchor": "last_active_at", "days": 0}}), 400);
    world.json("POST", "/v1/vector_stores/vs_x", &json!({}), 404);
    world.json("PATCH", &path, &Value::Null, 405);
}

#[test]
fn one_that_is_not_used_expires_and_one_that_is_does_not() {
    let world = world();
    let body = json!({"expires_after": {"anchor": "last_active_at", "days": 1.0}});
    let store = id(&world.json("POST", "/v1/vector_stores", &body, 200));
    let path = format!("/v1/vector_stores/{store}");
    world.pass_s(86_000);
    world.search(&store, "anything");
    world.pass_s(86_000);
    assert_eq!(world.get(&path)["status"], "completed");
    world.pass_s(400);
    assert_eq!(world.get(&path)["status"], "expired");
    let file = world.upload("a.txt", "text");
    for (method, path, body) in [
        ("POST", format!("{path}/search"), json!({"query": "q"})),
        ("POST", format!("{path}/files"), json!({"file_id": file})),
        ("GET", format!("{path}/files"), Value::Null),
    ] {
        let error = world.json(method, &path, &body, 400);
        assert_eq!(error["error"]["code"], "vector_store_expired", "{path}");
    }
    world.json("DELETE", &path, &Value::Null, 200);
}

#[test]
fn an_owner_has_so_many_vector_stores() {
    let world = world();
    world.set("vector_stores_max", "1");
    let store = world.create_store(&[]);
    let error = world.json("POST", "/v1/vector_stores", &json!({}), 429);
    assert_eq!(error["error"]["code"], "vector_store_limit_exceeded");
    world.called_by(Some("ada")).create_store(&[]);
    world.json("DELETE", &format!("/v1/vector_stores/{store}"), &Value::Null, 200);
    world.drain();
    world.create_store(&[]);
}

#[test]
fn nothing_is_left_of_a_vector_store_that_is_deleted_but_its_files() {
    let world = embedding_world();
    let files = ["a", "b", "c"].map(|name| world.upload(&format!("{name}.txt"), &format!("text of {name}")));
    let before: Vec<String> = world.keys("file/");
    let store = world.create_store(&files.each_ref().map(String::as_str));
    world.drain();
    assert_eq!(world.counts(&store), [0, 3, 0, 0]);
    let body = json!({"file_ids": [files[0]]});
    world.json("POST", &format!("/v1/vector_stores/{store}/file_batches"), &body, 200);
    world.json("DELETE", &format!("/v1/vector_stores/{store}"), &Value::Null, 200);
    assert!(!world.keys("vector_store/").is_empty());
    world.drain();
    assert_eq!(world.keys("vector_store/"), [""; 0]);
    assert_eq!(world.keys("file/"), before);
    for file in &files {
        let record = world.store.inner.dump()[&format!("file/{}", &file[5..])].clone();
        assert!(!String::from_utf8(record).unwrap().contains("stores"), "{file} knows of it");
    }
    let index: Vec<String> =
        world.shelf.inner.dump().into_keys().filter(|key| key.contains("/index/")).collect();
    assert_eq!(index, [""; 0]);
}
