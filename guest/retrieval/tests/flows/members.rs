//! `/v1/vector_stores/{store}/files`.

use crate::support::{embedding_world, id, paragraphs, world};
use serde_json::{Value, json};

#[test]
fn a_file_is_added_taken_in_read_and_removed() {
    let world = embedding_world();
    let (store, file) = (world.create_store(&[]), world.upload("bees.md", "# Bees\n\nBees dance."));
    let path = format!("/v1/vector_stores/{store}/files");
    let body = json!({"file_id": file, "attributes": {"lang": "en", "year": 2024, "draft": false},
        "chunking_strategy": {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 50}}});
    let added = world.json("POST", &path, &body, 200);
    let expected = json!({"id": file, "object": "vector_store.file", "usage_bytes": 0, "created_at": 1_700_000_000,
        "vector_store_id": store, "status": "in_progress", "last_error": null,
        "chunking_strategy": {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 50}},
        "attributes": {"lang": "en", "year": 2024, "draft": false}});
    assert_eq!(added, expected);
    assert_eq!(world.search(&store, "bees"), [], "what is not taken in is not found");
    world.drain();
    let done = world.get(&format!("{path}/{file}"));
    assert_eq!((&done["status"], &done["last_error"]), (&json!("completed"), &Value::Null));
    assert!(done["usage_bytes"].as_u64().unwrap() > 64, "{done}");
    assert_eq!(world.counts(&store), [0, 1, 0, 0]);
    let shown = world.get(&format!("/v1/vector_stores/{store}"));
    assert_eq!((&shown["waggle_search"], &shown["usage_bytes"]), (&json!("hybrid"), &done["usage_bytes"]));
    let found = world.search(&store, "bees");
    assert_eq!(found.len(), 1);
    assert!(found[0].0 == file && found[0].1.contains("Bees dance."), "{found:?}");
    let content = world.get(&format!("{path}/{file}/content"));
    assert_eq!(
        (&content["object"], &content["has_more"]),
        (&json!("vector_store.file_content.page"), &json!(false))
    );
    assert!(content["data"][0]["text"].as_str().unwrap().contains("Bees dance."), "{content}");
    world.json("GET", &format!("{path}/{file}/content?page=x"), &Value::Null, 400);
    let removed = world.json("DELETE", &format!("{path}/{file}"), &Value::Null, 200);
    assert_eq!(removed, json!({"id": file, "object": "vector_store.file.deleted", "deleted": true}));
    assert_eq!(world.search(&store, "bees"), []);
    for (method, path) in [("GET", format!("{path}/{file}")), ("DELETE", format!("{path}/{file}"))] {
        world.json(method, &path, &Value::Null, 404);
    }
    world.drain();
    assert_eq!(world.keys(&format!("vector_store/{}/file/", &store[3..])), [""; 0]);
    // It can come again.
    world.json("POST", &path, &json!({"file_id": file}), 200);
    world.drain();
    assert_eq!(world.search(&store, "bees").len(), 1);
}

#[test]
fn files_are_listed_by_status_in_both_orders_page_by_page() {
    let world = world();
    let files = ["a.txt", "b.exe", "c.txt"].map(|name| match name {
        "b.exe" => id(&world.upload_object(
            &[("purpose", "assistants")],
            name,
            b"MZ\x90\0\x03\0\0\0\x04\0\xff\xff\0\0",
        )),
        name => world.upload(name, &format!("text of {name}")),
    });
    let store = world.create_store(&files.each_ref().map(String::as_str));
    world.drain();
    let late = world.upload("d.txt", "text of d");
    world.json("POST", &format!("/v1/vector_stores/{store}/files"), &json!({"file_id": late}), 200);
    let all = [files[0].clone(), files[1].clone(), files[2].clone(), late];
    let check = |query: &str, expected: &[usize], has_more: bool| {
        let page = world.get(&format!("/v1/vector_stores/{store}/files?{query}"));
        let found: Vec<String> = page["data"].as_array().unwrap().iter().map(id).collect();
        let expected: Vec<String> = expected.iter().map(|place| all[*place].clone()).collect();
        assert_eq!((found, page["has_more"].as_bool()), (expected, Some(has_more)), "{query}");
    };
    check("order=asc", &[0, 1, 2, 3], false);
    check("", &[3, 2, 1, 0], false);
    check("filter=completed", &[2, 0], false);
    check("filter=failed", &[1], false);
    check("filter=in_progress", &[3], false);
    check("filter=cancelled", &[], false);
    check("limit=1&filter=completed", &[2], true);
    check(&format!("order=asc&limit=2&after={}", all[0]), &[1, 2], true);
    check(&format!("order=asc&before={}", all[1]), &[0], false);
    world.json("GET", &format!("/v1/vector_stores/{store}/files?filter=x"), &Value::Null, 400);
    world.json("GET", &format!("/v1/vector_stores/{store}/files?after=file-x"), &Value::Null, 400);
    let failed = world.get(&format!("/v1/vector_stores/{store}/files/{}", all[1]));
    assert_eq!(failed["last_error"]["code"], "unsupported_file", "{failed}");
}

