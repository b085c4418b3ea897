//! Tests of the bodies.

use super::*;
use crate::answer_cache::CachedAnswer;
use crate::settings::SearchMode;
use crate::testing::found;
use serde_json::{Value, json};

fn read(body: &Value) -> Result<SearchBody, ApiError> {
    SearchBody::read(body.to_string().as_bytes(), SearchBodyKind::Retrieval)
}

#[test]
fn a_whole_body_is_read() {
    let body = read(&json!({
        "vector_store_ids": ["vs_1", "vs_2"],
        "query": "When?",
        "filters": {"type": "eq", "key": "k", "value": 1},
        "max_num_results": 7.0,
        "ranking_options": {"ranker": "none", "score_threshold": 0.25,
            "hybrid_search": {"embedding_weight": 2, "text_weight": 0.5}},
        "conversation": [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}],
        "answer_cache": {"prompt_version": "p1"},
        "extractive": false,
    }))
    .unwrap();
    assert_eq!(body.vector_store_ids, ["vs_1", "vs_2"]);
    let searched = Searched { store: "vs_1".to_owned(), index: "i".to_owned(), embedding: None };
    let RetrieveRequest { search, prompt_version, extractive, uncounted } = body.in_indexes(vec![searched]);
    assert_eq!((prompt_version.as_deref(), extractive, uncounted), (Some("p1"), false, false));
    assert!(read(&json!({"query": "q"})).unwrap().request.extractive);
    for (counted, uncounted) in [(json!(true), false), (json!(false), true), (Value::Null, false)] {
        let cache = json!({"prompt_version": "p1", "counted": counted});
        let request = read(&json!({"query": "q", "answer_cache": cache})).unwrap().request;
        assert_eq!(request.uncounted, uncounted, "{counted}");
    }
    assert_eq!((search.queries.as_slice(), search.results_max), (["When?".to_owned()].as_slice(), Some(7)));
    assert_eq!((search.filter.len(), search.indexes.len(), search.rewrite), (1, 1, None));
    let weights = Some(Weights { text: 0.5, vector: 2.0 });
    assert_eq!(search.ranking, Ranking { rerank: false, threshold: Some(0.25), weights });
    let said: Vec<(bool, &str)> =
        search.conversation.iter().map(|said| (said.by_user, &*said.text)).collect();
    assert_eq!(said, [(true, "a"), (false, "b")]);
}

#[test]
fn openais_search_has_its_own_defaults_and_fields() {
    let read = |body: &Value| SearchBody::read(body.to_string().as_bytes(), SearchBodyKind::VectorStore);
    let search = read(&json!({"query": ["a", "b"]})).unwrap().request.search;
    assert_eq!((search.queries.len(), search.rewrite, search.ranking.threshold), (2, Some(false), Some(0.0)));
    let search =
        read(&json!({"query": "a", "rewrite_query": true, "filters": null, "ranking_options": null}));
    assert_eq!(search.unwrap().request.search.rewrite, Some(true));
    for field in ["vector_store_ids", "conversation", "answer_cache", "extractive"] {
        let error = read(&json!({"query": "a", field: []})).unwrap_err();
        assert_eq!((error.code, error.param.as_deref()), (Some("unknown_parameter"), Some(field)));
    }
}

#[test]
fn a_mistake_is_told_by_its_field() {
    let check = |body: Value, param: &str| {
        let error = read(&body).unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{body}: {error}");
    };
    check(json!({}), "query");
    check(json!({"query": 1}), "query");
    check(json!({"query": ""}), "query");
    check(json!({"query": []}), "query");
    check(json!({"query": vec!["q"; 9]}), "query");
    check(json!({"query": "q", "x": 1}), "x");
    check(json!({"query": "q", "max_num_results": 0}), "max_num_results");
    check(json!({"query": "q", "max_num_results": "5"}), "max_num_results");
    check(json!({"query": "q", "max_num_results": 5.5}), "max_num_results");
    check(json!({"query": "q", "max_num_results": 51.0}), "max_num_results");
    check(json!({"query": "q", "filters": {"type": "x"}}), "filters.type");
    check(json!({"query": "q", "vector_store_ids": vec!["v"; 17]}), "vector_store_ids");
    check(json!({"query": "q", "vector_store_ids": ["v", 1]}), "vector_store_ids[1]");
    check(json!({"query": "q", "conversation": [{"role": "system", "text": "x"}]}), "conversation[0]");
    check(json!({"query": "q", "ranking_options": {"ranker": "best"}}), "ranking_options.ranker");
    check(json!({"query": "q", "ranking_options": {"x": 1}}), "ranking_options");
    check(
        json!({"query": "q", "ranking_options": {"score_threshold": 2}}),
        "ranking_options.score_threshold",
    );
    let hybrid = json!({"embedding_weight": 0, "text_weight": 0});
    check(
        json!({"query": "q", "ranking_options": {"hybrid_search": hybrid}}),
        "ranking_options.hybrid_search",
    );
    check(json!({"query": "q", "answer_cache": {}}), "answer_cache");
    let long = json!({"prompt_version": "p".repeat(129)});
    check(json!({"query": "q", "answer_cache": long}), "answer_cache.prompt_version");
}

