//! Plain turns: memory by conversation and by chain, what is stored, what fails.

use crate::support::{Piece, Script, World, answers, bytes, id, says, text, world};
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;

#[test]
fn a_response_has_every_field_the_sdks_expect() {
    let world = world();
    let body = json!({"input": "hi", "metadata": {"k": "v"}, "temperature": 0.5, "user": "u",
        "instructions": "be kind", "max_output_tokens": 9});
    let response = world.turn(&body, "hello");
    let object = response.as_object().unwrap();
    for field in [
        "id",
        "object",
        "created_at",
        "status",
        "background",
        "error",
        "incomplete_details",
        "instructions",
        "max_output_tokens",
        "model",
        "output",
        "parallel_tool_calls",
        "previous_response_id",
        "conversation",
        "reasoning",
        "service_tier",
        "store",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_p",
        "truncation",
        "usage",
        "user",
        "metadata",
    ] {
        assert!(object.contains_key(field), "{field} is missing");
    }
    assert_eq!(response["status"], "completed");
    assert_eq!(response["model"], "sim");
    assert_eq!(response["created_at"], 1_700_000_000);
    assert_eq!(response["metadata"], json!({"k": "v"}));
    assert_eq!(response["instructions"], "be kind");
    assert_eq!(text(&response), "hello");
    assert_eq!(
        response["usage"],
        json!({"input_tokens": 11, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 18})
    );
    let request = world.model.requests.borrow()[0].clone();
    assert_eq!(request.url, "http://model.test/v1/chat/completions");
    let asked = &world.asked()[0];
    assert_eq!(
        (&asked["model"], &asked["max_tokens"], &asked["user"]),
        (&json!("sim"), &json!(9), &json!("u"))
    );
    assert_eq!(world.json("GET", &format!("/v1/responses/{}", id(&response)), &Value::Null, 200), response);
}

#[test]
fn a_conversation_is_remembered_turn_by_turn() {
    let world = world();
    world.set("instructions", "default prompt");
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let conversation = id(&conversation);
    let first = world.turn(&json!({"input": "I am Ada", "conversation": conversation}), "Hello Ada");
    assert_eq!(first["conversation"], json!({"id": conversation}));
    assert_eq!(first["instructions"], Value::Null, "the operator's prompt is not shown");
    world.turn(&json!({"input": "Who am I?", "conversation": {"id": conversation}}), "Ada");
    assert_eq!(world.last_messages(), ["default prompt", "I am Ada", "Hello Ada", "Who am I?"]);
    let items = world.json("GET", &format!("/v1/conversations/{conversation}/items"), &Value::Null, 200);
    assert_eq!(items["data"].as_array().unwrap().len(), 4);
}

#[test]
fn a_chain_of_responses_is_remembered_and_may_branch() {
    let world = world();
    let first = world.turn(&json!({"input": "1"}), "one");
    let second = world.turn(&json!({"input": "2", "previous_response_id": id(&first)}), "two");
    assert_eq!(second["previous_response_id"], first["id"]);
    world.turn(&json!({"input": "3a", "previous_response_id": id(&second)}), "a");
    assert_eq!(world.last_messages(), ["1", "one", "2", "two", "3a"]);
    let branch = world.turn(&json!({"input": "3b", "previous_response_id": id(&second)}), "b");
    assert_eq!(world.last_messages(), ["1", "one", "2", "two", "3b"]);

    world.json("DELETE", &format!("/v1/responses/{}", id(&second)), &Value::Null, 200);
    world.turn(&json!({"input": "4", "previous_response_id": id(&branch)}), "c");
    assert_eq!(world.last_messages(), ["1", "one", "3b", "b", "4"], "a deleted ancestor is left out");
    let body = json!({"input": "5", "previous_response_id": id(&second)});
    let error = world.json("POST", "/v1/responses", &body, 400);
    assert_eq!(error["error"]["code"], "previous_response_not_found");
}

#[test]
fn a_chain_may_leave_a_conversation() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let conversation = id(&conversation);
    world.turn(&json!({"input": "1", "conversation": conversation}), "one");
    let second = world.turn(&json!({"input": "2", "conversation": conversation}), "two");
    world.turn(&json!({"input": "later", "conversation": conversation}), "-");
    let left = world.turn(&json!({"input": "3", "previous_response_id": id(&second)}), "three");
    assert_eq!(world.last_messages(), ["1", "one", "2", "two", "3"]);
    world.turn(&json!({"input": "4", "previous_response_id": id(&left)}), "four");
    assert_eq!(world.last_messages(), ["1", "one", "2", "two", "3", "three", "4"]);
}

