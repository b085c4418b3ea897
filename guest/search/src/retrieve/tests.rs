//! Tests of what stands behind the routes of retrieval: the answer cache above all.

use super::*;
use crate::rewrite::Said;
use crate::search::Searched;
use crate::testing::{NAMES, World, completion, world};
use futures::executor::block_on;
use futures::future::join;

const QUESTION: &str = "When does the grey owl hunt?";

fn cached_world() -> (World, Searched) {
    let world = world();
    world.platform.set("answer_cache", "on");
    let index = world.index("a", true, &[("owl", &["the grey owl hunts at night"]), ("cod", &["cod swim"])]);
    (world, index)
}

fn request(index: &Searched, question: &str) -> RetrieveRequest {
    let search = SearchRequest {
        indexes: vec![index.clone()],
        queries: vec![question.to_owned()],
        ..SearchRequest::default()
    };
    RetrieveRequest { search, prompt_version: Some("p1".to_owned()), extractive: true, uncounted: false }
}

fn retrieve(world: &World, request: &RetrieveRequest) -> Retrieved {
    let settings = world.settings();
    block_on(world.searcher(&settings).retrieve(&NAMES, request)).unwrap()
}

fn keep(world: &World, key: &str, text: &str) -> bool {
    let settings = world.settings();
    let data = vec![serde_json::value::to_raw_value(&serde_json::json!({"file_id": "owl"})).unwrap()];
    block_on(world.searcher(&settings).keep_answer(key, text, data)).unwrap()
}

/// Has a question answered, and keeps the answer.
fn answer(world: &World, request: &RetrieveRequest) {
    let retrieved = retrieve(world, request);
    assert!(retrieved.cached.is_none());
    assert!(keep(world, &retrieved.answer_key.unwrap(), "At night [1]."));
}

fn cached(world: &World, request: &RetrieveRequest) -> Option<String> {
    retrieve(world, request).cached.map(|cached| cached.text)
}

#[test]
fn a_question_like_one_that_was_answered_gets_that_answer() {
    let (world, index) = cached_world();
    answer(&world, &request(&index, QUESTION));
    world.platform.passed_ms.set(7_500);
    let retrieved = retrieve(&world, &request(&index, "when does the  GREY owl hunt"));
    let given = retrieved.cached.as_ref().unwrap();
    assert_eq!((given.text.as_str(), given.age_s, given.question.as_str()), ("At night [1].", 7, QUESTION));
    assert_eq!(given.data[0].get(), r#"{"file_id":"owl"}"#);
    assert!(
        retrieved.passed_threshold() && retrieved.answer.results.is_empty() && retrieved.answer_key.is_none()
    );
    assert_eq!(cached(&world, &request(&index, "What do cod eat?")), None);
}

#[test]
fn a_hit_costs_a_read_of_the_store() {
    let (world, index) = cached_world();
    answer(&world, &request(&index, QUESTION));
    world.store.operations();
    world.model.requests.take();
    assert!(cached(&world, &request(&index, QUESTION)).is_some());
    assert_eq!(world.store.operations(), ["get 1"]);
    assert!(world.model.paths().is_empty());
}

#[test]
fn what_changes_makes_answers_void() {
    let (world, index) = cached_world();
    answer(&world, &request(&index, QUESTION));
    let other_prompt = RetrieveRequest { prompt_version: Some("p2".to_owned()), ..request(&index, QUESTION) };
    assert_eq!(cached(&world, &other_prompt), None, "the prompt");
    let mut other_search = request(&index, QUESTION);
    other_search.search.results_max = Some(3);
    assert_eq!(cached(&world, &other_search), None, "how is searched");
    world.platform.set("search_top_k", "4");
    assert_eq!(cached(&world, &request(&index, QUESTION)), None, "the settings");
    world.platform.set("search_top_k", "5");
    assert!(cached(&world, &request(&index, QUESTION)).is_some());
    world.publish("a", true, "cod", 2, &["cod swim deep"]);
    assert_eq!(cached(&world, &request(&index, QUESTION)), None, "the documents");
}

#[test]
fn an_answer_has_its_time() {
    let (world, index) = cached_world();
    world.platform.set("answer_cache_ttl_s", "100");
    answer(&world, &request(&index, QUESTION));
    world.platform.passed_ms.set(99_000);
    assert!(cached(&world, &request(&index, QUESTION)).is_some());
    world.platform.passed_ms.set(101_000);
    assert_eq!(cached(&world, &request(&index, QUESTION)), None);
}

#[test]
fn an_answer_by_what_is_no_longer_known_is_not_kept() {
    let (world, index) = cached_world();
    let key = retrieve(&world, &request(&index, QUESTION)).answer_key.unwrap();
    world.publish("a", true, "owl", 2, &["the grey owl hunts at noon"]);
    assert!(!keep(&world, &key, "At night [1]."));
    assert_eq!(cached(&world, &request(&index, QUESTION)), None);
}

#[test]
fn only_who_was_given_a_key_may_keep_and_only_once() {
    let (world, index) = cached_world();
    let key = retrieve(&world, &request(&index, QUESTION)).answer_key.unwrap();
    let guessed = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { "1" } else { "0" });
    for wrong in ["", "x", guessed.as_str()] {
        assert!(!keep(&world, wrong, "Never [1]."), "{wrong}");
    }
    assert!(keep(&world, &key, "At night [1]."));
    assert!(!keep(&world, &key, "Never [1]."), "it holds once");
    assert_eq!(cached(&world, &request(&index, QUESTION)).as_deref(), Some("At night [1]."));
}