#[test]
fn an_answer_to_be_kept_is_read() {
    let body = json!({"answer_key": "k", "text": "t [1]", "sources": [{"file_id": "f"}]}).to_string();
    let read = AnswerBody::read(body.as_bytes()).unwrap();
    assert_eq!((&*read.answer_key, &*read.text, read.sources[0].get()), ("k", "t [1]", r#"{"file_id":"f"}"#));
    let many = json!({"answer_key": "k", "text": "t", "sources": vec![1; 51]}).to_string();
    for body in ["", "{}", r#"{"answer_key":"k","text":"t","sources":[],"x":1}"#, many.as_str()] {
        assert_eq!(AnswerBody::read(body.as_bytes()).unwrap_err().status, 400, "{body:.60}");
    }
}

fn answer(results: Vec<Found>) -> SearchAnswer {
    SearchAnswer { queries: vec!["q".to_owned()], results, mode: SearchMode::Hybrid, rewritten: false }
}

#[test]
fn a_page_is_openais_with_more() {
    let attributes = vec![("k".to_owned(), waggle_index::Value::Text("v".to_owned()))];
    let result = Found { attributes, heading: "H".to_owned(), ..found("file-1", "text", 0.5) };
    let page: Value = serde_json::from_slice(&search_page(&answer(vec![result]))).unwrap();
    let entry = json!({"file_id": "file-1", "filename": "file-1.md", "score": 0.5, "attributes": {"k": "v"},
        "content": [{"type": "text", "text": "text"}], "vector_store_id": "vs_1", "waggle_heading": "H"});
    let expected = json!({"object": "vector_store.search_results.page", "search_query": ["q"], "data": [entry],
        "has_more": false, "next_page": null, "waggle": {"search": "hybrid", "rewritten": false}});
    assert_eq!(page, expected);
}

#[test]
fn a_page_of_retrieval_says_what_to_answer() {
    let retrieved = Retrieved {
        answer: answer(vec![found("file-1", "text", 0.5)]),
        no_answer: None,
        handover: false,
        cached: None,
        answer_key: Some("ak".to_owned()),
        extractive: Some("text [1]".to_owned()),
    };
    let told = |retrieved: &Retrieved| {
        serde_json::from_slice::<Value>(&retrieval_page(retrieved)).unwrap()["waggle"].clone()
    };
    let expected = json!({"search": "hybrid", "rewritten": false, "passed_threshold": true, "no_answer": null,
        "handover": false, "answer_key": "ak", "extractive": {"text": "text [1]"}});
    assert_eq!(told(&retrieved), expected);
    let nothing = Retrieved {
        answer: answer(Vec::new()),
        no_answer: Some("Sorry.".to_owned()),
        handover: true,
        answer_key: None,
        extractive: None,
        ..retrieved.clone()
    };
    let expected = json!({"search": "hybrid", "rewritten": false, "passed_threshold": false, "no_answer": "Sorry.",
        "handover": true, "extractive": null});
    assert_eq!(told(&nothing), expected);
    let data = vec![serde_json::value::to_raw_value(&json!({"file_id": "f"})).unwrap()];
    let cached = CachedAnswer { text: "t [1]".to_owned(), data, question: "q".to_owned(), age_s: 3 };
    let hit = Retrieved { cached: Some(cached), no_answer: None, handover: false, ..nothing };
    let expected = json!({"search": "hybrid", "rewritten": false, "passed_threshold": true, "no_answer": null,
        "handover": false, "cached_answer": {"text": "t [1]", "data": [{"file_id": "f"}], "age_s": 3},
        "extractive": null});
    assert_eq!(told(&hit), expected);
}
