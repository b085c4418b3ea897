//! `/v1/vector_stores/{store}/file_batches`.

use crate::support::{World, embedding_world, id, world};
use serde_json::{Value, json};

fn files(world: &World, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| world.upload(&format!("{number}.txt"), &format!("text number {number}")))
        .collect()
}

#[test]
fn a_batch_is_created_followed_and_listed() {
    let world = embedding_world();
    let (store, files) = (world.create_store(&[]), files(&world, 3));
    let path = format!("/v1/vector_stores/{store}/file_batches");
    let body = json!({"file_ids": [files[0], files[1]], "attributes": {"k": "v"}});
    let batch = world.json("POST", &path, &body, 200);
    let expected = json!({"id": batch["id"], "object": "vector_store.files_batch", "created_at": 1_700_000_000,
        "vector_store_id": store, "status": "in_progress",
        "file_counts": {"in_progress": 2, "completed": 0, "failed": 0, "cancelled": 0, "total": 2}});
    assert_eq!(batch, expected);
    let other = json!({"files": [{"file_id": files[2], "attributes": {"n": 1}}]});
    world.json("POST", &path, &other, 200);
    world.drain();
    let done = world.get(&format!("{path}/{}", id(&batch)));
    assert_eq!((&done["status"], &done["file_counts"]["completed"]), (&json!("completed"), &json!(2)));
    let listed = world.get(&format!("{path}/{}/files?order=asc", id(&batch)));
    let found: Vec<String> = listed["data"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(found, files[..2]);
    assert_eq!(listed["data"][0]["attributes"], json!({"k": "v"}));
    assert_eq!(world.get(&format!("{path}/{}/files?filter=failed", id(&batch)))["data"], json!([]));
    for path in [format!("{path}/vsfb_x"), format!("{path}/vsfb_000000000000000000000000")] {
        world.json("GET", &path, &Value::Null, 404);
    }
}

#[test]
fn a_batch_that_is_cancelled_keeps_what_is_done_and_forgets_the_rest() {
    let world = world();
    let (store, files) = (world.create_store(&[]), files(&world, 8));
    let path = format!("/v1/vector_stores/{store}/file_batches");
    let batch = world.json("POST", &path, &json!({"file_ids": files}), 200);
    let path = format!("{path}/{}", id(&batch));
    // One lane is worked on before that.
    let first = world.platform.queue.borrow_mut().pop_front().unwrap();
    world.deliver(&first);
    let done = world.counts(&store)[1];
    assert!(done > 0 && done < 8, "{done}");
    let cancelled = world.json("POST", &format!("{path}/cancel"), &Value::Null, 200);
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(cancelled["file_counts"]["cancelled"], json!(8 - done));
    world.drain();
    assert_eq!(world.counts(&store), [0, done, 0, 8 - done]);
    assert_eq!(world.search(&store, "text").len() as u64, done);
    assert_eq!(world.get(&path)["status"], "cancelled");
    // Cancelled files can be added again.
    world.json("POST", &format!("/v1/vector_stores/{store}/file_batches"), &json!({"file_ids": files}), 200);
    world.drain();
    assert_eq!(world.counts(&store), [0, 8, 0, 0]);
}

#[test]
fn cancelling_a_batch_that_is_over_changes_nothing() {
    let world = world();
    let (store, files) = (world.create_store(&[]), files(&world, 1));
    let path = format!("/v1/vector_stores/{store}/file_batches");
    let batch = world.json("POST", &path, &json!({"file_ids": files}), 200);
    world.drain();
    let cancelled = world.json("POST", &format!("{path}/{}/cancel", id(&batch)), &Value::Null, 200);
    assert_eq!(cancelled["status"], "completed");
    for body in
        [json!({}), json!({"file_ids": []}), json!({"file_ids": files, "files": [{"file_id": files[0]}]})]
    {
        world.json("POST", &path, &body, 400);
    }
    world.json("POST", &path, &json!({"file_ids": [files[0], "file-000000000000000000000000"]}), 404);
}

#[test]
fn a_batch_of_which_nothing_can_be_read_has_failed() {
    let world = world();
    let store = world.create_store(&[]);
    let file = id(&world.upload_object(&[("purpose", "assistants")], "a.pdf", b"%PDF-1.7 and nothing else"));
    let path = format!("/v1/vector_stores/{store}/file_batches");
    let batch = world.json("POST", &path, &json!({"file_ids": [file]}), 200);
    world.drain();
    assert_eq!(world.get(&format!("{path}/{}", id(&batch)))["status"], "failed");
}
