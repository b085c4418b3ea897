//! The function dies at each operation of its store and its index in turn. What was acknowledged is found afterwards, whole;
//! what was deleted is gone; nothing is half there.

use crate::support::{World, embedding_world, id, paragraphs};
use serde_json::{Value, json};

/// More operations than anything here takes.
const OPERATIONS_MAX: u64 = 2_000;

/// Which of the two crashes.
#[derive(Debug, Clone, Copy)]
enum Dies {
    Store,
    Shelf,
}

fn crash(world: &World, dies: Dies, after: u64) {
    match dies {
        Dies::Store => world.store.crash_after(after),
        Dies::Shelf => world.shelf.crash_after(after),
    }
}

/// Mends both; whether one had crashed.
fn mend(world: &World) -> bool {
    let (store, shelf) = (world.store.mend(), world.shelf.mend());
    store || shelf
}

/// For each number of operations until there are more than it takes: a world made by `make`, in which `act` crashes after so
/// many, and which `check` looks at.
fn at_each_operation<T>(
    make: impl Fn() -> (World, T),
    act: impl Fn(&World, &T),
    check: impl Fn(&World, &T, u64),
) {
    for dies in [Dies::Store, Dies::Shelf] {
        let mut crashes = 0;
        for after in 0..OPERATIONS_MAX {
            let (world, made) = make();
            crash(&world, dies, after);
            act(&world, &made);
            if !mend(&world) {
                break;
            }
            crashes += 1;
            check(&world, &made, after);
        }
        assert!(
            (crashes > 0 || matches!(dies, Dies::Shelf)) && crashes < OPERATIONS_MAX,
            "{dies:?}: {crashes}"
        );
    }
}

