//! Searches: of one vector store, of several for other functions, as Dify asks.

use crate::support::{embedding_world, world};
use serde_json::{Value, json};

#[test]
fn a_search_answers_in_openais_shape() {
    let world = embedding_world();
    let file = world.upload("bees.md", "# Bees\n\nBees dance to tell where flowers are.");
    let store = world.create_store(&[]);
    let body = json!({"file_id": file, "attributes": {"lang": "en"}});
    world.json("POST", &format!("/v1/vector_stores/{store}/files"), &body, 200);
    world.drain();
    let body = json!({"query": "where do bees dance", "max_num_results": 3, "rewrite_query": false,
        "ranking_options": {"ranker": "auto", "score_threshold": 0.1},
        "filters": {"type": "and", "filters": [{"type": "eq", "key": "lang", "value": "en"}]}});
    let page = world.json("POST", &format!("/v1/vector_stores/{store}/search"), &body, 200);
    assert_eq!(page["object"], "vector_store.search_results.page");
    assert_eq!((&page["has_more"], &page["next_page"]), (&json!(false), &Value::Null));
    let found = &page["data"][0];
    assert_eq!((&found["file_id"], &found["filename"]), (&json!(file), &json!("bees.md")));
    assert_eq!(found["attributes"], json!({"lang": "en"}));
    assert!(found["score"].as_f64().is_some_and(|score| (0.0..=1.0).contains(&score)), "{found}");
    for (body, param) in [
        (json!({}), "query"),
        (json!({"query": "q", "max_num_results": 51}), "max_num_results"),
        (json!({"query": "q", "vector_store_ids": []}), "vector_store_ids"),
    ] {
        let error = world.json("POST", &format!("/v1/vector_stores/{store}/search"), &body, 400);
        assert_eq!(error["error"]["param"], param);
    }
}

#[test]
fn other_functions_search_several_vector_stores_at_once() {
    let world = world();
    let stores = ["bees", "wasps"].map(|name| {
        let file = world.upload(&format!("{name}.txt"), &format!("insects such as {name}"));
        world.create_store(&[&file])
    });
    let empty = world.create_store(&[]);
    world.drain();
    let body = json!({"vector_store_ids": [stores[0], empty, stores[1], stores[0]], "query": "insects"});
    let page = world.json("POST", "/v1/retrieval/search", &body, 200);
    let mut found: Vec<&str> =
        page["data"].as_array().unwrap().iter().map(|one| one["vector_store_id"].as_str().unwrap()).collect();
    found.sort_unstable();
    let mut expected = stores.each_ref().map(String::as_str);
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(
        (&page["waggle"]["search"], &page["waggle"]["passed_threshold"]),
        (&json!("lexical"), &json!(true))
    );
    let body = json!({"vector_store_ids": [empty], "query": "insects"});
    let page = world.json("POST", "/v1/retrieval/search", &body, 200);
    assert_eq!((&page["data"], &page["waggle"]["passed_threshold"]), (&json!([]), &json!(false)));
    assert!(page["waggle"]["no_answer"].is_string(), "{page}");
    world.json("POST", "/v1/retrieval/search", &json!({"query": "q", "vector_store_ids": []}), 400);
    world.json("POST", "/v1/retrieval/search", &json!({"query": "q", "vector_store_ids": ["x"]}), 404);
}

#[test]
fn an_answer_is_kept_for_questions_like_its_own() {
    let world = embedding_world();
    world.set("answer_cache", "on");
    let file = world.upload("bees.txt", "bees dance where flowers are");
    let store = world.create_store(&[&file]);
    world.drain();
    let body = json!({"vector_store_ids": [store], "query": "bees dance where",
        "answer_cache": {"prompt_version": "1"}});
    let page = world.json("POST", "/v1/retrieval/search", &body, 200);
    let key = page["waggle"]["answer_key"].as_str().unwrap();
    let answer = json!({"answer_key": key, "text": "Near flowers [1].", "sources": page["data"]});
    let kept = world.exchange("POST", "/v1/retrieval/answers", &answer);
    assert_eq!((kept.status, kept.body.len()), (204, 0));
    let page = world.json("POST", "/v1/retrieval/search", &body, 200);
    assert_eq!(page["waggle"]["cached_answer"]["text"], "Near flowers [1].");
    assert_eq!(page["waggle"]["cached_answer"]["data"][0]["file_id"], json!(file));
    // What is known has changed, so the answer may be another.
    world.json("DELETE", &format!("/v1/vector_stores/{store}/files/{file}"), &Value::Null, 200);
    let page = world.json("POST", "/v1/retrieval/search", &body, 200);
    assert_eq!(page["waggle"]["cached_answer"], Value::Null);
    world.json("POST", "/v1/retrieval/answers", &json!({"text": "x"}), 400);
}

