//! Turns that are answered from the tenant's knowledge, whole.

use crate::support::{Script, answers, asks, found, found_nothing, id, says, world};
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;

/// The text and the annotations of the answer, which stands after the search.
fn said(response: &Value) -> (&str, &Value) {
    let part = &response["output"][1]["content"][0];
    (part["text"].as_str().unwrap(), &part["annotations"])
}

fn cites(file: &str, index: usize) -> Value {
    json!({"type": "file_citation", "file_id": format!("file_{file}"), "filename": format!("{file}.md"), "index": index})
}

#[test]
fn a_turn_is_answered_from_what_was_found_and_cites_it() {
    let world = world();
    world.finds(&found());
    let response = world.turn(&asks("When do you open?"), "At nine [1], in Rome at ten [2][9]. Ask [7].");
    let output = response["output"].as_array().unwrap();
    assert_eq!(output.len(), 2, "{response:#}");
    let search = &output[0];
    assert!(id(search).starts_with("fs_") && id(search).ends_with("001"), "{search}");
    let expected = json!({"id": id(search), "type": "file_search_call", "status": "completed", "queries": ["opening hours"]});
    assert_eq!(search, &expected);
    let (text, annotations) = said(&response);
    assert_eq!(text, "At nine, in Rome at ten. Ask.");
    assert_eq!(annotations, &json!([cites("hours", 7), cites("shops", 23)]));
    assert_eq!(response["tools"][0]["vector_store_ids"], json!(["vs_1"]));
    let searched = world.looked_up("/v1/retrieval/search");
    let version = searched[0]["answer_cache"]["prompt_version"].clone();
    assert_eq!(version.as_str().unwrap().len(), 64);
    let expected = json!({"vector_store_ids": ["vs_1"], "query": "When do you open?",
        "answer_cache": {"prompt_version": version}});
    assert_eq!(searched, [expected]);
}

#[test]
fn the_model_is_shown_numbered_sources_and_no_tool() {
    let world = world();
    world.finds(&found());
    let mut body = asks("When?");
    body["instructions"] = json!("Be kind.");
    let response = world.turn(&body, "At nine [1].");
    let asked = &world.asked()[0];
    assert_eq!((asked.get("tools"), asked.get("tool_choice")), (None, None));
    let messages = world.last_messages();
    assert_eq!((messages.len(), messages[0].as_str(), messages[2].as_str()), (3, "Be kind.", "When?"));
    let sources = &messages[1];
    assert_eq!(asked["messages"][1]["role"], "system");
    let at = |text: &str| sources.find(text).unwrap_or_else(|| panic!("{text} is not in {sources}"));
    assert!(at("We open at nine.") < at("in Rome") && at("in Rome") < at("We close at six."));
    assert_eq!(response["usage"]["input_tokens"], 11, "what the endpoint counted");
}

