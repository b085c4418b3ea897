//! The embedding model of a vector store, and what happens when another is configured.

use crate::support::{World, embedding_world, world};
use serde_json::{Value, json};

fn shown(world: &World, store: &str) -> (Value, Value) {
    let shown = world.get(&format!("/v1/vector_stores/{store}"));
    (shown["waggle_search"].clone(), shown["waggle_embedding_model"].clone())
}

/// A vector store of three files, all taken in.
fn filled(world: &World) -> (String, Vec<String>) {
    let files: Vec<String> =
        ["bees", "wasps", "ants"].iter().map(|name| world.upload(name, &format!("about {name}"))).collect();
    let store = world.create_store(&files.iter().map(String::as_str).collect::<Vec<_>>());
    world.drain();
    assert_eq!(world.counts(&store), [0, 3, 0, 0]);
    (store, files)
}

/// The names of the indexes there are.
fn indexes(world: &World) -> Vec<String> {
    let dump = world.shelf.inner.dump();
    let catalogues = dump.iter().filter(|(key, _)| key.starts_with("vector/catalogue/"));
    let names = catalogues.flat_map(|(_, value)| {
        let catalogue: Value = serde_json::from_slice(value).unwrap();
        catalogue["indexes"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    });
    names.filter(|name| name.starts_with("vs_")).collect()
}

/// Has somebody look, so that the change is noticed.
fn notice(world: &World, store: &str) {
    world.pass_s(61);
    world.search(store, "bees");
}

#[test]
fn another_model_embeds_all_anew_and_takes_over_at_once() {
    let world = embedding_world();
    let (store, _) = filled(&world);
    assert_eq!(shown(&world, &store), (json!("hybrid"), json!("short")));
    world.set("embedding_model", "long");
    notice(&world, &store);
    world.embedded();
    for _ in 0..100 {
        // Whatever is done, all of it is found, by one model or the other.
        assert_eq!(world.search(&store, "about bees").len(), 3);
        assert_eq!(world.counts(&store), [0, 3, 0, 0]);
        let Some(path) = world.platform.queue.borrow_mut().pop_front() else { break };
        assert!(world.deliver(&path));
    }
    assert_eq!(shown(&world, &store), (json!("hybrid"), json!("long")));
    assert_eq!(indexes(&world), [format!("{store}.2")]);
    let embedded = world.model.embedded.take();
    assert!(embedded.iter().any(|(model, text)| model == "long" && text == "about wasps"), "{embedded:?}");
}

#[test]
fn what_is_added_and_removed_meanwhile_is_in_the_new_index_as_it_should() {
    let world = embedding_world();
    let (store, files) = filled(&world);
    world.set("embedding_model", "long");
    notice(&world, &store);
    let late = world.upload("hornets", "about hornets");
    let path = format!("/v1/vector_stores/{store}/files");
    world.json("POST", &path, &json!({"file_id": late, "attributes": {"k": "v"}}), 200);
    world.json("DELETE", &format!("{path}/{}", files[0]), &Value::Null, 200);
    world.json("POST", &format!("{path}/{}", files[1]), &json!({"attributes": {"k": "w"}}), 200);
    world.drain();
    assert_eq!(world.counts(&store), [0, 3, 0, 0]);
    assert_eq!(shown(&world, &store).1, json!("long"));
    let mut found: Vec<String> = world.search(&store, "about").into_iter().map(|(file, _)| file).collect();
    found.sort();
    let mut expected = vec![files[1].clone(), files[2].clone(), late];
    expected.sort();
    assert_eq!(found, expected);
    let body = json!({"query": "about", "filters": {"type": "eq", "key": "k", "value": "w"}});
    let page = world.json("POST", &format!("/v1/vector_stores/{store}/search"), &body, 200);
    assert_eq!(page["data"][0]["file_id"], json!(files[1]));
}

#[test]
fn a_model_that_does_not_answer_does_not_take_over() {
    let world = embedding_world();
    let (store, _) = filled(&world);
    world.set("embedding_model", "absent");
    world.model.fails.replace(Some("absent".to_owned()));
    notice(&world, &store);
    world.drain();
    assert_eq!(shown(&world, &store), (json!("hybrid"), json!("short")));
    assert_eq!((world.counts(&store), world.search(&store, "bees").is_empty()), ([0, 3, 0, 0], false));
    // One that is taken back leaves nothing behind.
    world.set("embedding_model", "short");
    notice(&world, &store);
    world.drain();
    assert_eq!(indexes(&world), [format!("{store}.1")]);
}

#[test]
fn a_change_that_is_taken_back_or_followed_by_another_ends_with_the_last() {
    let world = embedding_world();
    let (store, _) = filled(&world);
    for (model, expected) in [("long", "short"), ("middle", "middle")] {
        world.set("embedding_model", "long");
        notice(&world, &store);
        let first = world.platform.queue.borrow_mut().pop_front().unwrap();
        world.deliver(&first);
        world.set("embedding_model", if model == "long" { "short" } else { model });
        notice(&world, &store);
        world.drain();
        notice(&world, &store);
        world.drain();
        assert_eq!(shown(&world, &store).1, json!(expected));
        assert_eq!(world.counts(&store), [0, 3, 0, 0]);
        assert_eq!(indexes(&world).len(), 1, "{:?}", indexes(&world));
        assert_eq!(world.search(&store, "about").len(), 3);
    }
}

#[test]
fn without_a_model_words_are_searched_and_with_one_vectors_as_well() {
    let world = world();
    let (store, _) = filled(&world);
    assert_eq!(shown(&world, &store), (json!("lexical"), Value::Null));
    assert!(world.embedded().is_empty());
    let body = json!({"query": "bees"});
    let page = world.json("POST", &format!("/v1/vector_stores/{store}/search"), &body, 200);
    assert_eq!(page["waggle"]["search"], "lexical");
    world.set("embedding_model", "short");
    notice(&world, &store);
    world.drain();
    assert_eq!(shown(&world, &store), (json!("hybrid"), json!("short")));
    let page = world.json("POST", &format!("/v1/vector_stores/{store}/search"), &body, 200);
    assert_eq!(page["waggle"]["search"], "hybrid");
    world.set("embedding_model", "");
    notice(&world, &store);
    world.drain();
    assert_eq!(shown(&world, &store), (json!("lexical"), Value::Null));
    assert_eq!(indexes(&world), [format!("{store}.3")]);
}