#[test]
fn what_is_asked_most_is_listed_for_services_alone() {
    const PATH: &str = "/v1/retrieval/questions";
    let world = embedding_world();
    let none = json!({"object": "list", "data": [], "has_more": false});
    assert_eq!(world.get(PATH), none, "nothing is counted while the cache is off");
    world.set("answer_cache", "on");
    let file = world.upload("bees.txt", "bees dance where flowers are");
    let store = world.create_store(&[&file]);
    world.drain();
    let ask = |question: &str, counted: bool| {
        let body = json!({"vector_store_ids": [store], "query": question,
            "answer_cache": {"prompt_version": "1", "counted": counted}});
        world.json("POST", "/v1/retrieval/search", &body, 200);
    };
    for (question, counted) in
        [("where do bees dance", true), ("where do bees dance", true), ("what are flowers", true)]
    {
        ask(question, counted);
    }
    ask("what are flowers", false);
    let listed = |question: &str, count: u64| json!({"object": "frequent_question", "question": question, "count": count});
    let (first, second) = (listed("where do bees dance", 2), listed("what are flowers", 1));
    let list = world.get(PATH);
    assert_eq!(list, json!({"object": "list", "data": [first, second], "has_more": false}));
    let list = world.get(&format!("{PATH}?limit=1"));
    assert_eq!(list, json!({"object": "list", "data": [first], "has_more": true}));
    for limit in ["0", "101", "x"] {
        let error = world.json("GET", &format!("{PATH}?limit={limit}"), &Value::Null, 400);
        assert_eq!(error["error"]["param"], "limit");
    }
    let error = world.called_by(Some("ada")).json("GET", PATH, &Value::Null, 403);
    assert_eq!(error["error"]["code"], "not_a_service");
    assert!(!error.to_string().contains("bees"), "{error}");
}

#[test]
fn dify_asks_in_its_own_way() {
    let world = world();
    let file = world.upload("bees.txt", "bees dance");
    let store = world.create_store(&[&file]);
    world.drain();
    let body = json!({"knowledge_id": store, "query": "bees", "retrieval_setting": {"top_k": 2, "score_threshold": 0.0}});
    let answer = world.json("POST", "/retrieval", &body, 200);
    assert_eq!(answer["records"][0]["content"], "bees dance");
    assert_eq!(answer["records"][0]["title"], "bees.txt");
    for id in ["vs_000000000000000000000000", "x"] {
        let body = json!({"knowledge_id": id, "query": "bees", "retrieval_setting": {"top_k": 2}});
        assert_eq!(world.json("POST", "/retrieval", &body, 404)["error_code"], 2001);
    }
    assert_eq!(world.json("POST", "/retrieval", &json!({"query": "bees"}), 400)["error_code"], 400);
}

#[test]
fn wrong_variables_are_told_to_the_operator_alone() {
    let world = world();
    let store = world.create_store(&[]);
    world.set("search_mode", "sideways");
    let error = world.json("POST", &format!("/v1/vector_stores/{store}/search"), &json!({"query": "q"}), 500);
    assert!(!error.to_string().contains("sideways"), "{error}");
    assert!(world.platform.lines.borrow().iter().any(|line| line.contains("search_mode")));
    world.set("files_max", "many");
    let reply = world.send_form(&crate::support::form(&[], None), 100, false);
    assert_eq!(reply.status, 500);
}