#[test]
fn attributes_are_changed_wherever_the_file_is_found() {
    let world = world();
    let (first, second) = (world.upload("a.txt", "a bee dances"), world.upload("b.txt", "another bee sings"));
    let store = world.create_store(&[&first, &second]);
    world.drain();
    let filtered = |value: &str| {
        let body = json!({"query": "bee", "filters": {"type": "eq", "key": "k", "value": value}});
        let page = world.json("POST", &format!("/v1/vector_stores/{store}/search"), &body, 200);
        page["data"].as_array().unwrap().iter().map(|found| found["file_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(filtered("x"), [""; 0]);
    let path = format!("/v1/vector_stores/{store}/files/{first}");
    let changed = world.json("POST", &path, &json!({"attributes": {"k": "x"}}), 200);
    assert_eq!((&changed["attributes"], &changed["status"]), (&json!({"k": "x"}), &json!("completed")));
    assert_eq!(filtered("x"), [first.as_str()]);
    world.json("POST", &path, &json!({"attributes": null}), 200);
    assert_eq!(filtered("x"), [""; 0]);
    for body in
        [json!({}), json!({"attributes": {"k": []}}), json!({"attributes": {"waggle.x": 1}}), json!({"k": 1})]
    {
        world.json("POST", &path, &body, 400);
    }
    world.json("POST", &format!("/v1/vector_stores/{store}/files/file-x"), &json!({"attributes": {}}), 404);
}

#[test]
fn a_file_that_is_there_stays_as_it_is_when_it_is_added_again() {
    let world = embedding_world();
    let file = world.upload("a.txt", "text");
    let store = world.create_store(&[&file]);
    world.drain();
    let path = format!("/v1/vector_stores/{store}/files");
    world.embedded();
    let again = world.json("POST", &path, &json!({"file_id": file, "attributes": {"a": 1}}), 200);
    assert_eq!((&again["status"], &again["attributes"]), (&json!("completed"), &json!({"a": 1})));
    world.drain();
    assert_eq!((world.counts(&store), world.embedded().len()), ([0, 1, 0, 0], 0));
}

#[test]
fn a_file_that_failed_begins_anew_when_it_is_added_again() {
    let world = world();
    let file = id(&world.upload_object(&[("purpose", "assistants")], "a.txt", b"   \n  "));
    let store = world.create_store(&[&file]);
    world.drain();
    let path = format!("/v1/vector_stores/{store}/files");
    let failed = world.get(&format!("{path}/{file}"));
    assert_eq!(
        (&failed["status"], &failed["last_error"]["code"]),
        (&json!("failed"), &json!("invalid_file"))
    );
    let again = world.json("POST", &path, &json!({"file_id": file}), 200);
    assert_eq!((&again["status"], &again["last_error"]), (&json!("in_progress"), &Value::Null));
    assert_eq!(world.counts(&store), [1, 0, 0, 0]);
    world.drain();
    assert_eq!(world.counts(&store), [0, 0, 1, 0]);
}

#[test]
fn files_that_are_alike_are_taken_in_once() {
    let world = embedding_world();
    let files = ["a.md", "b.md", "c.md"].map(|name| world.upload(name, &paragraphs(&["bees"])));
    let store = world.create_store(&files.each_ref().map(String::as_str));
    world.drain();
    assert_eq!(world.counts(&store), [0, 3, 0, 0]);
    let found = world.search(&store, "bees");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, files[0]);
    for file in &files {
        let content = world.get(&format!("/v1/vector_stores/{store}/files/{file}/content"));
        assert_eq!(content["data"].as_array().unwrap().len(), 1, "{file}");
    }
    // When the first goes, another takes its place, without the model being asked again.
    world.embedded();
    world.json("DELETE", &format!("/v1/vector_stores/{store}/files/{}", files[0]), &Value::Null, 200);
    world.drain();
    assert_eq!(world.counts(&store), [0, 2, 0, 0]);
    let found = world.search(&store, "bees");
    assert_eq!(found.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>(), [files[1].as_str()]);
    assert_eq!(world.embedded().iter().filter(|text| text.contains("described")).count(), 0);
    // One that gets attributes of its own is found by itself.
    let path = format!("/v1/vector_stores/{store}/files/{}", files[2]);
    world.json("POST", &path, &json!({"attributes": {"k": "v"}}), 200);
    world.drain();
    assert_eq!(world.search(&store, "bees").len(), 2);
}

#[test]
fn a_file_that_is_deleted_leaves_all_its_vector_stores() {
    let world = world();
    let file = world.upload("a.txt", "a bee");
    let stores = [world.create_store(&[&file]), world.create_store(&[&file])];
    world.drain();
    world.json("DELETE", &format!("/v1/files/{file}"), &Value::Null, 200);
    for store in &stores {
        assert_eq!(world.search(store, "bee"), []);
        assert_eq!(world.counts(store), [0, 0, 0, 0]);
    }
    world.drain();
    assert_eq!(world.keys("file/"), [""; 0]);
    for store in &stores {
        assert_eq!(world.keys(&format!("vector_store/{}/file/", &store[3..])), [""; 0]);
    }
}

#[test]
fn what_expires_is_not_found_from_that_moment() {
    let world = world();
    let fields = [
        ("purpose", "assistants"),
        ("expires_after[anchor]", "created_at"),
        ("expires_after[seconds]", "3600"),
    ];
    let short = id(&world.upload_object(&fields, "a.txt", b"a short-lived bee"));
    let long = world.upload("b.txt", "a long-lived bee");
    let store = world.create_store(&[&short, &long]);
    world.drain();
    assert_eq!(world.search(&store, "bee").len(), 2);
    let page =
        world.json("POST", &format!("/v1/vector_stores/{store}/search"), &json!({"query": "bee"}), 200);
    assert_eq!(page["data"][0]["attributes"], json!({}), "nothing of the inside is shown");
    world.pass_s(3700);
    let found = world.search(&store, "bee");
    assert_eq!(found.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>(), [long.as_str()]);
}

#[test]
fn more_than_may_be_is_refused_and_nothing_of_it_stays() {
    let world = world();
    world.set("vector_store_files_max", "2");
    world.set("ingestion_files_max", "1");
    let files = ["a", "b", "c"].map(|name| world.upload(name, name));
    let store = world.create_store(&[]);
    let path = format!("/v1/vector_stores/{store}/files");
    let add = |file: &str, status: u16| world.json("POST", &path, &json!({"file_id": file}), status);
    add(&files[0], 200);
    assert_eq!(add(&files[1], 429)["error"]["code"], "ingestion_limit_exceeded");
    world.drain();
    add(&files[1], 200);
    world.drain();
    assert_eq!(add(&files[2], 429)["error"]["code"], "vector_store_file_limit_exceeded");
    assert_eq!(world.counts(&store), [0, 2, 0, 0]);
    for (body, status) in [
        (json!({}), 400),
        (json!({"file_id": 1}), 400),
        (json!({"file_id": "x"}), 404),
        (json!({"file_id": "file-000000000000000000000000"}), 404),
        (json!({"file_id": files[2], "more": 1}), 400),
    ] {
        world.json("POST", &path, &body, status);
    }
}
