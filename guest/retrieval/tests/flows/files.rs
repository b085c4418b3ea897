//! `/v1/files`.

use crate::support::{form, id, world};
use serde_json::{Value, json};
use waggle_platform::Request;

#[test]
fn a_file_is_uploaded_read_listed_and_deleted() {
    let world = world();
    let bytes: Vec<u8> = (0..1_500_000u32).flat_map(|number| number.to_le_bytes()).take(1_300_000).collect();
    let file = world.upload_object(&[("purpose", "user_data")], "numbers.bin", &bytes);
    let expected = json!({"id": file["id"], "object": "file", "bytes": 1_300_000, "created_at": 1_700_000_000,
        "expires_at": null, "filename": "numbers.bin", "purpose": "user_data", "status": "processed",
        "status_details": null});
    assert_eq!(file, expected);
    let path = format!("/v1/files/{}", id(&file));
    assert_eq!(world.get(&path), file);
    let content = world.exchange("GET", &format!("{path}/content"), &Value::Null);
    assert_eq!(content.headers[0], ("content-type", "application/octet-stream".to_owned()));
    assert!(content.body == bytes, "the content is another");
    assert_eq!(world.keys("file/").len(), 4, "a record and three parts");
    let listed = world.get("/v1/files");
    let expected = json!({"object": "list", "data": [file], "first_id": file["id"], "last_id": file["id"], "has_more": false});
    assert_eq!(listed, expected);
    let deleted = world.json("DELETE", &path, &Value::Null, 200);
    assert_eq!(deleted, json!({"id": file["id"], "object": "file", "deleted": true}));
    for (method, path) in [("GET", path.clone()), ("GET", format!("{path}/content")), ("DELETE", path)] {
        world.json(method, &path, &Value::Null, 404);
    }
    assert_eq!(world.get("/v1/files")["data"], json!([]));
    assert_eq!(world.keys("file/"), [""; 0]);
}

#[test]
fn files_are_listed_by_purpose_in_both_orders_page_by_page() {
    let world = world();
    let mut ids = Vec::new();
    for number in 0..5 {
        let purpose = if number % 2 == 0 { "assistants" } else { "batch" };
        let text = format!("text {number}");
        ids.push(id(&world.upload_object(&[("purpose", purpose)], "a.txt", text.as_bytes())));
        world.pass_s(1);
    }
    let check = |query: &str, expected: &[usize], has_more: bool| {
        let page = world.get(&format!("/v1/files?{query}"));
        let found: Vec<String> = page["data"].as_array().unwrap().iter().map(id).collect();
        let expected: Vec<String> = expected.iter().map(|place| ids[*place].clone()).collect();
        assert_eq!((found, page["has_more"].as_bool()), (expected, Some(has_more)), "{query}");
    };
    check("", &[4, 3, 2, 1, 0], false);
    check("order=asc", &[0, 1, 2, 3, 4], false);
    check("order=asc&purpose=batch", &[1, 3], false);
    check("limit=2", &[4, 3], true);
    check(&format!("limit=2&after={}", ids[3]), &[2, 1], true);
    check(&format!("limit=2&after={}", ids[1]), &[0], false);
    check("purpose=vision", &[], false);
    for query in ["limit=0", "limit=10001", "order=x", "after=file-x"] {
        world.json("GET", &format!("/v1/files?{query}"), &Value::Null, 400);
    }
}

#[test]
fn the_same_bytes_are_stored_once() {
    let world = world();
    let [first, second] = ["one.txt", "two.txt"].map(|name| world.upload(name, "the same"));
    let parts = || world.keys("file/").into_iter().filter(|key| key.contains("/part/")).count();
    assert_eq!(parts(), 1);
    world.upload("three.txt", "another");
    assert_eq!(parts(), 2);
    world.json("DELETE", &format!("/v1/files/{first}"), &Value::Null, 200);
    let content = world.exchange("GET", &format!("/v1/files/{second}/content"), &Value::Null);
    assert_eq!(content.body, b"the same");
    world.json("DELETE", &format!("/v1/files/{second}"), &Value::Null, 200);
    assert_eq!(parts(), 1);
}