#[test]
fn what_was_found_is_in_the_answer_when_it_is_wanted() {
    let world = world();
    world.finds(&found());
    let mut body = asks("When?");
    body["include"] = json!(["file_search_call.results"]);
    let response = world.turn(&body, "At nine [1].");
    let results = response["output"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    let first = json!({"attributes": {"lang": "en"}, "file_id": "file_hours", "filename": "hours.md", "score": 0.9,
        "text": "We open at nine."});
    assert_eq!(results[0], first);
    let stored = world.json("GET", &format!("/v1/responses/{}", id(&response)), &Value::Null, 200);
    assert_eq!(stored, response);
}

#[test]
fn what_was_found_is_shown_in_its_turn_and_never_again() {
    let world = world();
    world.finds(&found());
    let mut body = asks("When?");
    body["include"] = json!(["file_search_call.results"]);
    let first = world.turn(&body, "At nine [1].");
    world.turn(&json!({"input": "And then?", "previous_response_id": id(&first)}), "Then.");
    let messages = world.last_messages();
    assert_eq!(messages, ["When?", "At nine.", "And then?"]);
    // Nor by the other API, nor when the client sends it back.
    world.set("responses_models", "*");
    let output = json!({"status": "completed", "output": [{"type": "message", "role": "assistant",
        "content": [{"type": "output_text", "text": "Then."}]}]});
    world.script(answers(200, "application/json", &output.to_string()));
    let again = json!([first["output"][0], {"role": "user", "content": "x"}]);
    world.json("POST", "/v1/responses", &json!({"input": again, "previous_response_id": id(&first)}), 200);
    let sent = world.asked().pop().unwrap()["input"].clone();
    let kinds: Vec<&str> =
        sent.as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message"; 3], "{sent}");
}

#[test]
fn a_follow_up_is_looked_up_with_what_was_said_before() {
    let world = world();
    let first = world.turn(&json!({"input": "Do you have a shop in Rome?"}), "Yes.");
    world.finds(&found());
    let mut body = asks("When does it open?");
    body["previous_response_id"] = json!(id(&first));
    world.turn(&body, "At ten [2].");
    let searched = world.looked_up("/v1/retrieval/search").pop().unwrap();
    assert_eq!(
        searched["conversation"],
        json!([{"role": "user", "text": "Do you have a shop in Rome?"}, {"role": "assistant", "text": "Yes."}])
    );
}

#[test]
fn the_settings_of_the_tool_go_with_the_search() {
    let world = world();
    world.finds(&found());
    let tool = json!({"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"], "max_num_results": 7,
        "filters": {"type": "eq", "key": "lang", "value": "en"},
        "ranking_options": {"ranker": "auto", "score_threshold": 0.25}});
    world.turn(&json!({"input": "q", "tools": [tool]}), "a");
    let mut searched = world.looked_up("/v1/retrieval/search").pop().unwrap();
    searched.as_object_mut().unwrap().remove("answer_cache");
    let mut expected = tool;
    expected.as_object_mut().unwrap().remove("type");
    expected["query"] = json!("q");
    assert_eq!(searched, expected);
}

/// How many searches a turn with this choice makes.
fn check_choice(choice: &Value, expected: usize) {
    let world = world();
    world.finds(&found());
    let mut body = asks("q");
    body["tools"].as_array_mut().unwrap().push(json!({"type": "function", "name": "f"}));
    body["tool_choice"] = choice.clone();
    world.turn(&body, "a");
    assert_eq!(world.looked_up("/v1/retrieval/search").len(), expected, "{choice}");
}

#[test]
fn the_choice_of_tools_says_whether_it_is_looked_up() {
    check_choice(&json!("auto"), 1);
    check_choice(&json!("required"), 1);
    check_choice(&json!({"type": "file_search"}), 1);
    check_choice(&json!("none"), 0);
    check_choice(&json!({"type": "function", "name": "f"}), 0);
    let allowed = |tool: &Value| json!({"type": "allowed_tools", "mode": "auto", "tools": [tool]});
    check_choice(&allowed(&json!({"type": "file_search"})), 1);
    check_choice(&allowed(&json!({"type": "function", "name": "f"})), 0);
}

#[test]
fn a_tenants_own_stores_answer_turns_that_name_none_and_sessions() {
    let world = world();
    world.set("knowledge", "vs_7, vs_8");
    world.finds(&found());
    let response = world.turn(&json!({"input": "q"}), "At nine [1].");
    assert_eq!(said(&response), ("At nine.", &json!([cites("hours", 7)])));
    assert_eq!(response["tools"], json!([]), "the client sent none");
    world.finds(&found());
    world.script(says("At nine [1]."));
    let turn = json!({"user": "ada", "query": "When?"});
    let answer = world.json("POST", "/v1/chat", &turn, 200);
    assert_eq!((&answer["answer"], &answer["citations"]), (&json!("At nine."), &json!([cites("hours", 7)])));
    assert_eq!(answer.get("handover"), None);
    world.turn(&json!({"input": "q", "tool_choice": "none"}), "a");
    let searched = world.looked_up("/v1/retrieval/search");
    let stores: Vec<&Value> = searched.iter().map(|body| &body["vector_store_ids"]).collect();
    assert_eq!(stores, [&json!(["vs_7", "vs_8"]); 2]);
    world.finds(&found());
    world.turn(&asks("q"), "a");
    assert_eq!(world.looked_up("/v1/retrieval/search").pop().unwrap()["vector_store_ids"], json!(["vs_1"]));
}

