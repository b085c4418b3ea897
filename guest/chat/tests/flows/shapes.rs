//! Every item type, content part and event, driven through the service: their shapes, their order, their indices.

use crate::support::{
    Client, Script, World, answers, bytes, delta, ending, events, id, says, streams, text, world,
};
use serde_json::{Value, json};

fn chunk(delta: &Value) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]}))
}

/// The events of a turn whose model streams these chunks and then ends.
fn streamed(world: &World, body: &Value, chunks: &[String], finish: &str) -> Vec<(String, Value)> {
    let mut pieces: Vec<_> = chunks.iter().map(|chunk| bytes(chunk)).collect();
    pieces.push(bytes(&ending(finish)));
    world.script(streams(pieces));
    let client = Client::default();
    let mut body = body.clone();
    body["stream"] = json!(true);
    world.stream("/v1/responses", &body, &client);
    let whole = client.writes.borrow().concat();
    assert_eq!(whole.matches("data: [DONE]\n\n").count(), 1, "{whole}");
    assert!(whole.ends_with("data: [DONE]\n\n"), "{whole}");
    events(&client)
}

/// A short form of an event: what it is and where it belongs.
fn line((kind, data): &(String, Value)) -> String {
    let index = |name: &str| data[name].as_u64().map(|index| format!(" {index}")).unwrap_or_default();
    let kind = kind.trim_start_matches("response.");
    format!("{kind}{}{}{}", index("output_index"), index("content_index"), index("annotation_index"))
}

/// All events have the number of their place, the id of the item that was added there, and what is done is what was
/// said in pieces.
fn check_whole(events: &[(String, Value)]) {
    let mut ids = Vec::new();
    let mut said = std::collections::BTreeMap::<(u64, u64), String>::new();
    for (number, (kind, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(kind), &json!(number)));
        let at = data["output_index"].as_u64();
        if kind == "response.output_item.added" {
            assert_eq!(at, Some(ids.len() as u64));
            ids.push(data["item"]["id"].clone());
        } else if let (Some(at), Some(item)) = (at, data.get("item_id")) {
            assert_eq!(item, &ids[at as usize], "{data}");
        }
        let Some(at) = at.map(|at| (at, data["content_index"].as_u64().unwrap_or(0))) else { continue };
        if let Some(delta) = data["delta"].as_str() {
            said.entry(at).or_default().push_str(delta);
        }
        for whole in ["text", "refusal", "arguments"].iter().filter_map(|field| data[*field].as_str()) {
            assert_eq!(said.get(&at).map_or("", String::as_str), whole, "{data}");
        }
    }
    let response = &events.last().unwrap().1["response"];
    let items: Vec<&Value> = events
        .iter()
        .filter(|(kind, _)| kind == "response.output_item.done")
        .map(|(_, data)| &data["item"])
        .collect();
    let mut sorted: Vec<&Value> = response["output"].as_array().unwrap().iter().collect();
    let key = |item: &&Value| item["id"].as_str().unwrap().to_owned();
    let mut done = items;
    done.sort_by_key(key);
    sorted.sort_by_key(key);
    assert_eq!(done, sorted);
}

