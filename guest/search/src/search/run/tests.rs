//! Tests of searches.

use super::*;
use crate::rewrite::Said;
use crate::search::{Ranking, SearchAnswer, Searched};
use crate::settings::SearchMode;
use crate::testing::{NAMES, World, completion, world};
use futures::executor::block_on;
use serde_json::json;
use waggle_index::Fusion;

const ANIMALS: [(&str, &[&str]); 3] = [
    ("fox", &["the red fox runs", "a fox eats berries", "foxes sleep in dens"]),
    ("owl", &["the grey owl hunts at night"]),
    ("cod", &["cod swim in cold water"]),
];

fn ask(queries: &[&str], indexes: &[&Searched]) -> SearchRequest {
    SearchRequest {
        indexes: indexes.iter().map(|searched| (*searched).clone()).collect(),
        queries: queries.iter().map(|query| (*query).to_owned()).collect(),
        ..SearchRequest::default()
    }
}

fn try_search(world: &World, request: &SearchRequest) -> Result<SearchAnswer, SearchFailure> {
    let settings = world.settings();
    block_on(world.searcher(&settings).search(&NAMES, request))
}

fn search(world: &World, request: &SearchRequest) -> SearchAnswer {
    try_search(world, request).unwrap()
}

fn files(answer: &SearchAnswer) -> Vec<&str> {
    answer.results.iter().map(|found| found.file_id.as_str()).collect()
}

#[test]
fn words_and_vectors_find_together() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    let answer = search(&world, &ask(&["grey owl at night"], &[&animals]));
    assert_eq!((answer.mode, answer.rewritten), (SearchMode::Hybrid, false));
    let first = &answer.results[0];
    assert_eq!(
        (first.store.as_str(), first.file_id.as_str(), first.filename.as_str()),
        ("vs-a", "owl", "owl.md")
    );
    assert_eq!((first.text.as_str(), first.ordinals), ("the grey owl hunts at night", (0, 0)));
    assert!(answer.results.iter().all(|found| (0.0..=1.0).contains(&found.score)));
    assert_eq!(answer.results.len(), 5, "as many as search_top_k says");
}

#[test]
fn the_settings_say_what_is_fused_and_a_request_may_say_with_which_weights() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    let check = |fusion: &str, weights: Option<Weights>, expected: (Fusion, f32, f32)| {
        world.platform.set("search_fusion", fusion);
        world.platform.set("search_vector_weight", "3");
        let settings = world.settings();
        let ranking = Ranking { weights, ..Ranking::default() };
        let request = SearchRequest { ranking, ..ask(&["owl"], &[&animals]) };
        let all = plan(&request.indexes, settings.mode, true);
        let query = world.searcher(&settings).query(&request, &all[0], "owl", Some(vec![1.0]));
        assert_eq!((query.fusion, query.text_weight, query.vector_weight), expected);
    };
    check("", None, (Fusion::Scores, 1.0, 3.0));
    check("ranks", None, (Fusion::Ranks, 1.0, 3.0));
    let weights = Some(Weights { text: 0.5, vector: 2.0 });
    check("scores", weights, (Fusion::Scores, 0.5, 2.0));
    check("ranks", weights, (Fusion::Ranks, 0.5, 2.0));
}

#[test]
fn without_a_model_words_are_searched_and_it_is_said() {
    let world = world();
    world.platform.set("embedding_model", "");
    world.platform.set("search_threshold", "1");
    let animals = world.index("a", false, &ANIMALS);
    let answer = search(&world, &ask(&["grey owl"], &[&animals]));
    assert_eq!((answer.mode, files(&answer)), (SearchMode::Lexical, vec!["owl"]));
    assert!(world.model.paths().is_empty());
}