#[test]
fn a_chain_far_longer_than_its_ancestors_costs_the_same() {
    let world = world();
    let mut last = world.turn(&json!({"input": "0"}), "zero");
    for number in 1..130 {
        last = world.turn(&json!({"input": number.to_string(), "previous_response_id": id(&last)}), "ok");
    }
    world.store.operations();
    world.set("window_items_max", "5");
    world.turn(&json!({"input": "now", "previous_response_id": id(&last)}), "ok");
    assert_eq!(world.last_messages(), ["128", "ok", "129", "ok", "now"]);
    assert_eq!(world.store.operations(), ["get 1", "get_many 2", "set_many 1"]);
}

#[test]
fn a_turn_in_a_long_conversation_reads_only_its_window() {
    let work = |turns: usize| {
        let world = world();
        let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
        let body = json!({"input": "hi", "conversation": id(&conversation)});
        for _ in 0..turns {
            world.turn(&body, "hello");
        }
        world.store.operations();
        world.turn(&body, "hello");
        (world.store.operations(), world.last_messages().len())
    };
    let expected = ["get 1", "increment 1", "get_many 21", "get_many 2", "set_many 3"];
    assert_eq!(work(500), (expected.map(str::to_owned).to_vec(), 39));
    assert_eq!(work(30).0, expected, "the same in a short one");
    // The one key more is that of the summary of what fell out of the window.
    let expected = ["get 1", "increment 1", "get_many 9", "get_many 2", "set_many 3"];
    assert_eq!(work(9).0, expected, "and in one that its window holds");
}

#[test]
fn a_conversation_in_use_is_written_anew_at_times() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({"metadata": {"a": "b"}}), 200);
    let body = json!({"input": "hi", "conversation": id(&conversation)});
    let check = |passed_s: u64, expected: bool| {
        world.platform.passed_ms.set(passed_s * 1_000);
        world.store.operations();
        world.turn(&body, "hello");
        let renewed = world.store.operations().contains(&"swap 1".to_owned());
        assert_eq!(renewed, expected, "after {passed_s} s");
    };
    check(59, false);
    check(60, true);
    check(119, false);
    // A clock that goes back.
    check(0, true);
    check(59, false);
    world.set("conversation_renewal_s", "0");
    check(59, true);
    check(59, true);
    let url = format!("/v1/conversations/{}", id(&conversation));
    assert_eq!(world.json("GET", &url, &json!({}), 200), conversation, "clients see nothing of it");
}

#[test]
fn the_window_never_splits_a_turn_and_the_input_goes_whole() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    for number in 0..4 {
        world.turn(&json!({"input": number.to_string(), "conversation": id(&conversation)}), "answer");
    }
    world.set("window_items_max", "4");
    world.turn(&json!({"input": "now", "conversation": id(&conversation)}), "x");
    assert_eq!(world.last_messages(), ["3", "answer", "now"]);
    world.set("window_tokens_max", "1");
    let input = "a very long input that is over the window by itself";
    world.turn(&json!({"input": input, "conversation": id(&conversation)}), "x");
    assert_eq!(world.last_messages(), [input]);
}

#[test]
fn gaps_in_a_conversation_are_passed_over() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let body = json!({"input": "before", "conversation": id(&conversation)});
    world.turn(&body, "ok");
    world.store.fail(Some("set_many"));
    for _ in 0..30 {
        world.script(says("lost"));
        let error = world.json("POST", "/v1/responses", &body, 500);
        assert_eq!(error["error"]["type"], "server_error");
        assert!(!error.to_string().contains("secret detail"), "{error}");
    }
    world.store.fail(None);
    assert!(world.platform.lines.borrow()[0].contains("secret detail of the store"));
    world.turn(&json!({"input": "after", "conversation": id(&conversation)}), "ok");
    assert_eq!(world.last_messages(), ["before", "ok", "after"]);
}

#[test]
fn two_turns_at_once_both_survive() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let body = json!({"input": "x", "conversation": id(&conversation)}).to_string();
    let request = waggle_chat::Request {
        method: "POST",
        path_with_query: "/v1/responses",
        content_type: None,
        content_length: None,
        accept_language: None,
        user: &[],
        ..waggle_chat::Request::default()
    };
    for _ in 0..2 {
        world.script(says("answer"));
    }
    let both = async {
        futures::join!(world.answer(request, vec![bytes(&body)]), world.answer(request, vec![bytes(&body)]))
    };
    futures::executor::block_on(both);
    assert_eq!(world.keys("conversation/").iter().filter(|key| key.contains("/entry/")).count(), 2);
}

#[test]
fn what_is_not_to_be_stored_is_not_stored() {
    let world = world();
    let response = world.turn(&json!({"input": "x", "store": false}), "y");
    assert!(world.store.dump().is_empty());
    world.json("GET", &format!("/v1/responses/{}", id(&response)), &Value::Null, 404);
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    world.turn(&json!({"input": "x", "store": false, "conversation": id(&conversation)}), "y");
    assert!(world.keys("response/").is_empty());
    world.turn(&json!({"input": "z", "conversation": id(&conversation)}), "y");
    assert_eq!(world.last_messages(), ["x", "y", "z"], "a conversation remembers the turn all the same");
}