#[test]
fn a_turn_without_knowledge_looks_nothing_up_and_its_numbers_stay() {
    let world = world();
    let response = world.turn(&json!({"input": "q"}), "As in [1].");
    assert_eq!(response["output"][0]["content"][0]["text"], "As in [1].");
    assert!(world.platform.looked_up.borrow().is_empty());
}

#[test]
fn where_nothing_was_found_that_is_said_without_a_model() {
    for (handover, known_as) in [(false, "none"), (true, "handover")] {
        let world = world();
        world.finds(&found_nothing(handover));
        let reply = world.exchange("/v1/responses", &asks("q"), None);
        let mark = reply.headers.iter().find(|(name, _)| *name == "x-waggle-answer").unwrap();
        assert_eq!(mark.1, known_as);
        let response: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(said(&response), ("I found nothing.", &json!([])));
        assert_eq!(
            (&response["status"], &response["metadata"]),
            (&json!("completed"), &json!({"waggle_answer": known_as}))
        );
        assert_eq!(response["usage"]["total_tokens"], 0);
        assert!(world.asked().is_empty(), "no model is asked");
        // It is an item of its conversation as any other.
        world.turn(&json!({"input": "why", "previous_response_id": id(&response)}), "so");
        assert_eq!(world.last_messages(), ["q", "I found nothing.", "why"]);
    }
}

#[test]
fn a_session_is_told_that_somebody_else_is_to_take_over() {
    let world = world();
    world.set("knowledge", "vs_1");
    world.finds(&found_nothing(true));
    let answer = world.json("POST", "/v1/chat", &json!({"user": "ada", "query": "q"}), 200);
    let told = (&answer["answer"], &answer["handover"], &answer["fallback"], answer.get("citations"));
    assert_eq!(told, (&json!("I found nothing."), &json!(true), &json!(false), None));
}

/// A search that brings an answer that was given before.
fn cached() -> Value {
    let mut found = found();
    let data = std::mem::replace(&mut found["data"], json!([]));
    found["waggle"]["cached_answer"] = json!({"text": "At nine [1][2].", "data": data, "age_s": 60});
    found
}

#[test]
fn an_answer_that_was_given_before_is_given_again_without_a_model() {
    let world = world();
    world.finds(&cached());
    let mut body = asks("q");
    body["include"] = json!(["file_search_call.results"]);
    let response = world.json("POST", "/v1/responses", &body, 200);
    assert_eq!(said(&response), ("At nine.", &json!([cites("hours", 7), cites("shops", 7)])));
    assert_eq!(response["metadata"]["waggle_answer"], "cached");
    assert_eq!(response["output"][0]["results"].as_array().unwrap().len(), 3);
    assert!(world.asked().is_empty());
    assert!(world.looked_up("/v1/retrieval/answers").is_empty(), "it is kept already");
}

#[test]
fn without_a_model_what_was_found_is_the_answer_in_its_own_words() {
    let world = world();
    world.set("answers", "extractive");
    world.finds(&found());
    let response = world.json("POST", "/v1/responses", &asks("q"), 200);
    assert_eq!(said(&response), ("We open at nine.", &json!([cites("hours", 16)])));
    assert_eq!(response["metadata"]["waggle_answer"], "extracted");
    // Where nothing is looked up, the model is asked as ever.
    let response = world.turn(&json!({"input": "q"}), "You said: q");
    assert_eq!(response["output"][0]["content"][0]["text"], "You said: q");
}