#[test]
fn a_mode_that_is_chosen_is_kept() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    world.platform.set("search_mode", "lexical");
    let answer = search(&world, &ask(&["owl"], &[&animals]));
    assert_eq!((answer.mode, files(&answer)), (SearchMode::Lexical, vec!["owl"]));
    assert!(world.model.paths().is_empty());
    world.platform.set("search_mode", "dense");
    let answer = search(&world, &ask(&["owl"], &[&animals]));
    assert_eq!((answer.mode, answer.results.len()), (SearchMode::Dense, 5));
}

#[test]
fn what_is_not_alike_enough_is_left_out() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    world.platform.set("search_threshold", "0.9");
    assert_eq!(files(&search(&world, &ask(&["the grey owl hunts at night"], &[&animals]))), ["owl"]);
    assert!(search(&world, &ask(&["stock exchange"], &[&animals])).results.is_empty());
    let anything = Ranking { threshold: Some(0.0), ..Ranking::default() };
    let request = SearchRequest { ranking: anything, ..ask(&["stock exchange"], &[&animals]) };
    assert!(!search(&world, &request).results.is_empty());
}

#[test]
fn several_indexes_are_one_even_where_only_one_has_vectors() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    let plants = world.index("p", false, &[("oak", &["an owl sits in the oak"])]);
    let answer = search(&world, &ask(&["owl"], &[&animals, &plants]));
    assert_eq!(answer.mode, SearchMode::Hybrid);
    let stores: Vec<&str> = answer.results.iter().map(|found| found.store.as_str()).collect();
    assert!(stores.contains(&"vs-a") && stores.contains(&"vs-p"), "{stores:?}");
}

#[test]
fn several_questions_find_together_each_chunk_once() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    let request = SearchRequest { results_max: Some(2), ..ask(&["grey owl hunts", "cod swim"], &[&animals]) };
    let answer = search(&world, &request);
    let mut found = files(&answer);
    found.sort_unstable();
    assert_eq!(found, ["cod", "owl"]);
    assert_eq!(answer.queries.len(), 2);
    assert_eq!(world.model.paths(), ["embeddings"], "both are embedded in one call");
}

#[test]
fn a_filter_chooses_among_files() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    let filter =
        serde_json::value::to_raw_value(&json!({"type": "eq", "key": "name", "value": "cod"})).unwrap();
    let filter = crate::filter::parse(&filter, "filters").unwrap();
    let request = SearchRequest { filter, ..ask(&["owl"], &[&animals]) };
    assert_eq!(files(&search(&world, &request)), ["cod"]);
}

#[test]
fn neighbours_are_joined() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    let request = SearchRequest {
        neighbours: Some(1),
        results_max: Some(1),
        ..ask(&["a fox eats berries"], &[&animals])
    };
    let answer = search(&world, &request);
    let first = &answer.results[0];
    assert_eq!((first.chunk.as_str(), first.ordinals), ("a fox eats berries", (0, 2)));
    assert_eq!(first.text, "the red fox runs\na fox eats berries\nfoxes sleep in dens");
}

#[test]
fn a_reranker_has_the_last_word() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    world.platform.set("rerank_model", "r");
    let request = SearchRequest { results_max: Some(1), ..ask(&["owl"], &[&animals]) };
    search_with_embedding(&world, &request);
    world.model.answers(
        200,
        r#"{"results":[{"index":1,"relevance_score":0.75},{"index":0,"relevance_score":0.25}]}"#,
    );
    let answer = search(&world, &request);
    assert_eq!(answer.results.len(), 1);
    assert_eq!(answer.results[0].score, 0.75);
    let asked = world.model.requests.take();
    let body: serde_json::Value = serde_json::from_slice(asked[0].body.as_deref().unwrap()).unwrap();
    assert_eq!((&body["model"], &body["query"]), (&json!("r"), &json!("owl")));
    assert_eq!(body["documents"][1], answer.results[0].text);
    assert_eq!(
        body["documents"].as_array().map(Vec::len),
        Some(5),
        "it chooses among more than are asked for"
    );
}