#[test]
fn a_key_holds_for_a_minute() {
    let (world, index) = cached_world();
    let key = retrieve(&world, &request(&index, QUESTION)).answer_key.unwrap();
    world.platform.passed_ms.set(60_000);
    assert!(!keep(&world, &key, "At night [1]."));
    assert!(retrieve(&world, &request(&index, QUESTION)).answer_key.is_some(), "another may answer then");
}

#[test]
fn what_is_empty_or_too_long_is_not_kept() {
    let (world, index) = cached_world();
    for text in [" ".to_owned(), "x".repeat(TEXT_BYTES_MAX + 1)] {
        let key = retrieve(&world, &request(&index, QUESTION)).answer_key.unwrap();
        assert!(!keep(&world, &key, &text));
    }
}

#[test]
fn of_many_who_ask_the_same_at_once_one_has_it_answered() {
    let (world, index) = cached_world();
    let key = retrieve(&world, &request(&index, QUESTION)).answer_key.unwrap();
    let settings = world.settings();
    let elsewhere = world.elsewhere();
    let searcher = elsewhere.searcher(&settings);
    let asked = request(&index, QUESTION);
    let waiting = searcher.retrieve(&NAMES, &asked);
    let answering = async {
        world.platform_sleeps(500).await;
        let data = Vec::new();
        world.searcher(&settings).keep_answer(&key, "At night.", data).await.unwrap()
    };
    let (waited, kept) = block_on(join(waiting, answering));
    assert!(kept);
    assert_eq!(waited.unwrap().cached.map(|cached| cached.text).as_deref(), Some("At night."));
}

#[test]
fn who_waits_for_too_long_goes_on_alone() {
    let (world, index) = cached_world();
    let _key = retrieve(&world, &request(&index, QUESTION)).answer_key.unwrap();
    let before = world.platform.passed_ms.get();
    let retrieved = retrieve(&world, &request(&index, QUESTION));
    assert!(
        retrieved.cached.is_none() && retrieved.answer_key.is_none() && !retrieved.answer.results.is_empty()
    );
    let waited = world.platform.passed_ms.get() - before;
    assert!((2_000..3_000).contains(&waited), "{waited}");
    world.platform.set("answer_cache_wait_ms", "0");
    retrieve(&world, &request(&index, QUESTION));
    assert_eq!(world.platform.passed_ms.get() - before, waited);
}

#[test]
fn what_was_said_in_a_conversation_stays_there() {
    let (world, index) = cached_world();
    let mut in_conversation = request(&index, QUESTION);
    in_conversation.search.conversation = vec![Said { by_user: true, text: "I am Ann.".to_owned() }];
    assert!(retrieve(&world, &in_conversation).answer_key.is_none(), "its answer is not kept");
    answer(&world, &request(&index, QUESTION));
    assert!(cached(&world, &in_conversation).is_some(), "but it may be answered from the cache");
    let mut follow_up = in_conversation.clone();
    follow_up.search.queries = vec!["When does it hunt?".to_owned()];
    assert_eq!(cached(&world, &follow_up), None, "not if it says too little alone");
    world.platform.set("rewrite_model", "w");
    world.model.answers(200, &completion(QUESTION));
    assert!(cached(&world, &follow_up).is_some(), "and then again if it was rewritten");
}

#[test]
fn the_cache_is_asked_only_where_it_is_wanted() {
    let (world, index) = cached_world();
    let unasked = RetrieveRequest { prompt_version: None, ..request(&index, QUESTION) };
    assert!(retrieve(&world, &unasked).answer_key.is_none());
    let mut several = request(&index, QUESTION);
    several.search.queries.push("What do cod eat?".to_owned());
    assert!(retrieve(&world, &several).answer_key.is_none());
    world.platform.set("answer_cache", "off");
    assert!(retrieve(&world, &request(&index, QUESTION)).answer_key.is_none());
    world.platform.set("answer_cache", "on");
    world.platform.set("embedding_model", "");
    let lexical = Searched { embedding: None, ..index };
    assert!(retrieve(&world, &request(&lexical, QUESTION)).answer_key.is_none());
}

