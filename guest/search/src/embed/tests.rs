//! Tests of the embedder.

use super::*;
use crate::testing::{DIMENSIONS, World, vector_of, world};
use futures::executor::block_on;

fn embed(world: &World, texts: &[&str]) -> Result<Vec<Vec<f32>>, SearchFailure> {
    let settings = world.settings();
    block_on(world.searcher(&settings).embedder().embed(texts))
}

fn embed_queries(world: &World, texts: &[&str]) -> Vec<Vec<f32>> {
    let settings = world.settings();
    block_on(world.searcher(&settings).embedder().embed_queries(texts)).unwrap()
}

/// No call.
const NONE: [usize; 0] = [];

/// How many texts were embedded by each call of the model since the last look.
fn calls(world: &World) -> Vec<usize> {
    let inputs = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).unwrap()["input"].clone();
    let requests = world.model.requests.take();
    requests.iter().map(|one| inputs(one.body.as_deref().unwrap()).as_array().unwrap().len()).collect()
}

#[test]
fn texts_become_vectors_of_length_1_in_their_order() {
    let world = world();
    for in_decimals in [false, true] {
        world.model.in_decimals.set(in_decimals);
        let name = if in_decimals { "decimal" } else { "base64" };
        let vectors = embed(&world, &["red fox", name, "red fox"]).unwrap();
        assert_eq!((vectors.len(), &vectors[0]), (3, &vectors[2]));
        let expected = vector::normalised(vector_of("red fox")).unwrap();
        assert!((cosine(&vectors[0], &expected) - 1.0).abs() < 1e-5);
        assert!((cosine(&vectors[1], &vectors[1]) - 1.0).abs() < 1e-5);
    }
    assert_eq!(calls(&world), [2, 1], "a text is embedded once, in one call and in the next");
}