#[test]
fn a_stream_of_everything_has_every_event_in_its_place() {
    let call = json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]});
    let cited = json!({"annotations": [{"type": "url_citation", "url_citation":
        {"start_index": 0, "end_index": 2, "url": "https://e.x", "title": "t"}}]});
    let chunks = [
        chunk(&json!({"role": "assistant", "content": ""})),
        chunk(&json!({"reasoning_content": "h"})),
        chunk(&json!({"reasoning_content": "m"})),
        delta("Hel"),
        delta("lo"),
        chunk(&cited),
        chunk(&json!({"refusal": "no"})),
        chunk(&json!({"refusal": "!"})),
        chunk(&call),
    ];
    let world = world();
    let events = streamed(&world, &json!({"input": "x"}), &chunks, "tool_calls");
    let lines: Vec<String> = events.iter().map(line).collect();
    let expected = [
        "created",
        "in_progress",
        "output_item.added 0",
        "content_part.added 0 0",
        "reasoning.delta 0 0",
        "reasoning.delta 0 0",
        "reasoning.done 0 0",
        "content_part.done 0 0",
        "output_item.done 0",
        "output_item.added 1",
        "content_part.added 1 0",
        "output_text.delta 1 0",
        "output_text.delta 1 0",
        "output_text.annotation.added 1 0 0",
        "output_text.done 1 0",
        "content_part.done 1 0",
        "content_part.added 1 1",
        "refusal.delta 1 1",
        "refusal.delta 1 1",
        "refusal.done 1 1",
        "content_part.done 1 1",
        "output_item.done 1",
        "output_item.added 2",
        "function_call_arguments.delta 2",
        "function_call_arguments.done 2",
        "output_item.done 2",
        "completed",
    ];
    assert_eq!(lines, expected);
    check_whole(&events);
    let response = &events.last().unwrap().1["response"];
    let citation = json!({"type": "url_citation", "start_index": 0, "end_index": 2, "url": "https://e.x",
        "title": "t"});
    assert_eq!(response["output"][0]["content"], json!([{"type": "reasoning_text", "text": "hm"}]));
    assert_eq!(response["output"][0]["summary"], json!([]));
    assert!(response["output"][0]["id"].as_str().unwrap().starts_with("rs_"));
    assert_eq!(
        response["output"][1]["content"],
        json!([{"type": "output_text", "text": "Hello", "annotations": [citation], "logprobs": []},
            {"type": "refusal", "refusal": "no!"}])
    );
    assert_eq!(response["completed_at"], 1_700_000_000);
}

#[test]
fn a_whole_answer_has_the_same_items_as_a_stream() {
    let world = world();
    let message = json!({"role": "assistant", "content": "Hi", "reasoning": "hm", "refusal": null, "annotations":
        [{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 2, "url": "https://e.x"}}]});
    let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
    world.script(answers(200, "application/json", &body.to_string()));
    let whole = world.json("POST", "/v1/responses", &json!({"input": "x"}), 200);
    let kinds: Vec<&str> =
        whole["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message"]);
    assert_eq!(whole["output"][1]["content"][0]["annotations"][0]["title"], "");
    let refuses =
        json!({"choices": [{"message": {"content": null, "refusal": "no"}, "finish_reason": "stop"}]});
    world.script(answers(200, "application/json", &refuses.to_string()));
    let refused = world.json("POST", "/v1/responses", &json!({"input": "x"}), 200);
    assert_eq!(refused["output"][0]["content"], json!([{"type": "refusal", "refusal": "no"}]));
    // What it thought is no message: the next turn's model does not get to see it.
    world.turn(&json!({"input": "y", "previous_response_id": id(&whole)}), "z");
    assert_eq!(world.last_messages(), ["x", "Hi", "y"]);
}

#[test]
fn a_model_that_only_thinks_says_an_empty_message_unless_it_was_cut_off() {
    let thought = [chunk(&json!({"reasoning_content": "hm"}))];
    for (finish, last, items) in [("stop", "response.completed", 2), ("length", "response.incomplete", 1)] {
        let events = streamed(&world(), &json!({"input": "x"}), &thought, finish);
        check_whole(&events);
        let (kind, data) = events.last().unwrap();
        assert_eq!((kind.as_str(), data["response"]["output"].as_array().unwrap().len()), (last, items));
    }
}

#[test]
fn a_model_that_thinks_and_speaks_by_turns_without_end_fails() {
    let turns: Vec<String> =
        (0..60).flat_map(|_| [chunk(&json!({"reasoning": "hm"})), delta("so")]).collect();
    let events = streamed(&world(), &json!({"input": "x"}), &turns, "stop");
    let (kind, data) = events.last().unwrap();
    assert_eq!(kind, "response.failed");
    assert!(
        data["response"]["output"].as_array().unwrap().len() < 100,
        "an input of 900 items fits beside it"
    );
}