fn strategy() -> Value {
    json!({"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}})
}

/// A world with a vector store to which a file was added, and the work that takes it in.
fn added() -> (World, (String, String, String)) {
    let world = embedding_world();
    let store = world.create_store(&[]);
    let names: Vec<String> = (0..70).map(|number| format!("topic{number}")).collect();
    let text = paragraphs(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let file = world.upload("a.md", &text);
    let body = json!({"file_id": file, "chunking_strategy": strategy()});
    world.json("POST", &format!("/v1/vector_stores/{store}/files"), &body, 200);
    let work = world.platform.queue.borrow_mut().pop_front().unwrap();
    (world, (store, file, work))
}

/// Checks that the file is in the vector store, each of its chunks once, and that nothing else is left of taking it in.
fn check_whole(world: &World, store: &str, file: &str, after: u64) {
    assert_eq!(world.counts(store), [0, 1, 0, 0], "after {after}");
    let content = world.get(&format!("/v1/vector_stores/{store}/files/{file}/content"));
    let texts: Vec<&str> =
        content["data"].as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 70, "after {after}");
    for (number, text) in texts.iter().enumerate() {
        assert!(text.contains(&format!("The topic{number} is")), "after {after}: {text}");
    }
    let chunks: Vec<String> =
        world.keys("vector_store/").into_iter().filter(|key| key.contains("/chunks/")).collect();
    assert_eq!(chunks, [""; 0], "after {after}");
}

#[test]
fn a_file_is_taken_in_whole_wherever_that_was_interrupted() {
    at_each_operation(
        added,
        |world, (_, _, work)| {
            world.deliver_once(work, false);
        },
        |world, (store, file, work), after| {
            let found = world.search(store, "topic42");
            let status = world.status(store, file);
            assert!(
                found.is_empty() || found.iter().any(|(_, text)| text.contains("The topic42 is")),
                "{after}"
            );
            assert!(status != "completed" || !found.is_empty(), "after {after}: completed and not found");
            // The host delivers it again, and whatever else was queued.
            assert!(world.deliver(work), "after {after}");
            world.drain();
            check_whole(world, store, file, after);
        },
    );
}

#[test]
fn an_addition_that_was_interrupted_can_be_made_again() {
    at_each_operation(
        || {
            let (world, (store, ..)) = added();
            world.drain();
            let file = world.upload("b.md", "another");
            (world, (store, file))
        },
        |world, (store, file)| {
            let body = json!({"file_id": file});
            world.exchange("POST", &format!("/v1/vector_stores/{store}/files"), &body);
        },
        |world, (store, file), after| {
            world.drain();
            world.pass_s(100);
            let body = json!({"file_id": file});
            world.json("POST", &format!("/v1/vector_stores/{store}/files"), &body, 200);
            world.get(&format!("/v1/vector_stores/{store}"));
            world.drain();
            world.pass_s(100);
            world.get(&format!("/v1/vector_stores/{store}"));
            world.drain();
            assert_eq!(world.status(store, file), "completed", "after {after}");
            let listed = world.get(&format!("/v1/vector_stores/{store}/files"));
            let ids: Vec<String> = listed["data"].as_array().unwrap().iter().map(id).collect();
            assert_eq!(ids.iter().filter(|id| *id == file).count(), 1, "after {after}");
        },
    );
}

#[test]
fn a_file_that_was_removed_is_gone_wherever_that_was_interrupted() {
    at_each_operation(
        || {
            let (world, (store, file, work)) = added();
            world.deliver(&work);
            world.drain();
            (world, (store, file))
        },
        |world, (store, file)| {
            let path = format!("/v1/vector_stores/{store}/files/{file}");
            world.exchange("DELETE", &path, &Value::Null);
            world.drain();
        },
        |world, (store, file), after| {
            let path = format!("/v1/vector_stores/{store}/files/{file}");
            let again = world.exchange("DELETE", &path, &Value::Null).status;
            assert!(again == 200 || again == 404, "after {after}: {again}");
            world.pass_s(100);
            world.get(&format!("/v1/vector_stores/{store}"));
            world.drain();
            assert_eq!(world.counts(store), [0, 0, 0, 0], "after {after}");
            assert_eq!(world.search(store, "topic42"), [], "after {after}");
            let left = world.keys(&format!("vector_store/{}/file/", &store[3..]));
            assert_eq!(left, [""; 0], "after {after}");
        },
    );
}

#[test]
fn an_upload_that_was_interrupted_leaves_nothing_that_stays() {
    let fields = [("purpose", "assistants")];
    let bytes = vec![b'x'; 600_000];
    let form = crate::support::form(&fields, Some(("a.txt", &bytes)));
    let mut crashes = 0;
    for after in 0..OPERATIONS_MAX {
        let world = embedding_world();
        world.upload("same.txt", &"x".repeat(600_000));
        let before = world.keys("file/").len();
        world.store.crash_after(after);
        let reply = world.send_form(&form, 64 << 10, false);
        if !world.store.mend() {
            break;
        }
        crashes += 1;
        assert_eq!(reply.status, 500, "after {after}");
        world.pass_s(3601);
        let other = world.upload("other.txt", "another text");
        world.json("DELETE", &format!("/v1/files/{other}"), &Value::Null, 200);
        assert_eq!(world.keys("file/").len(), before, "after {after}: {:?}", world.keys("file/"));
        assert_eq!(world.get("/v1/files")["data"].as_array().unwrap().len(), 1);
        let content = world.get("/v1/files")["data"][0].clone();
        let content = world.exchange("GET", &format!("/v1/files/{}/content", id(&content)), &Value::Null);
        assert_eq!(content.body.len(), 600_000, "after {after}");
    }
    assert!(crashes > 5, "{crashes}");
}

#[test]
fn a_deletion_that_was_interrupted_goes_on_when_it_is_asked_for_again() {
    at_each_operation(
        || {
            let (world, (store, file, work)) = added();
            world.deliver(&work);
            world.drain();
            (world, (store, file))
        },
        |world, (_, file)| {
            world.exchange("DELETE", &format!("/v1/files/{file}"), &Value::Null);
        },
        |world, (store, file), after| {
            let again = world.exchange("DELETE", &format!("/v1/files/{file}"), &Value::Null).status;
            assert!(again == 200 || again == 404, "after {after}: {again}");
            world.pass_s(100);
            world.get(&format!("/v1/vector_stores/{store}"));
            world.drain();
            assert_eq!(world.keys("file/"), [""; 0], "after {after}");
            assert_eq!(world.search(store, "topic42"), [], "after {after}");
        },
    );
}

#[test]
fn a_vector_store_that_was_deleted_is_gone_wherever_that_was_interrupted() {
    at_each_operation(
        || {
            let (world, (store, _, work)) = added();
            world.deliver(&work);
            world.drain();
            world.json("DELETE", &format!("/v1/vector_stores/{store}"), &Value::Null, 200);
            let work = world.platform.queue.borrow_mut().pop_front().unwrap();
            (world, (store, work))
        },
        |world, (_, work)| {
            world.deliver_once(work, false);
        },
        |world, (store, work), after| {
            world.json("GET", &format!("/v1/vector_stores/{store}"), &Value::Null, 404);
            assert!(world.deliver(work), "after {after}");
            world.drain();
            assert_eq!(world.keys("vector_store/"), [""; 0], "after {after}");
            assert_eq!(world.get("/v1/vector_stores")["data"], json!([]), "after {after}");
        },
    );
}

#[test]
fn a_change_of_model_comes_to_its_end_wherever_it_was_interrupted() {
    at_each_operation(
        || {
            let (world, (store, file, work)) = added();
            world.deliver(&work);
            world.drain();
            world.set("embedding_model", "long");
            world.pass_s(61);
            world.search(&store, "topic1");
            (world, (store, file))
        },
        |world, _| {
            let work: Vec<String> = world.platform.queue.borrow().iter().cloned().collect();
            for path in work {
                world.deliver_once(&path, false);
            }
        },
        |world, (store, file), after| {
            assert_eq!(world.counts(store), [0, 1, 0, 0], "after {after}");
            world.drain();
            world.pass_s(61);
            world.search(store, "topic1");
            world.drain();
            let shown = world.get(&format!("/v1/vector_stores/{store}"));
            assert_eq!(shown["waggle_embedding_model"], "long", "after {after}");
            check_whole(world, store, file, after);
        },
    );
}