#[test]
fn a_batch_has_so_many_texts_as_the_variable_says() {
    let world = world();
    world.platform.set("embedding_batch_max", "2");
    let texts: Vec<String> = (0..5).map(|number| format!("text {number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(embed(&world, &texts).unwrap().len(), 5);
    assert_eq!(calls(&world), [2, 2, 1]);
    assert_eq!(embed(&world, &texts).unwrap().len(), 5);
    assert_eq!(calls(&world), NONE);
}

#[test]
fn what_was_embedded_before_a_failure_is_not_embedded_again() {
    let world = world();
    world.platform.set("embedding_batch_max", "1");
    embed(&world, &["a"]).unwrap();
    world.model.answers(500, "{}");
    assert!(embed(&world, &["a", "b"]).is_err());
    calls(&world);
    embed(&world, &["a", "b", "c"]).unwrap();
    assert_eq!(calls(&world), [1, 1]);
}

#[test]
fn queries_are_remembered_by_the_instance_and_by_the_store() {
    let world = world();
    let first = embed_queries(&world, &["q", "r"]);
    assert_eq!(calls(&world), [2]);
    world.store.operations();
    assert_eq!(embed_queries(&world, &["r", "q"]), [first[1].clone(), first[0].clone()]);
    assert!(world.store.operations().is_empty(), "the instance remembers");
    let elsewhere = world.elsewhere();
    let again = embed_queries(&elsewhere, &["q"]);
    assert!((cosine(&again[0], &first[0]) - 1.0).abs() < 1e-5);
    assert_eq!(calls(&world), NONE, "the store remembers");
    let mixed = embed_queries(&elsewhere, &["q", "new", "r"]);
    assert_eq!((mixed.len(), calls(&world)), (3, vec![1]));
    assert!(
        mixed
            .iter()
            .zip([&first[0], &first[0], &first[1]])
            .enumerate()
            .all(|(place, (one, other))| { place == 1 || (cosine(one, other) - 1.0).abs() < 1e-5 })
    );
}

#[test]
fn a_store_that_fails_costs_the_cache_only() {
    let world = world();
    for operation in ["get_many", "set_many"] {
        world.store.fail(Some(operation));
        assert_eq!(embed(&world, &["x", operation]).unwrap().len(), 2, "{operation}");
        let lines = world.platform.log_lines();
        assert!(lines.iter().any(|line| line.contains("cache of embeddings")), "{lines:?}");
    }
    world.store.fail(None);
    world.store.fill(true);
    assert_eq!(embed(&world, &["z"]).unwrap().len(), 1);
}

#[test]
fn an_endpoint_without_base64_is_asked_for_numbers() {
    let world = world();
    world.model.answers(400, r#"{"error":{"message":"encoding_format must be float"}}"#);
    world.model.in_decimals.set(true);
    assert_eq!(embed(&world, &["x"]).unwrap().len(), 1);
    assert_eq!(calls(&world).len(), 2);
}

#[test]
fn what_a_model_must_not_give_is_refused() {
    let world = world();
    for (body, told) in [
        (r#"{"data":[]}"#, "0 vectors for 2 texts"),
        (r#"{"data":[{"embedding":[1]},{"embedding":[1,2]}]}"#, "came together"),
        (r#"{"data":[{"embedding":[1]},{"embedding":[0]}]}"#, "no direction"),
        (r#"{"data":[{"embedding":[]},{"embedding":[]}]}"#, "0 numbers"),
        ("<html>", "expected value"),
    ] {
        world.model.answers(200, body);
        let failure = embed(&world, &["x", "y"]).unwrap_err();
        assert!(failure.to_string().contains(told), "{body}: {failure}");
        assert_eq!(failure.to_api_error().status, 502, "{failure}");
    }
    world.platform.set("embedding_dimensions", "3");
    world.model.answers(200, r#"{"data":[{"embedding":[1,2]}]}"#);
    assert!(embed(&world, &["x"]).unwrap_err().to_string().contains("'embedding_dimensions' asks for 3"));
}

#[test]
fn the_length_of_vectors_is_seen_once() {
    let world = world();
    let dimensions = |world: &World| {
        let settings = world.settings();
        block_on(world.searcher(&settings).embedder().dimensions()).unwrap()
    };
    assert_eq!(dimensions(&world), DIMENSIONS as u32);
    assert_eq!(calls(&world), [1]);
    assert_eq!(dimensions(&world), DIMENSIONS as u32);
    assert_eq!(calls(&world), NONE);
    world.platform.set("embedding_model", "other");
    assert_eq!(dimensions(&world), DIMENSIONS as u32);
    assert_eq!(calls(&world), [1], "another model is looked at anew");
    world.platform.set("embedding_dimensions", "5");
    assert_eq!(dimensions(&world), 5);
    assert_eq!(calls(&world), NONE);
}

#[test]
fn vectors_for_an_index_are_as_long_as_its_own() {
    let world = world();
    let settings = world.settings();
    let model =
        |name: &str, dimensions| EmbeddingModel { name: name.to_owned(), dimensions: Some(dimensions) };
    let embed_for = |model: &EmbeddingModel| {
        block_on(world.searcher(&settings).embedder().with_model(model).embed(&["red fox"]))
    };
    let asked_dimensions = || {
        let request = world.model.requests.take().pop().unwrap();
        let body: serde_json::Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
        body.get("dimensions").cloned()
    };
    assert_eq!(embed_for(&model("e", DIMENSIONS as u32)).unwrap()[0].len(), DIMENSIONS);
    assert_eq!(asked_dimensions(), None, "only the variable asks for a length");
    assert_eq!(embed_for(&model("old", 4)).unwrap()[0].len(), 4);
    assert_eq!(asked_dimensions(), None);
    assert!(embed_for(&model("old", 400)).unwrap_err().to_string().contains("400"));
    let dimensions = |model: &EmbeddingModel| {
        block_on(world.searcher(&settings).embedder().with_model(model).dimensions()).unwrap()
    };
    assert_eq!(dimensions(&model("old", 4)), 4);
}

#[test]
fn without_a_model_nothing_is_embedded() {
    let world = world();
    world.platform.set("embedding_model", "");
    assert!(matches!(embed(&world, &["x"]), Err(SearchFailure::NoEmbeddingModel)));
}