#[test]
fn log_probabilities_are_handed_on() {
    let token = json!({"token": "Hi", "logprob": -0.25, "bytes": null,
        "top_logprobs": [{"token": "Ho", "logprob": -2.5, "bytes": [72, 111]}]});
    let known = json!({"token": "Hi", "logprob": -0.25, "bytes": [72, 105],
        "top_logprobs": [{"token": "Ho", "logprob": -2.5, "bytes": [72, 111]}]});
    let asked = json!({"input": "x", "top_logprobs": 1, "include": ["message.output_text.logprobs"]});
    let choice = json!({"choices": [{"delta": {"content": "Hi"}, "logprobs": {"content": [token]}}]});
    let world = world();
    let events = streamed(&world, &asked, &[format!("data: {choice}\n\n")], "stop");
    for (kind, data) in &events {
        if kind.starts_with("response.output_text.") {
            assert_eq!(data["logprobs"], json!([known]), "{kind}");
        }
    }
    let response = &events.last().unwrap().1["response"];
    assert_eq!(response["output"][0]["content"][0]["logprobs"], json!([known]));
    assert_eq!(response["top_logprobs"], 1);
    assert_eq!((&world.asked()[0]["logprobs"], &world.asked()[0]["top_logprobs"]), (&json!(true), &json!(1)));
}

#[test]
fn what_a_request_sets_its_response_repeats() {
    let tools =
        json!([{"type": "function", "name": "f", "description": null, "parameters": null, "strict": null}]);
    let choice =
        json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]});
    let sent = json!({"presence_penalty": 0.5, "frequency_penalty": -0.5, "top_logprobs": 3, "max_tool_calls": 2,
        "service_tier": "flex", "safety_identifier": "s", "prompt_cache_key": "k", "truncation": "auto",
        "tools": tools, "tool_choice": choice, "parallel_tool_calls": false,
        "reasoning": {"effort": "xhigh", "summary": "concise"},
        "text": {"format": {"type": "text"}, "verbosity": "low"}});
    let mut body = sent.clone();
    body["input"] = json!("x");
    body["stream_options"] = json!({"include_obfuscation": true});
    let response = world().turn(&body, "y");
    for (field, value) in sent.as_object().unwrap() {
        assert_eq!(&response[field], value, "{field}");
    }
    let plain = world().turn(&json!({"input": "x"}), "y");
    for (field, value) in [
        ("presence_penalty", json!(0.0)),
        ("frequency_penalty", json!(0.0)),
        ("top_logprobs", json!(0)),
        ("max_tool_calls", Value::Null),
        ("background", json!(false)),
        ("completed_at", json!(1_700_000_000)),
        ("user", Value::Null),
    ] {
        assert_eq!(plain.get(field), Some(&value), "{field}");
    }
}

const IMAGE: &str = "data:image/png;base64,iVBORw0KGgo=";