#[test]
fn a_form_that_is_wrong_leaves_nothing_behind() {
    let world = world();
    world.set("file_bytes_max", "1000");
    let purpose = ("purpose", "assistants");
    let file = Some(("a.txt", &b"text"[..]));
    let check = |form: &[u8], cut: bool, status: u16, param: Option<&str>| {
        let reply = world.send_form(form, 50, cut);
        let error: Value = serde_json::from_slice(&reply.body).unwrap();
        let told = (reply.status, error["error"]["param"].as_str());
        assert_eq!(told, (status, param), "{}: {error}", String::from_utf8_lossy(form));
    };
    check(&form(&[], file), false, 400, Some("purpose"));
    check(&form(&[("purpose", "fun")], file), false, 400, Some("purpose"));
    check(&form(&[purpose, ("more", "x")], file), false, 400, Some("more"));
    check(&form(&[purpose], None), false, 400, Some("file"));
    check(&form(&[purpose], Some(("a.txt", b""))), false, 400, Some("file"));
    check(&form(&[purpose], Some(("", b"text"))), false, 400, Some("file"));
    check(&form(&[purpose], Some(("a.txt", &[b'x'; 1001]))), false, 413, Some("file"));
    check(&form(&[purpose], file), true, 400, None);
    check(b"--edge\r\n", false, 400, None);
    check(b"", false, 400, None);
    let two = [form(&[purpose], file), form(&[], file)].concat();
    let two = String::from_utf8(two).unwrap().replacen("--edge--\r\n", "", 1);
    check(two.as_bytes(), false, 400, Some("file"));
    let keys: Vec<String> = world.store.inner.dump().into_keys().collect();
    assert_eq!(keys, ["roster/services/files/head", "roster/services/files/page/000000"]);
    assert_eq!(world.get("/v1/files")["data"], json!([]));
    let request = Request {
        method: "POST",
        path_with_query: "/v1/files",
        content_type: Some("multipart/form-data; boundary=edge"),
        content_length: Some(100_000_000),
        ..Request::default()
    };
    assert_eq!(world.send(request, Vec::new(), false).status, 413);
    let request = Request { content_type: Some("application/json"), content_length: None, ..request };
    assert_eq!(world.send(request, Vec::new(), false).status, 415);
    // The longest that is accepted.
    check(&form(&[purpose], Some(("a.txt", &[b'x'; 1000]))), false, 200, None);
}

#[test]
fn a_file_expires_and_is_cleared_away() {
    let world = world();
    let fields = [
        ("purpose", "assistants"),
        ("expires_after[anchor]", "created_at"),
        ("expires_after[seconds]", "3600"),
    ];
    let file = world.upload_object(&fields, "a.txt", b"short-lived");
    assert_eq!(file["expires_at"], json!(1_700_003_600));
    let path = format!("/v1/files/{}", id(&file));
    world.pass_s(3599);
    world.get(&path);
    world.pass_s(1);
    world.json("GET", &path, &Value::Null, 404);
    assert_eq!(world.get("/v1/files")["data"], json!([]));
    let kept = world.upload("b.txt", "lasting");
    let files: Vec<String> =
        world.keys("file/").into_iter().filter(|key| !key.contains(&kept[5..])).collect();
    assert_eq!(files, [""; 0], "the next upload clears away");
}

#[test]
fn an_owner_has_so_many_files_and_bytes() {
    let world = world();
    world.set("files_max", "2");
    world.set("files_bytes_max", "10");
    world.upload("a.txt", "12345");
    let refused = world.send_form(&form(&[("purpose", "batch")], Some(("b.txt", b"123456"))), 100, false);
    assert_eq!(refused.status, 413, "more than is left");
    world.upload("b.txt", "54321");
    let refused = world.send_form(&form(&[("purpose", "batch")], Some(("c.txt", b"x"))), 100, false);
    let error: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status, error["error"]["code"].as_str()), (429, Some("file_limit_exceeded")));
    world.set("files_max", "3");
    let refused = world.send_form(&form(&[("purpose", "batch")], Some(("c.txt", b"x"))), 100, false);
    let error: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status, error["error"]["code"].as_str()), (429, Some("file_bytes_limit_exceeded")));
    // Another owner has bounds of their own.
    world.called_by(Some("ada")).upload("a.txt", "12345");
}