#[test]
fn a_conversation_deleted_during_a_turn_stays_deleted() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let path = format!("/v1/conversations/{}", id(&conversation));
    let body = json!({"input": "x", "conversation": id(&conversation)}).to_string();
    world.script(Script::Answers {
        status: 200,
        content_type: "text/event-stream",
        retry_after: None,
        body: vec![bytes(&crate::support::delta("hi")), bytes(&crate::support::ending("stop"))],
    });
    let body = body.replace("{", "{\"stream\":true,");
    let request = waggle_chat::Request {
        method: "POST",
        path_with_query: "/v1/responses",
        content_type: None,
        content_length: None,
        accept_language: None,
        user: &[],
        ..waggle_chat::Request::default()
    };
    let client = crate::support::Client::default();
    let waggle_chat::Answer::Stream(stream) =
        futures::executor::block_on(world.answer(request, vec![bytes(&body)]))
    else {
        panic!("no stream");
    };
    world.json("DELETE", &path, &Value::Null, 200);
    futures::executor::block_on(stream.run(client.clone()));
    assert_eq!(crate::support::events(&client).last().unwrap().0, "response.completed");
    assert!(world.keys("conversation/").is_empty(), "{:?}", world.keys("conversation/"));
    assert_eq!(world.keys("response/").len(), 1);
}

#[test]
fn a_model_that_stops_early_makes_the_response_incomplete() {
    for (reason, expected) in [("length", "max_output_tokens"), ("content_filter", "content_filter")] {
        let world = world();
        let body = json!({"choices": [{"message": {"content": "par"}, "finish_reason": reason}]});
        world.script(answers(200, "application/json", &body.to_string()));
        let response = world.json("POST", "/v1/responses", &json!({"input": "x"}), 200);
        assert_eq!(response["status"], "incomplete");
        assert_eq!(response["incomplete_details"], json!({"reason": expected}));
        assert_eq!(response["output"][0]["status"], "incomplete");
        assert_eq!(response["usage"]["input_tokens"], 8, "estimated, as the endpoint counted nothing");
    }
}

#[test]
fn tools_are_asked_for_and_answered() {
    let world = world();
    let call = json!({"choices": [{"message": {"content": null, "tool_calls": [{"id": "c1", "type": "function",
        "function": {"name": "weather", "arguments": "{\"city\":\"Ulm\"}"}}]}, "finish_reason": "tool_calls"}]});
    world.script(answers(200, "application/json", &call.to_string()));
    let body =
        json!({"input": "weather?", "tools": [{"type": "function", "name": "weather", "parameters": {}}]});
    let first = world.json("POST", "/v1/responses", &body, 200);
    assert_eq!(first["status"], "completed");
    let item = &first["output"][0];
    assert_eq!((&item["type"], &item["call_id"]), (&json!("function_call"), &json!("c1")));
    let output = json!({"type": "function_call_output", "call_id": "c1", "output": "sunny"});
    world.turn(&json!({"input": [output], "previous_response_id": id(&first)}), "It is sunny.");
    let messages = world.asked()[1]["messages"].clone();
    assert_eq!(messages[1]["tool_calls"][0]["function"]["arguments"], "{\"city\":\"Ulm\"}");
    assert_eq!(messages[2], json!({"role": "tool", "tool_call_id": "c1", "content": "sunny"}));
}

fn check_failure(script: &Script, status: u16, code: &str) {
    for stream in [false, true] {
        let world = world();
        let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
        let before = world.joined();
        world.script(script.clone());
        let body = json!({"input": "x", "conversation": id(&conversation), "stream": stream});
        let error = world.json("POST", "/v1/responses", &body, status);
        assert_eq!(error["error"]["code"], code, "{script:?}");
        assert!(
            !error.to_string().contains("model.test") && !error.to_string().contains("secret"),
            "{error}"
        );
        assert_eq!(world.platform.lines.borrow().len(), 1, "one line for the operator");
        let key = world.keys("response/").pop().unwrap();
        let record: Value = serde_json::from_slice(&world.store.dump()[&key]).unwrap();
        assert_eq!(record["response"]["status"], "failed");
        assert_eq!(record["response"]["error"]["message"], error["error"]["message"]);
        assert_eq!(world.joined(), before, "the conversation is as it was");
    }
}