#[test]
fn every_kind_of_item_is_kept_in_a_conversation_and_shown_to_the_model_as_far_as_it_can_be() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let conversation = id(&conversation);
    world.script(says("It was compact."));
    let compaction =
        world.json("POST", "/v1/responses/compact", &json!({"input": "x"}), 200)["output"][1].clone();
    world.model.requests.borrow_mut().clear();
    let input = json!([
        {"role": "user", "content": [{"type": "input_text", "text": "look"},
            {"type": "input_image", "image_url": IMAGE, "detail": "low"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}]},
        {"type": "reasoning", "id": "rs_theirs", "summary": [{"type": "summary_text", "text": "s"}],
            "encrypted_content": "secret=="},
        {"type": "message", "role": "assistant", "phase": "commentary", "status": "completed", "id": "msg_theirs",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "seen"}]},
        compaction,
    ]);
    world.turn(&json!({"input": input, "conversation": conversation}), "a cat");
    let path = format!("/v1/conversations/{conversation}/items?order=asc");
    let items = world.json("GET", &path, &Value::Null, 200);
    let kinds: Vec<(&str, &str)> = items["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["id"].as_str().unwrap()[..3], item["type"].as_str().unwrap()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("msg", "message"),
            ("rs_", "reasoning"),
            ("msg", "message"),
            ("fc_", "function_call"),
            ("fco", "function_call_output"),
            ("cmp", "compaction"),
            ("msg", "message")
        ]
    );
    assert_eq!(items["data"][1]["encrypted_content"], "secret==");
    assert_eq!(items["data"][2]["phase"], "commentary");
    // All of it goes back to where it came from.
    let again: Vec<Value> = items["data"].as_array().unwrap().clone();
    world.turn(&json!({"input": again}), "a cat again");
    for asked in world.asked() {
        let messages = asked["messages"].as_array().unwrap();
        let roles: Vec<&str> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
        assert_eq!(roles[..4], ["user", "assistant", "assistant", "tool"]);
        assert_eq!(
            messages[0]["content"][1],
            json!({"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}})
        );
        assert_eq!(messages[0]["content"][2]["file"]["filename"], "a.pdf");
        assert_eq!(messages[3]["content"], "seen");
        let sealed = compaction["encrypted_content"].as_str().unwrap();
        assert!(!asked.to_string().contains("secret==") && !asked.to_string().contains(sealed));
        assert!(messages[4]["content"].as_str().unwrap().contains("It was compact."));
    }
}

#[test]
fn a_reference_stands_for_its_item_unless_the_model_sees_that_anyway() {
    let world = world();
    let first = world.turn(&json!({"input": "I am Ada"}), "Hello Ada");
    let said = id(&first["output"][0]).to_owned();
    let body = json!({"input": [{"role": "user", "content": "a"}, {"type": "item_reference", "id": said},
        {"role": "user", "content": "b"}]});
    let second = world.turn(&body, "ok");
    assert_eq!(world.last_messages(), ["a", "Hello Ada", "b"]);
    let path = format!("/v1/responses/{}/input_items?order=asc", id(&second));
    assert_eq!(world.json("GET", &path, &Value::Null, 200)["data"].as_array().unwrap().len(), 3);
    let body = json!({"previous_response_id": id(&first), "input": [{"id": said}, {"role": "user", "content": "b"}]});
    world.turn(&body, "ok");
    assert_eq!(world.last_messages(), ["I am Ada", "Hello Ada", "b"]);
    let body = json!({"previous_response_id": id(&first), "input": [{"id": said}]});
    assert_eq!(world.json("POST", "/v1/responses", &body, 400)["error"]["param"], "input");

    let check_unknown = |world: &World, id: &str| {
        let body = json!({"input": [{"role": "user", "content": "b"}, {"type": "item_reference", "id": id}]});
        let error = world.json("POST", "/v1/responses", &body, 400);
        assert_eq!(
            (&error["error"]["param"], &error["error"]["code"]),
            (&json!("input[1]"), &json!("item_not_found"))
        );
    };
    check_unknown(&world, "nonsense");
    check_unknown(&world, &said.replace("msg_", "rs_"));
    check_unknown(&world.called_by(Some("ada")), &said);
}

#[test]
fn a_reference_in_a_conversation_finds_what_fell_out_of_the_window() {
    let world = world();
    world.set("window_items_max", "2");
    let conversation =
        world.json("POST", "/v1/conversations", &json!({"items": [{"role": "user", "content": "old"}]}), 200);
    let conversation = id(&conversation);
    let items = world.json("GET", &format!("/v1/conversations/{conversation}/items"), &Value::Null, 200);
    world.turn(&json!({"input": "newer", "conversation": conversation, "store": false}), "ok");
    let body = json!({"conversation": conversation, "input": [{"type": "item_reference", "id": id(&items["data"][0])},
        {"role": "user", "content": "now"}]});
    world.turn(&body, "ok");
    assert_eq!(world.last_messages(), ["old", "now"]);
}

fn schema() -> Value {
    json!({"format": {"type": "json_schema", "name": "n", "strict": true, "schema": {"type": "object",
        "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false}}})
}

fn check_format(format: &Value, answer: &str, code: Option<&str>) {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let body = json!({"input": "x", "text": format, "conversation": id(&conversation)});
    let whole = world.turn(&body, answer);
    let events = streamed(&world, &body, &[delta(answer)], "stop");
    let (kind, data) = events.last().unwrap();
    for response in [&whole, &data["response"]] {
        assert_eq!(response["error"]["code"].as_str(), code, "{answer}: {response}");
        let status = if code.is_some() { "failed" } else { "completed" };
        assert_eq!((&response["status"], text(response)), (&json!(status), answer));
        assert_eq!(response["completed_at"].is_null(), code.is_some());
    }
    assert_eq!(kind, if code.is_some() { "response.failed" } else { "response.completed" });
    // What does not fit is no part of the conversation.
    let path = format!("/v1/conversations/{}/items", id(&conversation));
    let items = world.json("GET", &path, &Value::Null, 200);
    assert_eq!(items["data"].as_array().unwrap().is_empty(), code.is_some(), "{answer}");
}

#[test]
fn an_answer_is_held_to_its_format_before_it_is_called_complete() {
    check_format(&schema(), "{\"a\":1}", None);
    for answer in ["{\"a\":\"1\"}", "{}", "{\"a\":1,\"b\":2}", "[]", "Sure! {\"a\":1}", ""] {
        check_format(&schema(), answer, Some("invalid_json_schema_output"));
    }
    let object = json!({"format": {"type": "json_object"}});
    check_format(&object, " {\"a\\u0062\":[]} ", None);
    for answer in ["[]", "1", "{", "prose", "{} {}"] {
        check_format(&object, answer, Some("invalid_json_output"));
    }
    check_format(&json!({"format": {"type": "text"}}), "prose", None);
}

#[test]
fn an_answer_that_was_cut_off_or_refuses_or_asks_for_a_tool_is_not_held_to_the_format() {
    let message = |message: Value, finish: &str| {
        answers(
            200,
            "application/json",
            &json!({"choices": [{"message": message, "finish_reason": finish}]}).to_string(),
        )
    };
    let call = json!({"content": "Let me see.", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]});
    let check = |script: Script, status: &str| {
        let world = world();
        world.script(script);
        let response = world.json("POST", "/v1/responses", &json!({"input": "x", "text": schema()}), 200);
        assert_eq!((&response["status"], &response["error"]), (&json!(status), &Value::Null));
    };
    check(message(json!({"content": "{\"a\""}), "length"), "incomplete");
    check(message(json!({"content": "{\"a\""}), "content_filter"), "incomplete");
    check(message(json!({"refusal": "no"}), "stop"), "completed");
    check(message(call, "tool_calls"), "completed");
}

#[test]
fn a_schema_that_is_none_is_refused_before_the_model_is_asked() {
    for schema in [
        json!({"type": "nonsense"}),
        json!(3),
        json!({"required": "a"}),
        json!({"pattern": "("}),
        json!({"$ref": "https://example.com/schema.json"}),
        json!({"$ref": "#/nowhere"}),
    ] {
        let world = world();
        let format = json!({"format": {"type": "json_schema", "name": "n", "schema": schema}});
        let error = world.json("POST", "/v1/responses", &json!({"input": "x", "text": format}), 400);
        assert_eq!(error["error"]["param"], "text.format.schema", "{schema}: {error}");
        assert!(world.asked().is_empty());
    }
}

#[test]
fn bad_input_is_refused_in_openais_shape_and_never_reaches_the_model() {
    let many = json!({"input": vec![json!({"role": "user", "content": "x"}); 10_000]}).to_string();
    let user = |content: &str| format!("{{\"input\":[{{\"role\":\"user\",\"content\":{content}}}]}}");
    for (body, param) in [
        (many, Some("input")),
        (
            r#"{"input":[{"type":"function_call_output","call_id":"c","output":"o"}]}"#.to_owned(),
            Some("input"),
        ),
        (r#"{"input":[{"type":"telepathy"}]}"#.to_owned(), Some("input[0]")),
        (
            r#"{"input":"x","conversation":"conv_a","previous_response_id":"resp_a"}"#.to_owned(),
            Some("previous_response_id"),
        ),
        (user(r#"[{"type":"input_image","image_url":"file:///etc/passwd"}]"#), Some("input[0]")),
        (user(r#"[{"type":"input_file","file_url":"https://e.x/a.pdf"}]"#), Some("input[0]")),
        (
            user(&format!("[{}]", vec![r#"{"type":"input_text","text":"x"}"#; 300].join(","))),
            Some("input[0]"),
        ),
        (user(r#""\ud83d""#), None),
        (r#"{"input":"x","max_output_tokens":"many"}"#.to_owned(), Some("max_output_tokens")),
        (r#"{"input":"x","include":["everything"]}"#.to_owned(), Some("include[0]")),
        (r#"{"input":"x","tools":[],"tool_choice":"required"}"#.to_owned(), Some("tool_choice")),
    ] {
        let world = world();
        let reply = world.send("POST", "/v1/responses", &body);
        let error: Value = serde_json::from_slice(&reply.body).unwrap();
        let start: String = body.chars().take(80).collect();
        assert_eq!((reply.status, error["error"]["param"].as_str()), (400, param), "{start}: {error}");
        for field in ["message", "type"] {
            assert!(error["error"][field].is_string(), "{start}: {error}");
        }
        assert!(world.asked().is_empty(), "{start}");
    }
    let world = world();
    world.script(says("ok"));
    world.json("POST", "/v1/responses", &json!({"input": "a\u{0}b"}), 200);
    assert_eq!(world.last_messages(), ["a\u{0}b"], "a NUL is a character");
}

#[test]
fn an_error_in_a_stream_is_told_as_openai_and_as_open_responses_tell_it() {
    let world = world();
    world.script(streams(vec![bytes(&delta("hi")), bytes(&ending("stop"))]));
    world.store.fail(Some("set_many"));
    let client = Client::default();
    world.stream("/v1/responses", &json!({"input": "x", "stream": true}), &client);
    let events = events(&client);
    let (kind, data) = events.last().unwrap();
    assert_eq!((kind.as_str(), &data["code"]), ("error", &json!("storage_error")));
    assert_eq!(data["error"]["code"], data["code"]);
    assert_eq!((&data["error"]["message"], &data["error"]["param"]), (&data["message"], &Value::Null));
    assert!(data["error"]["type"].is_string());
    assert!(client.writes.borrow().concat().ends_with("data: [DONE]\n\n"));
}

#[test]
fn a_chat_completion_passes_with_all_it_may_hold() {
    let world = world();
    let body = json!({"model": "m", "n": 2, "logprobs": true, "top_logprobs": 3, "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "wav"}, "seed": 7, "stop": ["a"], "logit_bias": {"5": -100},
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x"},
            {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "stream_options": {"include_usage": true}, "stream": true});
    let choice = |index: usize| {
        format!(
            "data: {}\n\n",
            json!({"choices": [{"index": index, "delta": {"content": "a"},
            "logprobs": {"content": [{"token": "a", "logprob": -1, "bytes": null}]}}], "usage": null})
        )
    };
    let answer = format!("{}{}{}", choice(0), choice(1), ending("stop"));
    world.script(streams(vec![bytes(&answer)]));
    let client = Client::default();
    world.stream("/v1/chat/completions", &body, &client);
    assert_eq!(client.writes.borrow().concat(), answer);
    assert_eq!(world.asked()[0], body);
    let whole = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": null, "audio": {"id": "a"}}},
        {"index": 1, "message": {"role": "assistant", "content": "not JSON"}}]}).to_string();
    world.script(answers(200, "application/json", &whole));
    let mut body = body;
    body["stream"] = json!(false);
    let reply = world.send("POST", "/v1/chat/completions", &body.to_string());
    assert_eq!((reply.status, reply.body.as_slice()), (200, whole.as_bytes()));
    assert_eq!(world.asked()[1], body);
}
