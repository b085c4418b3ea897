//! How files are taken in: in steps, by lanes, whoever is called and however often.

use crate::support::{World, embedding_world, id, paragraphs, world};
use serde_json::{Value, json};
use waggle_platform::QueueFailure;

/// Adds a file that is cut into chunks of 100 tokens.
fn add(world: &World, store: &str, file: &str) -> Value {
    let strategy =
        json!({"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}});
    let body = json!({"file_id": file, "chunking_strategy": strategy});
    world.json("POST", &format!("/v1/vector_stores/{store}/files"), &body, 200)
}

fn long_text(sections: usize) -> String {
    let names: Vec<String> = (0..sections).map(|number| format!("topic{number}")).collect();
    paragraphs(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_long_file_is_taken_in_by_several_deliveries_and_found_when_it_is_whole() {
    let world = embedding_world();
    let store = world.create_store(&[]);
    let file = world.upload("long.md", &long_text(1500));
    add(&world, &store, &file);
    let mut deliveries = 0;
    loop {
        let Some(path) = world.platform.queue.borrow_mut().pop_front() else { break };
        assert!(world.deliver(&path));
        deliveries += 1;
        if world.status(&store, &file) == "in_progress" {
            assert_eq!(world.search(&store, "topic7"), [], "half of a file is found");
        }
    }
    assert!(deliveries > 2, "{deliveries}");
    assert_eq!(world.counts(&store), [0, 1, 0, 0]);
    let found = world.search(&store, "topic777");
    assert!(found[0].1.contains("The topic777 is"), "{found:?}");
    assert_eq!(world.keys(&format!("vector_store/{}/file/{}/chunks", &store[3..], &file[5..])), [""; 0]);
}

#[test]
fn a_changed_file_has_its_changed_chunks_embedded_only() {
    let world = embedding_world();
    let store = world.create_store(&[]);
    let before = world.upload("a.md", &paragraphs(&["bees", "wasps", "ants"]));
    add(&world, &store, &before);
    world.drain();
    let chunks =
        |world: &World| world.embedded().into_iter().filter(|text| text.contains("described")).count();
    assert_eq!(chunks(&world), 3);
    let after = world.upload("a.md", &paragraphs(&["bees", "hornets", "ants"]));
    add(&world, &store, &after);
    world.drain();
    assert_eq!(chunks(&world), 1);
    assert_eq!(world.counts(&store), [0, 2, 0, 0]);
}

#[test]
fn work_that_is_delivered_again_or_in_vain_does_no_harm() {
    let world = embedding_world();
    let store = world.create_store(&[]);
    let file = world.upload("a.md", &long_text(10));
    add(&world, &store, &file);
    let path = world.platform.queue.borrow().front().unwrap().clone();
    for _ in 0..3 {
        assert_eq!(world.deliver_once(&path, false).status, 200);
    }
    world.drain();
    assert_eq!(world.counts(&store), [0, 1, 0, 0]);
    let calls = world.embedded().len();
    assert_eq!(world.deliver_once(&path, true).status, 200);
    world.drain();
    assert_eq!(world.embedded().len(), 0, "{calls} before");
    // Without the host's word it is no endpoint.
    world.json("POST", &path, &Value::Null, 404);
    let gone = path.replace(&store[3..], "000000000000000000000000");
    assert_eq!(world.deliver_once(&gone, false).status, 200);
}

#[test]
fn without_a_queue_the_request_does_the_work_itself() {
    let world = embedding_world();
    world.platform.queue_fails.replace(Some(QueueFailure::Absent));
    let files = ["a", "b", "c"].map(|name| world.upload(&format!("{name}.txt"), &format!("text of {name}")));
    let store = world.create_store(&files.each_ref().map(String::as_str));
    assert_eq!(world.counts(&store), [0, 3, 0, 0]);
    let long = world.upload("long.md", &long_text(1500));
    add(&world, &store, &long);
    assert_eq!(world.counts(&store), [0, 4, 0, 0]);
    world.json("DELETE", &format!("/v1/files/{long}"), &Value::Null, 200);
    assert_eq!(world.keys(&format!("vector_store/{}/file/{}", &store[3..], &long[5..])), [""; 0]);
    world.json("DELETE", &format!("/v1/vector_stores/{store}"), &Value::Null, 200);
    assert_eq!(world.keys("vector_store/"), [""; 0]);
}

#[test]
fn without_a_queue_a_model_that_never_answers_ends_the_file_not_the_function() {
    let world = embedding_world();
    world.platform.queue_fails.replace(Some(QueueFailure::Absent));
    world.model.fails.replace(Some("short".to_owned()));
    let file = world.upload("a.txt", "text");
    let store = world.create_store(&[&file]);
    assert_eq!(world.counts(&store), [0, 0, 1, 0]);
}

#[test]
fn a_queue_that_takes_nothing_refuses_the_file() {
    let world = world();
    let (store, file) = (world.create_store(&[]), world.upload("a.txt", "text"));
    let body = json!({"file_id": file});
    let path = format!("/v1/vector_stores/{store}/files");
    for (failure, status, code) in [
        (QueueFailure::Full(7), 429, "ingestion_queue_full"),
        (QueueFailure::Busy(7), 503, "ingestion_unavailable"),
        (QueueFailure::Failed("secret".to_owned()), 503, "ingestion_unavailable"),
    ] {
        world.platform.queue_fails.replace(Some(failure));
        assert_eq!(world.json("POST", &path, &body, status)["error"]["code"], code);
        assert_eq!(world.counts(&store), [0, 0, 0, 0]);
        let error = world.json("POST", "/v1/vector_stores", &json!({"file_ids": [file]}), status);
        assert_eq!(error["error"]["code"], code);
    }
    world.platform.queue_fails.replace(None);
    world.json("POST", &path, &body, 200);
    world.drain();
    assert_eq!(world.counts(&store), [0, 1, 0, 0]);
}

#[test]
fn a_model_that_fails_is_tried_again_and_given_up_in_the_end() {
    let world = embedding_world();
    let (store, file) = (world.create_store(&[]), world.upload("a.txt", "text"));
    world.model.fails.replace(Some("short".to_owned()));
    add(&world, &store, &file);
    let path = world.platform.queue.borrow_mut().pop_front().unwrap();
    assert_eq!(world.deliver_once(&path, false).status, 502);
    assert_eq!(world.status(&store, &file), "in_progress");
    // It comes back in time.
    world.model.fails.replace(None);
    assert_eq!(world.deliver_once(&path, false).status, 200);
    world.drain();
    assert_eq!(world.status(&store, &file), "completed");
    // It does not.
    world.model.fails.replace(Some("short".to_owned()));
    let other = world.upload("b.txt", "another text");
    add(&world, &store, &other);
    world.drain();
    let failed = world.get(&format!("/v1/vector_stores/{store}/files/{other}"));
    assert_eq!(
        (&failed["status"], &failed["last_error"]["code"]),
        (&json!("failed"), &json!("server_error"))
    );
    assert_eq!(world.status(&store, &file), "completed");
}

#[test]
fn a_model_that_is_away_is_waited_for_and_not_for_ever() {
    let world = embedding_world();
    let (store, file) = (world.create_store(&[]), world.upload("a.txt", "text"));
    world.model.fails.replace(Some("short".to_owned()));
    add(&world, &store, &file);
    for _ in 0..20 {
        world.drain_some(5);
        world.pass_s(600);
        assert_eq!(world.status(&store, &file), "in_progress");
    }
    world.model.fails.replace(None);
    world.drain();
    assert_eq!(world.status(&store, &file), "completed");
    let other = world.upload("b.txt", "another text");
    world.model.fails.replace(Some("short".to_owned()));
    add(&world, &store, &other);
    world.drain_some(5);
    world.pass_s(7 * 3600);
    world.drain_some(5);
    let failed = world.get(&format!("/v1/vector_stores/{store}/files/{other}"));
    assert_eq!(failed["last_error"]["code"], "server_error");
    assert_eq!(world.status(&store, &file), "completed");
}

#[test]
fn one_file_that_cannot_be_read_keeps_no_other_from_being_taken_in() {
    let world = world();
    let bad = |name: &str, bytes: &[u8]| id(&world.upload_object(&[("purpose", "assistants")], name, bytes));
    let files = [
        world.upload("good.txt", "a good bee"),
        bad("broken.pdf", b"%PDF-1.4\nbroken"),
        bad("empty.txt", b"\n\n   "),
        bad("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0"),
        bad("broken.docx", b"PK\x03\x04 and nothing else"),
        world.upload("also-good.txt", "another good bee"),
    ];
    let store = world.create_store(&files.each_ref().map(String::as_str));
    world.drain();
    assert_eq!(world.counts(&store), [0, 2, 4, 0]);
    for file in &files[1..5] {
        let member = world.get(&format!("/v1/vector_stores/{store}/files/{file}"));
        let message = member["last_error"]["message"].as_str().unwrap();
        assert!(message.len() > 10 && !message.contains("panicked"), "{member}");
    }
    assert_eq!(world.search(&store, "bee").len(), 2);
}

#[test]
fn files_that_nobody_works_on_any_more_are_called_for_when_somebody_looks() {
    let world = world();
    let (store, file) = (world.create_store(&[]), world.upload("a.txt", "text"));
    add(&world, &store, &file);
    // The host has lost the work.
    world.platform.queue.borrow_mut().clear();
    let path = format!("/v1/vector_stores/{store}/files/{file}");
    world.get(&path);
    assert!(world.platform.queue.borrow().is_empty(), "it may still be under way");
    world.pass_s(61);
    for _ in 0..3 {
        world.get(&path);
    }
    assert_eq!(world.platform.queue.borrow().len(), 1, "one call is enough");
    world.drain();
    assert_eq!(world.status(&store, &file), "completed");
}

#[test]
fn many_files_are_taken_in_by_all_lanes() {
    let world = world();
    let files: Vec<String> = (0..40)
        .map(|number| world.upload(&format!("{number}.txt"), &format!("bee number {number}")))
        .collect();
    let store = world.create_store(&files.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(world.platform.queue.borrow().len(), 4);
    world.drain();
    assert_eq!(world.counts(&store), [0, 40, 0, 0]);
    let mut found: Vec<String> = world.search(&store, "bee").into_iter().map(|(file, _)| file).collect();
    found.sort();
    found.dedup();
    let mut expected = files;
    expected.sort();
    assert_eq!(found, expected);
}