#[test]
fn an_answer_is_kept_for_questions_that_are_alike() {
    let world = world();
    world.finds(&found());
    world.turn(&asks("When?"), "At nine [1].");
    let data = found()["data"].clone();
    let kept = world.looked_up("/v1/retrieval/answers");
    assert_eq!(kept, [json!({"answer_key": "key-1", "text": "At nine [1].", "sources": data})]);
}

#[test]
fn what_a_service_asks_ahead_of_users_is_kept_and_not_counted() {
    let check = |user: Option<&str>, value: &str, counted: &Value| {
        let world = world().called_by(user);
        world.finds(&found());
        let mut body = asks("When?");
        body["store"] = json!(false);
        body["metadata"] = json!({"waggle_ahead": value, "mine": "yes"});
        let response = world.turn(&body, "At nine [1].");
        assert_eq!(response["metadata"], json!({"mine": "yes"}));
        let searched = world.looked_up("/v1/retrieval/search");
        assert_eq!(&searched[0]["answer_cache"]["counted"], counted, "{user:?} {value}");
        assert_eq!(world.looked_up("/v1/retrieval/answers").len(), 1);
    };
    check(None, "true", &json!(false));
    check(None, "no", &Value::Null);
    check(Some("ada"), "true", &Value::Null);
}

/// The answer to a turn is not kept.
fn check_not_kept(body: &Value, answer: &Value, before: bool, asked: bool) {
    let world = world();
    world.finds(&found());
    let mut body = body.clone();
    if before {
        body["previous_response_id"] = json!(id(&world.turn(&json!({"input": "My name is Ada."}), "Hello.")));
    }
    world.script(answers(200, "application/json", &answer.to_string()));
    world.json("POST", "/v1/responses", &body, 200);
    // Nobody waits for it any longer, if it was asked whether there is one.
    let given_up = json!({"answer_key": "key-1", "text": "", "sources": []});
    let expected = if asked { vec![given_up] } else { Vec::new() };
    assert_eq!(world.looked_up("/v1/retrieval/answers"), expected, "{body}");
}

#[test]
fn only_a_cited_answer_to_a_question_alone_is_kept() {
    let answer =
        |message: Value, finish: &str| json!({"choices": [{"message": message, "finish_reason": finish}]});
    let cited = answer(json!({"content": "At nine [1]."}), "stop");
    let with = |name: &str, value: Value| {
        let mut body = asks("When?");
        body[name] = value;
        body
    };
    check_not_kept(&asks("When?"), &answer(json!({"content": "At nine."}), "stop"), false, true);
    check_not_kept(&asks("When?"), &answer(json!({"content": "At nine [1]."}), "length"), false, true);
    check_not_kept(
        &asks("When?"),
        &answer(json!({"content": "At nine [1].", "refusal": "no"}), "stop"),
        false,
        true,
    );
    check_not_kept(&asks("When?"), &cited, true, true);
    check_not_kept(
        &with("input", json!([{"role": "developer", "content": "rules"}, {"role": "user", "content": "q"}])),
        &cited,
        false,
        false,
    );
    let image = json!([{"role": "user", "content": [{"type": "input_text", "text": "q"},
        {"type": "input_image", "image_url": "data:,"}]}]);
    check_not_kept(&with("input", image), &cited, false, false);
    let mut tools = asks("q")["tools"].clone();
    tools.as_array_mut().unwrap().push(json!({"type": "function", "name": "f"}));
    check_not_kept(&with("tools", tools), &cited, false, false);
}