#[test]
fn a_cache_that_fails_is_no_cache() {
    let (world, index) = cached_world();
    let retrieved = retrieve(&world, &request(&index, QUESTION));
    assert!(retrieved.answer_key.is_some());
    world.store.fail(Some("get"));
    let retrieved = retrieve(&world, &request(&index, QUESTION));
    assert!(retrieved.answer_key.is_none() && !retrieved.answer.results.is_empty());
    assert!(world.platform.log_lines().iter().any(|line| line.contains("the answer cache")));
}

#[test]
fn the_oldest_answer_makes_room() {
    let (world, index) = cached_world();
    world.platform.set("answer_cache_entries_max", "2");
    for (at_ms, question) in ["grey owl", "cod swim", "owl night"].iter().enumerate() {
        world.platform.passed_ms.set(at_ms as u64);
        answer(&world, &request(&index, question));
    }
    let entries = world.store.dump().into_keys().filter(|key| key.starts_with("answer/entry/")).count();
    assert_eq!(entries, 2);
    assert_eq!(cached(&world, &request(&index, "grey owl")), None);
    assert!(cached(&world, &request(&index, "cod swim")).is_some());
    assert!(cached(&world, &request(&index, "owl night")).is_some());
}

#[test]
fn answers_of_another_model_go_with_their_index() {
    let (world, index) = cached_world();
    answer(&world, &request(&index, QUESTION));
    world.platform.set("embedding_model", "newer");
    answer(&world, &request(&index, QUESTION));
    let names = block_on(waggle_index::Index::list_indexes(&world.index, None, 10)).unwrap();
    assert_eq!(names.iter().filter(|name| name.starts_with("answers.")).count(), 1, "{names:?}");
}

#[test]
fn where_nothing_is_found_it_is_said_as_the_tenant_chose() {
    let (world, index) = cached_world();
    world.platform.set("search_threshold", "0.95");
    let check = |question: &str, expected: &str, handover: bool| {
        let retrieved = retrieve(&world, &request(&index, question));
        assert!(
            !retrieved.passed_threshold() && retrieved.answer_key.is_none() && retrieved.extractive.is_none()
        );
        assert_eq!((retrieved.no_answer.as_deref(), retrieved.handover), (Some(expected), handover));
    };
    check("stock exchange", "Sorry, I found no answer to this in the documents I have.", false);
    check("股票交易所在哪里?", "抱歉,现有资料中没有找到这个问题的答案。", false);
    world.platform.set("no_answer", "handover");
    world.platform.set("no_answer_text", "Please hold.");
    check("stock exchange", "Please hold.", true);
    // Nobody waits for an answer that will not come.
    let before = world.platform.passed_ms.get();
    check("stock exchange", "Please hold.", true);
    assert_eq!(world.platform.passed_ms.get(), before);
}

#[test]
fn what_was_found_is_quoted() {
    let (world, index) = cached_world();
    let retrieved = retrieve(&world, &request(&index, QUESTION));
    assert_eq!(retrieved.extractive.as_deref(), Some("the grey owl hunts at night [1]"));
    assert_eq!((retrieved.no_answer, retrieved.handover), (None, false));
    let unasked = RetrieveRequest { extractive: false, ..request(&index, QUESTION) };
    assert_eq!(retrieve(&world, &unasked).extractive, None);
}

#[test]
fn what_is_asked_is_counted() {
    let (world, index) = cached_world();
    answer(&world, &request(&index, QUESTION));
    for _ in 0..3 {
        cached(&world, &request(&index, QUESTION));
    }
    retrieve(&world, &request(&index, "What do cod eat?"));
    // What is asked ahead of users is not asked by one.
    let ahead = |question: &str| RetrieveRequest { uncounted: true, ..request(&index, question) };
    retrieve(&world, &ahead(QUESTION));
    retrieve(&world, &ahead("Do cod hunt?"));
    let settings = world.settings();
    let frequent = block_on(world.searcher(&settings).frequent(5)).unwrap();
    let frequent: Vec<(&str, u64)> = frequent.iter().map(|one| (one.question.as_str(), one.count)).collect();
    assert_eq!(frequent, [(QUESTION, 4), ("What do cod eat?", 1)]);
    assert_eq!(block_on(world.searcher(&settings).frequent(1)).unwrap().len(), 1);
}