#[test]
fn every_failure_of_the_model_is_told_apart_and_leaves_the_conversation_as_it_was() {
    let at = || "connection to model.test with secret".to_owned();
    check_failure(&Script::Fails(TransportFailure::Unreachable(at())), 502, "model_endpoint_unreachable");
    check_failure(&Script::Fails(TransportFailure::TimedOut(at())), 504, "model_endpoint_timeout");
    check_failure(&Script::Fails(TransportFailure::Denied(at())), 502, "model_endpoint_denied");
    check_failure(&Script::Fails(TransportFailure::Busy(at())), 503, "model_endpoint_overloaded");
    let html = "<html>secret</html>";
    check_failure(&answers(200, "text/html", html), 502, "model_endpoint_error");
    check_failure(&answers(200, "application/json", "{\"choices\":"), 502, "model_endpoint_error");
    check_failure(&answers(500, "text/html", html), 502, "model_endpoint_error");
    check_failure(
        &answers(401, "application/json", r#"{"error":{"message":"secret"}}"#),
        502,
        "model_endpoint_unauthorized",
    );
    check_failure(&answers(404, "application/json", html), 404, "model_not_found");
    check_failure(
        &answers(400, "application/json", r#"{"error":{"message":"too long"}}"#),
        400,
        "rejected_by_model",
    );
    check_failure(&answers(429, "application/json", "{}"), 429, "rate_limit_exceeded");
    check_failure(&answers(503, "text/plain", "secret"), 503, "model_endpoint_overloaded");
    let cut = vec![bytes("{\"choices\":[{\"mess"), Piece::Fails(TransportFailure::Cut(at()))];
    let cut = Script::Answers { status: 200, content_type: "application/json", retry_after: None, body: cut };
    check_failure(&cut, 502, "model_endpoint_error");
}

#[test]
fn a_wait_the_model_asks_for_is_passed_on() {
    let world = world();
    world.script(Script::Answers {
        status: 429,
        content_type: "application/json",
        retry_after: Some("12"),
        body: vec![],
    });
    let reply = world.send("POST", "/v1/responses", r#"{"input":"x"}"#);
    assert!(reply.headers.contains(&("retry-after", "12".to_owned())), "{:?}", reply.headers);
}

#[test]
fn a_wrong_configuration_is_the_operators_to_see() {
    let world = World::default();
    let error = world.json("POST", "/v1/responses", &json!({"input": "x"}), 500);
    assert_eq!(error["error"]["code"], "internal_error");
    assert!(world.platform.lines.borrow()[0].contains("model_origin"));
    world.set("model_origin", "http://model.test");
    let error = world.json("POST", "/v1/responses", &json!({"input": "x"}), 400);
    assert_eq!(error["error"]["param"], "model");
    world.set("window_items_max", "many");
    world.json("POST", "/v1/responses", &json!({"input": "x", "model": "m"}), 500);
    assert!(world.platform.lines.borrow()[1].contains("window_items_max"));
}

#[test]
fn unknown_conversations_and_responses_are_not_found() {
    let world = world();
    let nonce = waggle_openai::Nonce::mint(1, 1);
    let body = json!({"input": "x", "conversation": format!("conv_{nonce}")});
    let error = world.json("POST", "/v1/responses", &body, 404);
    assert!(error["error"]["message"].as_str().unwrap().contains("Conversation with id"));
    for path in [format!("/v1/responses/resp_{nonce}"), format!("/v1/responses/resp_{nonce}/input_items")] {
        world.json("GET", &path, &Value::Null, 404);
    }
    world.json("DELETE", &format!("/v1/responses/resp_{nonce}"), &Value::Null, 404);
}

#[test]
fn the_input_of_a_response_is_listed_in_pages() {
    let world = world();
    let input: Vec<Value> =
        (0..5).map(|number| json!({"role": "user", "content": number.to_string()})).collect();
    let response = world.turn(&json!({"input": input}), "ok");
    let path = format!("/v1/responses/{}/input_items", id(&response));
    let texts = |page: &Value| -> Vec<String> {
        let data = page["data"].as_array().unwrap();
        data.iter().map(|item| item["content"][0]["text"].as_str().unwrap().to_owned()).collect()
    };
    let page = world.json("GET", &format!("{path}?order=asc&limit=2"), &Value::Null, 200);
    assert_eq!(texts(&page), ["0", "1"]);
    assert_eq!(page["has_more"], true);
    let after = page["last_id"].as_str().unwrap();
    let page = world.json("GET", &format!("{path}?order=asc&after={after}"), &Value::Null, 200);
    assert_eq!(texts(&page), ["2", "3", "4"]);
    assert_eq!(page["has_more"], false);
    let page = world.json("GET", &path, &Value::Null, 200);
    assert_eq!(texts(&page), ["4", "3", "2", "1", "0"]);
    world.json("GET", &format!("{path}?after=msg_x"), &Value::Null, 400);
}