#[test]
fn an_answer_that_has_to_be_json_is_the_models_and_cites_nothing() {
    let world = world();
    let mut body = asks("q");
    body["text"] = json!({"format": {"type": "json_object"}});
    for reply in [found(), found_nothing(false), cached()] {
        world.finds(&reply);
        let response = world.turn(&body, r#"{"hours": [1]}"#);
        assert_eq!(said(&response), (r#"{"hours": [1]}"#, &json!([])), "{response:#}");
        assert_eq!(response["metadata"], json!({}));
    }
    assert!(world.looked_up("/v1/retrieval/search").iter().all(|body| body.get("answer_cache").is_none()));
    assert!(world.looked_up("/v1/retrieval/answers").is_empty());
}

#[test]
fn a_model_that_fails_is_replaced_after_the_search_as_ever() {
    let world = world();
    world.set("fallback", "text");
    world.finds(&found());
    world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
    let response = world.json("POST", "/v1/responses", &asks("q"), 200);
    let kinds: Vec<&Value> =
        response["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["file_search_call", "message"]);
    assert_eq!(response["output"][1]["waggle_fallback"], true);
}

#[test]
fn functions_are_called_beside_a_search() {
    let world = world();
    world.finds(&found());
    let mut body = asks("q");
    body["tools"].as_array_mut().unwrap().push(json!({"type": "function", "name": "f"}));
    let call = json!({"choices": [{"message": {"content": "Let me see [1].", "tool_calls": [{"id": "c", "function":
        {"name": "f", "arguments": "{}"}}]}}]});
    world.script(answers(200, "application/json", &call.to_string()));
    let response = world.json("POST", "/v1/responses", &body, 200);
    let kinds: Vec<&Value> =
        response["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["file_search_call", "message", "function_call"]);
    assert_eq!(said(&response).0, "Let me see.");
    // What the function returned is answered with the question it was called for.
    world.finds(&found());
    let output = json!({"type": "function_call_output", "call_id": "c", "output": "o"});
    let next = json!({"input": [output], "tools": body["tools"], "previous_response_id": id(&response)});
    let response = world.turn(&next, "So [2].");
    assert_eq!(said(&response), ("So.", &json!([cites("shops", 2)])));
    assert_eq!(world.looked_up("/v1/retrieval/search").pop().unwrap()["query"], "q");
}

#[test]
fn a_model_that_is_asked_by_responses_is_shown_the_same_and_its_numbers_are_found() {
    let world = world();
    world.set("responses_models", "*");
    world.finds(&found());
    let output = json!({"status": "completed", "output": [{"type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "At nine [1].", "annotations": [
            {"type": "file_citation", "file_id": "file_theirs", "filename": "x", "index": 0}]}]}]});
    world.script(answers(200, "application/json", &output.to_string()));
    let response = world.json("POST", "/v1/responses", &asks("When?"), 200);
    assert_eq!(said(&response), ("At nine.", &json!([cites("hours", 7)])));
    let asked = &world.asked()[0];
    assert_eq!((asked.get("tools"), &asked["input"][0]["role"]), (None, &json!("developer")));
    assert_eq!(world.looked_up("/v1/retrieval/answers")[0]["text"], "At nine [1].");
}

#[test]
fn turns_with_a_search_are_listed_counted_and_sent_back() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    world.finds(&found());
    let mut body = asks("When?");
    (body["conversation"], body["include"]) = (json!(id(&conversation)), json!(["file_search_call.results"]));
    let response = world.turn(&body, "At nine [1].");
    let path = format!("/v1/conversations/{}/items?order=asc", id(&conversation));
    let items = world.json("GET", &path, &Value::Null, 200)["data"].clone();
    assert_eq!(items.as_array().unwrap()[1..], response["output"].as_array().unwrap()[..]);
    let again = world.turn(&json!({"input": response["output"]}), "a");
    assert_eq!(again["status"], "completed");
    crate::schemas::check_kept(&world);
    let compacted = json!({"input": "x", "previous_response_id": id(&response)});
    world.script(says("in short"));
    world.json("POST", "/v1/responses/compact", &compacted, 200);
    let shown = world.last_messages().join("\n");
    assert!(shown.contains("At nine.") && !shown.contains("We open at nine."), "{shown}");
}
