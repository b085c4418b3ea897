//! Who sees what: a service everything of the tenant, a user what is their own.

use crate::support::{World, id, world};
use serde_json::{Value, json};

fn all_of(world: &World, user: &str) -> (String, String) {
    let theirs = world.called_by(Some(user));
    let file = theirs.upload("a.txt", &format!("a bee of {user}"));
    let store = theirs.create_store(&[&file]);
    theirs.drain();
    (store, file)
}

#[test]
fn what_is_anothers_is_not_there() {
    let world = world();
    let (store, file) = all_of(&world, "ada");
    let eve = world.called_by(Some("eve"));
    let own = eve.create_store(&[]);
    let store_path = format!("/v1/vector_stores/{store}");
    for (method, path, body) in [
        ("GET", format!("/v1/files/{file}"), Value::Null),
        ("GET", format!("/v1/files/{file}/content"), Value::Null),
        ("DELETE", format!("/v1/files/{file}"), Value::Null),
        ("GET", store_path.clone(), Value::Null),
        ("POST", store_path.clone(), json!({"name": "mine"})),
        ("DELETE", store_path.clone(), Value::Null),
        ("POST", format!("{store_path}/search"), json!({"query": "bee"})),
        ("GET", format!("{store_path}/files"), Value::Null),
        ("POST", format!("{store_path}/files"), json!({"file_id": file})),
        ("GET", format!("{store_path}/files/{file}"), Value::Null),
        ("POST", format!("{store_path}/files/{file}"), json!({"attributes": {}})),
        ("DELETE", format!("{store_path}/files/{file}"), Value::Null),
        ("GET", format!("{store_path}/files/{file}/content"), Value::Null),
        ("POST", format!("{store_path}/file_batches"), json!({"file_ids": [file]})),
        ("POST", format!("/v1/vector_stores/{own}/files"), json!({"file_id": file})),
        ("POST", "/v1/vector_stores".to_owned(), json!({"file_ids": [file]})),
        (
            "POST",
            "/v1/retrieval/search".to_owned(),
            json!({"vector_store_ids": [own, store], "query": "bee"}),
        ),
        ("DELETE", "/v1/retrieval/users/ada/data".to_owned(), Value::Null),
    ] {
        let theirs = eve.json(method, &path, &body, 404);
        let nothing = path
            .replace(&store, "vs_000000000000000000000000")
            .replace(&file, "file-000000000000000000000000");
        let body: Value = serde_json::from_str(
            &body
                .to_string()
                .replace(&store, "vs_000000000000000000000000")
                .replace(&file, "file-000000000000000000000000"),
        )
        .unwrap();
        let unknown = eve.json(method, &nothing.replace("/ada/", "/nobody%20/"), &body, 404);
        assert_eq!(theirs["error"]["code"], unknown["error"]["code"], "{method} {path}");
    }
    assert_eq!(eve.get("/v1/files")["data"], json!([]));
    assert_eq!(eve.get("/v1/vector_stores")["data"].as_array().unwrap().len(), 1);
    assert_eq!(eve.json("GET", "/v1/files?user=ada", &Value::Null, 403)["error"]["param"], "user");
    let ada = world.called_by(Some("ada"));
    assert_eq!(ada.search(&store, "bee").len(), 1);
    assert_eq!(ada.get("/v1/files")["data"].as_array().unwrap().len(), 1);
}

#[test]
fn a_service_sees_everything_and_lists_whose_it_names() {
    let world = world();
    let (store, file) = all_of(&world, "ada");
    world.get(&format!("/v1/files/{file}"));
    assert_eq!(world.search(&store, "bee").len(), 1);
    assert_eq!(world.get("/v1/files")["data"], json!([]));
    assert_eq!(id(&world.get("/v1/files?user=ada")["data"][0]), file);
    assert_eq!(id(&world.get("/v1/vector_stores?user=ada")["data"][0]), store);
    world.json("DELETE", &format!("/v1/files/{file}"), &Value::Null, 200);
    assert_eq!(world.search(&store, "bee"), []);
}

#[test]
fn the_same_bytes_of_two_users_are_stored_twice() {
    let world = world();
    let [first, _] = ["ada", "eve"].map(|user| world.called_by(Some(user)).upload("a.txt", "the same"));
    assert_eq!(world.keys("file/").into_iter().filter(|key| key.contains("/part/")).count(), 2);
    world.json("DELETE", &format!("/v1/files/{first}"), &Value::Null, 200);
    assert_eq!(world.keys("file/").into_iter().filter(|key| key.contains("/part/")).count(), 1);
}

#[test]
fn all_that_is_a_users_goes_by_one_call() {
    let world = world();
    all_of(&world, "ada");
    let (kept, _) = all_of(&world, "eve");
    let erased = world.json("DELETE", "/v1/retrieval/users/ada/data", &Value::Null, 200);
    let expected = json!({"object": "user.data.deleted", "user": "ada", "files": 1, "vector_stores": 1,
        "has_more": false});
    assert_eq!(erased, expected);
    // What is being deleted is deleted once.
    let meanwhile = world.json("DELETE", "/v1/retrieval/users/ada/data", &Value::Null, 200);
    assert_eq!((&meanwhile["files"], &meanwhile["vector_stores"]), (&json!(0), &json!(0)));
    world.drain();
    let dump = world.store.inner.dump();
    // A hash or an id may hold the three letters.
    let told = |value: &Vec<u8>| {
        let text = String::from_utf8_lossy(value);
        text.contains("\"ada\"") || text.contains("of ada")
    };
    assert!(!dump.values().any(told), "something is left");
    assert_eq!(world.called_by(Some("eve")).search(&kept, "bee").len(), 1);
    let again =
        world.called_by(Some("ada")).json("DELETE", "/v1/retrieval/users/ada/data", &Value::Null, 200);
    assert_eq!((&again["files"], &again["vector_stores"]), (&json!(0), &json!(0)));
}

#[test]
fn a_caller_who_is_not_known_is_served_nothing() {
    let world = world();
    for user in [vec![b"a b".to_vec()], vec![b"a".to_vec(), b"a".to_vec()]] {
        let nobody = World { user, ..world.clone() };
        nobody.json("GET", "/v1/files", &Value::Null, 500);
    }
}