/// Embeds the question, so that the next call is the reranker's; that one fails.
fn search_with_embedding(world: &World, request: &SearchRequest) {
    let settings = world.settings();
    let queries: Vec<&str> = request.queries.iter().map(String::as_str).collect();
    block_on(world.searcher(&settings).embedder().embed_queries(&queries)).unwrap();
    world.model.answers(500, "{}");
    assert_eq!(search(world, request).results.len(), 1, "without it, results stay in their order");
    assert!(world.platform.log_lines().iter().any(|line| line.contains("not reranked")));
    world.model.requests.take();
}

#[test]
fn a_request_may_do_without_the_reranker() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    world.platform.set("rerank_model", "r");
    let ranking = Ranking { rerank: false, ..Ranking::default() };
    search(&world, &SearchRequest { ranking, ..ask(&["owl"], &[&animals]) });
    assert_eq!(world.model.paths(), ["embeddings"]);
}

fn follow_up(animals: &Searched) -> SearchRequest {
    let said = |by_user, text: &str| Said { by_user, text: text.to_owned() };
    let conversation = vec![said(true, "Tell me of owls."), said(false, "They are birds.")];
    SearchRequest { conversation, ..ask(&["When do they hunt?"], &[animals]) }
}

#[test]
fn a_follow_up_question_is_rewritten() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    world.platform.set("rewrite_model", "w");
    world.model.answers(200, &completion("When does the grey owl hunt?"));
    let answer = search(&world, &follow_up(&animals));
    assert_eq!(
        (answer.queries.as_slice(), answer.rewritten),
        (["When does the grey owl hunt?".to_owned()].as_slice(), true)
    );
    assert_eq!(files(&answer)[0], "owl");
    let stands_alone =
        SearchRequest { queries: vec!["When does the red fox run?".to_owned()], ..follow_up(&animals) };
    world.model.requests.take();
    assert!(!search(&world, &stands_alone).rewritten);
    assert_eq!(world.model.paths(), ["embeddings"], "no model is asked where none is needed");
    world.platform.set("search_rewrite", "off");
    assert!(!search(&world, &follow_up(&animals)).rewritten);
}

#[test]
fn a_question_that_is_not_rewritten_is_searched_as_it_is() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    assert!(!search(&world, &follow_up(&animals)).rewritten, "there is no model for it");
    world.platform.set("rewrite_model", "w");
    world.model.answers(500, "{}");
    let answer = search(&world, &follow_up(&animals));
    assert_eq!((answer.queries[0].as_str(), answer.rewritten), ("When do they hunt?", false));
    assert!(world.platform.log_lines().iter().any(|line| line.contains("not rewritten")));
}

#[test]
fn without_vectors_there_is_no_answer_rather_than_a_wrong_one() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    world.model.answers(0, "down");
    let failure = try_search(&world, &ask(&["owl"], &[&animals])).unwrap_err();
    assert_eq!(failure.to_api_error().code, Some("model_endpoint_unreachable"));
}

#[test]
fn vectors_of_the_model_before_are_searched_by_that_model() {
    let world = world();
    let animals = world.index("a", true, &ANIMALS);
    world.platform.set("embedding_model", "newer");
    world.platform.set("embedding_dimensions", "99");
    assert_eq!(files(&search(&world, &ask(&["grey owl hunts"], &[&animals])))[0], "owl");
    let asked = world.model.requests.take();
    let body: serde_json::Value = serde_json::from_slice(asked[0].body.as_deref().unwrap()).unwrap();
    assert_eq!((&body["model"], body.get("dimensions")), (&json!("e"), None));
}

#[test]
fn an_index_that_is_gone_is_told() {
    let world = world();
    let gone = Searched { store: "vs".to_owned(), index: "gone".to_owned(), embedding: None };
    let failure = try_search(&world, &ask(&["owl"], &[&gone])).unwrap_err();
    assert_eq!(failure.to_api_error().status, 404);
    assert!(search(&world, &ask(&["owl"], &[])).results.is_empty(), "where nothing is, nothing is found");
    assert_eq!(try_search(&world, &ask(&[], &[])).unwrap_err().to_api_error().status, 400);
}
