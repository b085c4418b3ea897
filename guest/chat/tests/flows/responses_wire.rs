//! Models that are asked by Responses: what they are sent, and how their items become ours, whole and streamed.

use crate::background::{check_resumable, create, get, run};
use crate::schemas::check_kept;
use crate::support::{
    Client, Piece, Script, World, answers, bytes, events, id, read_events, says, streams, text, world,
};
use serde_json::{Value, json};

/// A world in which models named `gpt…` are asked by Responses, and one is by default.
pub(crate) fn asked_by_responses() -> World {
    let world = world();
    world.set("model", "gpt");
    world.set("responses_models", "gpt*, large");
    world
}

pub(crate) fn message(text: &str) -> Value {
    json!({"type": "message", "id": "msg_up", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]})
}

/// A whole response with these items.
pub(crate) fn response(output: &Value) -> Value {
    json!({"id": "resp_up", "object": "response", "status": "completed", "error": null, "incomplete_details": null,
        "output": output, "usage": {"input_tokens": 11, "input_tokens_details": {"cached_tokens": 3},
            "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 18}})
}

pub(crate) fn responds(output: &Value) -> Script {
    answers(200, "application/json", &response(output).to_string())
}

/// An event as an endpoint sends it.
pub(crate) fn event(kind: &str, fields: &Value) -> String {
    let mut data = json!({"type": kind, "sequence_number": 4});
    data.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    format!("event: {kind}\ndata: {data}\n\n")
}

pub(crate) fn added(at: usize, item: &Value) -> String {
    event("response.output_item.added", &json!({"output_index": at, "item": item}))
}

pub(crate) fn done(at: usize, item: &Value) -> String {
    event("response.output_item.done", &json!({"output_index": at, "item": item}))
}

pub(crate) fn delta(kind: &str, at: usize, index: usize, delta: &str) -> String {
    let fields = json!({"output_index": at, "content_index": index, "summary_index": index, "delta": delta});
    event(&format!("response.{kind}.delta"), &fields)
}

pub(crate) fn completed(output: &Value) -> String {
    event("response.completed", &json!({ "response": response(output) }))
}

fn empty_message() -> Value {
    json!({"type": "message", "id": "msg_up", "role": "assistant", "status": "in_progress", "content": []})
}

/// All events of a message that is said in these pieces.
pub(crate) fn spoken(at: usize, pieces: &[&str]) -> Vec<String> {
    let part = |text: &str| {
        json!({"output_index": at, "content_index": 0,
        "part": {"type": "output_text", "text": text, "annotations": []}})
    };
    let mut all = vec![added(at, &empty_message()), event("response.content_part.added", &part(""))];
    all.extend(pieces.iter().map(|piece| delta("output_text", at, 0, piece)));
    let whole = pieces.concat();
    all.push(event(
        "response.output_text.done",
        &json!({"output_index": at, "content_index": 0, "text": whole}),
    ));
    all.push(event("response.content_part.done", &part(&whole)));
    all.push(done(at, &message(&whole)));
    all
}

/// The answer of a model that streams these events.
pub(crate) fn sends(events: &[String]) -> Script {
    let head = ["response.created", "response.in_progress"];
    let head =
        head.map(|kind| bytes(&event(kind, &json!({"response": {"status": "in_progress", "output": []}}))));
    streams(head.into_iter().chain(events.iter().map(|event| bytes(event))).collect())
}

/// The text of the stream of a turn whose model streams these events.
pub(crate) fn stream_of(world: &World, body: &Value, script: Script) -> String {
    world.script(script);
    let mut body = body.clone();
    body["stream"] = json!(true);
    let client = Client::default();
    world.stream("/v1/responses", &body, &client);
    client.writes.borrow().concat()
}

/// The events of such a turn, of which each beginning can be resumed, and its response.
fn streamed(events: &[String]) -> (Vec<(String, Value)>, Value) {
    let world = asked_by_responses();
    let whole = stream_of(&world, &json!({"input": "x"}), sends(events));
    let whole = whole.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("{whole}"));
    let events = read_events(whole);
    let response = events.last().unwrap().1["response"].clone();
    check_resumable(&world, id(&response), whole);
    (events, response)
}

fn lines(events: &[(String, Value)]) -> Vec<String> {
    let line = |(kind, data): &(String, Value)| {
        let index = |name: &str| data[name].as_u64().map(|index| format!(" {index}")).unwrap_or_default();
        let kind = kind.trim_start_matches("response.");
        format!("{kind}{}{}{}", index("output_index"), index("content_index"), index("summary_index"))
    };
    events.iter().map(line).collect()
}

#[test]
fn a_turn_is_asked_by_responses_and_answered_under_our_ids() {
    let world = asked_by_responses();
    world.script(responds(&json!([message("Hello")])));
    let first = world.json("POST", "/v1/responses", &json!({"input": "hi", "instructions": "kind"}), 200);
    assert_eq!(world.model.requests.borrow()[0].url, "http://model.test/v1/responses");
    let user = |text: &str| json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
    assert_eq!(
        world.asked()[0],
        json!({"model": "gpt", "instructions": "kind", "input": [user("hi")], "store": false})
    );
    assert_eq!(
        (text(&first), &first["status"], &first["model"]),
        ("Hello", &json!("completed"), &json!("gpt"))
    );
    let item = id(&first["output"][0]);
    assert!(item.starts_with("msg_") && item != "msg_up" && id(&first) != "resp_up", "{first}");
    assert_eq!(first["usage"]["input_tokens_details"]["cached_tokens"], 3);
    assert_eq!(first["usage"]["output_tokens_details"]["reasoning_tokens"], 2);
    // The next turn may go to a model that is asked by the other API, and back.
    let next =
        world.turn(&json!({"input": "again", "model": "sim", "previous_response_id": id(&first)}), "Hi");
    assert_eq!(world.last_messages(), ["hi", "Hello", "again"]);
    world.script(responds(&json!([message("Bye")])));
    world.json("POST", "/v1/responses", &json!({"input": "bye", "previous_response_id": id(&next)}), 200);
    let said = |text: &str| {
        json!({"type": "message", "role": "assistant", "content":
        [{"type": "output_text", "text": text, "annotations": []}]})
    };
    assert_eq!(
        world.asked()[2]["input"],
        json!([user("hi"), said("Hello"), user("again"), said("Hi"), user("bye")])
    );
}

#[test]
fn a_call_of_a_tool_goes_out_and_its_output_comes_back_with_the_thought_before_it() {
    let world = asked_by_responses();
    let thought = json!({"type": "reasoning", "id": "rs_up", "summary": [{"type": "summary_text", "text": "s"}],
        "encrypted_content": "e=="});
    let call = json!({"type": "function_call", "id": "fc_up", "call_id": "call_1", "name": "f",
        "arguments": "{\"a\":1}", "status": "completed"});
    world.script(responds(&json!([thought, call])));
    let tools = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}}]);
    let body = json!({"input": "x", "tools": tools, "include": ["reasoning.encrypted_content"]});
    let first = world.json("POST", "/v1/responses", &body, 200);
    let kinds = [&first["output"][0]["type"], &first["output"][1]["type"]];
    assert_eq!(kinds, ["reasoning", "function_call"]);
    assert_eq!(world.asked()[0]["include"], json!(["reasoning.encrypted_content"]));
    let output = json!({"type": "function_call_output", "call_id": "call_1", "output": "42"});
    world.script(responds(&json!([message("It is 42")])));
    let body = json!({"input": [output], "tools": tools, "previous_response_id": id(&first)});
    assert_eq!(text(&world.json("POST", "/v1/responses", &body, 200)), "It is 42");
    let sent = world.asked()[1]["input"].clone();
    assert_eq!(
        sent[1],
        json!({"type": "reasoning", "summary": thought["summary"], "encrypted_content": "e=="})
    );
    assert_eq!(
        sent[2],
        json!({"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"})
    );
    assert_eq!(sent[3], output);
}

/// The events of a stream that has everything: type, item and part.
const EVERYTHING: [&str; 35] = [
    "created",
    "in_progress",
    "output_item.added 0",
    "reasoning_summary_part.added 0 0",
    "reasoning_summary_text.delta 0 0",
    "reasoning_summary_text.done 0 0",
    "reasoning_summary_part.done 0 0",
    "reasoning_summary_part.added 0 1",
    "reasoning_summary_text.delta 0 1",
    "reasoning_summary_text.delta 0 1",
    "reasoning_summary_text.done 0 1",
    "reasoning_summary_part.done 0 1",
    "content_part.added 0 0",
    "reasoning.delta 0 0",
    "reasoning.done 0 0",
    "content_part.done 0 0",
    "output_item.done 0",
    "output_item.added 1",
    "output_item.done 1",
    "output_item.added 2",
    "content_part.added 2 0",
    "output_text.delta 2 0",
    "output_text.delta 2 0",
    "output_text.done 2 0",
    "content_part.done 2 0",
    "content_part.added 2 1",
    "refusal.delta 2 1",
    "refusal.done 2 1",
    "content_part.done 2 1",
    "output_item.done 2",
    "output_item.added 3",
    "function_call_arguments.delta 3",
    "function_call_arguments.done 3",
    "output_item.done 3",
    "completed",
];

#[test]
fn a_stream_of_everything_has_every_event_in_its_place() {
    let cited =
        json!({"type": "url_citation", "start_index": 0, "end_index": 2, "url": "https://e.x", "title": "t"});
    let search = |status: &str| {
        json!({"type": "web_search_call", "id": "ws_up", "status": status,
        "action": {"type": "search", "query": "q"}})
    };
    let summary = json!([{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}]);
    let thought = json!({"type": "reasoning", "id": "rs_up", "summary": summary,
        "content": [{"type": "reasoning_text", "text": "hm"}], "encrypted_content": "e=="});
    let said = json!({"type": "message", "role": "assistant", "status": "completed", "phase": "final_answer", "content": [
        {"type": "output_text", "text": "Hello", "annotations": [cited], "logprobs": []},
        {"type": "refusal", "refusal": "no!"}]});
    let call = |arguments: &str| json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments});
    let sent = [
        added(0, &json!({"type": "reasoning", "id": "rs_up", "summary": []})),
        delta("reasoning_summary_text", 0, 0, "one"),
        delta("reasoning_summary_text", 0, 1, "t"),
        delta("reasoning_summary_text", 0, 1, "wo"),
        delta("reasoning_text", 0, 0, "hm"),
        done(0, &thought),
        added(1, &search("in_progress")),
        event("response.web_search_call.searching", &json!({"output_index": 1, "item_id": "ws_up"})),
        done(1, &search("completed")),
        added(2, &json!({"type": "message", "role": "assistant", "phase": "final_answer", "content": []})),
        delta("output_text", 2, 0, "Hel"),
        delta("output_text", 2, 0, "lo"),
        delta("refusal", 2, 1, "no!"),
        done(2, &said),
        added(3, &call("")),
        delta("function_call_arguments", 3, 0, "{}"),
        done(3, &call("{}")),
        completed(&json!([thought, search("completed"), said, call("{}")])),
    ];
    let (events, response) = streamed(&sent);
    assert_eq!(lines(&events), EVERYTHING);
    let output = &response["output"];
    assert_eq!(output[0]["encrypted_content"], "e==");
    assert_eq!(output[1]["action"], json!({"type": "search", "query": "q"}));
    assert_eq!(
        (&output[2]["phase"], &output[2]["content"][0]["annotations"][0]),
        (&json!("final_answer"), &cited)
    );
    let ids: Vec<&str> = output.as_array().unwrap().iter().map(id).collect();
    for (id, prefix) in ids.iter().zip(["rs_", "ws_", "msg_", "fc_"]) {
        assert!(id.starts_with(prefix) && !id.ends_with("_up"), "{ids:?}");
    }
    assert_eq!(response["usage"]["total_tokens"], 18);
}

#[test]
fn what_an_endpoint_leaves_out_is_said_when_it_is_known() {
    let whole = |events: &[String]| {
        let (events, response) = streamed(events);
        assert_eq!(response["status"], "completed", "{events:?}");
        (lines(&events).len(), response["output"].clone())
    };
    let all = [spoken(0, &["Hello"]), vec![completed(&json!([message("Hello")]))]].concat();
    let expected = whole(&all);
    assert_eq!(expected.0, 9);
    let same = |events: &[String]| {
        let (count, output) = whole(events);
        assert_eq!((count, &output[0]["content"]), (expected.0, &expected.1[0]["content"]), "{events:?}");
    };
    // No deltas, no beginning, no end of the item, nothing but the last event.
    same(&[added(0, &empty_message()), done(0, &message("Hello")), completed(&json!([message("Hello")]))]);
    same(&[done(0, &message("Hello")), completed(&json!([]))]);
    same(&[
        added(0, &empty_message()),
        delta("output_text", 0, 0, "Hello"),
        completed(&json!([message("Hello")])),
    ]);
    same(&[completed(&json!([message("Hello")]))]);
    // Half of the deltas: the rest comes as one more.
    let half =
        [added(0, &empty_message()), delta("output_text", 0, 0, "He"), completed(&json!([message("Hello")]))];
    assert_eq!(whole(&half).0, expected.0 + 1);
    // What is done already is done, and nothing counts after the end.
    let twice = [
        done(0, &message("Hello")),
        done(0, &message("Other")),
        completed(&json!([message("Hello")])),
        completed(&json!([message("Other")])),
        delta("output_text", 9, 9, "x"),
    ];
    same(&twice);
    let keeps_alive =
        ["data: \n\n".to_owned(), event("keepalive", &json!({"output_index": {}})), ": ping\n\n".to_owned()];
    same(
        &[&keeps_alive[..], &[completed(&json!([message("Hello")])), "data: [DONE]\n\n".to_owned()]].concat(),
    );
    // A last event without the empty line that would end it.
    let unended = completed(&json!([message("Hello")]));
    same(&[unended.trim_end().to_owned() + "\n"]);
    // Items of which nothing is handed on.
    let unknown = json!({"type": "computer_call", "action": {}});
    same(&[
        added(0, &unknown),
        event("response.computer_call.moved", &json!({"output_index": 0})),
        done(0, &unknown),
        done(1, &message("Hello")),
        completed(&json!([unknown, message("Hello")])),
    ]);
}

#[test]
fn an_answer_that_was_cut_off_by_a_bound_says_so_and_so_do_its_items() {
    let mut object = response(&json!([]));
    object["status"] = json!("incomplete");
    object["incomplete_details"] = json!({"reason": "max_output_tokens"});
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": ""});
    let ended = event("response.incomplete", &json!({ "response": object }));
    let (events, response) =
        streamed(&[added(0, &call), delta("function_call_arguments", 0, 0, "{\"a\":"), ended]);
    assert_eq!(events.last().unwrap().0, "response.incomplete");
    assert_eq!(response["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(
        (&response["output"][0]["status"], &response["output"][0]["arguments"]),
        (&json!("incomplete"), &json!("{\"a\":"))
    );
}

#[test]
fn log_probabilities_are_handed_on() {
    let token = json!({"token": "Hi", "logprob": -0.25, "bytes": [72, 105],
        "top_logprobs": [{"token": "Ho", "logprob": -2.0, "bytes": [72, 111]}]});
    let mut said = message("Hi");
    said["content"][0]["logprobs"] = json!([token]);
    let world = asked_by_responses();
    world.script(responds(&json!([said])));
    let whole = world.json("POST", "/v1/responses", &json!({"input": "x", "top_logprobs": 1}), 200);
    assert_eq!(whole["output"][0]["content"][0]["logprobs"], json!([token]));
    let fields = json!({"output_index": 0, "content_index": 0, "delta": "Hi", "logprobs": [token]});
    let sent = [
        added(0, &empty_message()),
        event("response.output_text.delta", &fields),
        done(0, &said),
        completed(&json!([said])),
    ];
    let text = stream_of(&world, &json!({"input": "x", "top_logprobs": 1}), sends(&sent));
    let events = read_events(text.trim_end_matches("data: [DONE]\n\n"));
    let delta = &events.iter().find(|(kind, _)| kind == "response.output_text.delta").unwrap().1;
    assert_eq!(delta["logprobs"], json!([token]));
    assert_eq!(events.last().unwrap().1["response"]["output"][0]["content"][0]["logprobs"], json!([token]));
}

#[test]
fn what_fails_before_it_says_anything_falls_back_and_a_limit_is_told_as_one() {
    let failed = |code: &str| {
        event(
            "response.failed",
            &json!({"response": {"status": "failed", "error": {"code": code, "message": "m"}}}),
        )
    };
    let limit = event("error", &json!({"code": "rate_limit_exceeded", "message": "secret"}));
    for (sent, code) in [(failed("server_error"), "server_error"), (limit, "rate_limit_exceeded")] {
        let begun = [added(0, &empty_message()), sent];
        let (_, response) = streamed(&begun);
        assert_eq!((&response["status"], &response["error"]["code"]), (&json!("failed"), &json!(code)));
        assert!(!response.to_string().contains("secret"), "{response}");
        let world = asked_by_responses();
        world.set("fallback", "text");
        let text = stream_of(&world, &json!({"input": "x"}), sends(&begun));
        assert!(text.contains("\"waggle_fallback\":true") && text.contains("response.completed"), "{text}");
    }
    let world = asked_by_responses();
    world.script(answers(
        200,
        "application/json",
        &json!({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "m"}, "output": []})
            .to_string(),
    ));
    let error = world.json("POST", "/v1/responses", &json!({"input": "x"}), 429);
    assert_eq!(error["error"]["code"], "rate_limit_exceeded");
    world.script(says("a chat completion"));
    let error = world.json("POST", "/v1/responses", &json!({"input": "x"}), 502);
    assert_eq!(error["error"]["code"], "model_endpoint_error");
}

#[test]
fn a_tier_may_be_asked_by_the_other_api_and_what_declines_goes_on_to_it() {
    let world = asked_by_responses();
    world.set("model", "auto");
    let decline = "I'm sorry, but I can't help with that.";
    world.script(says(decline));
    world.script(responds(&json!([message("Yes")])));
    let answer = world.json("POST", "/v1/responses", &json!({"input": "hello"}), 200);
    assert_eq!((text(&answer), &answer["model"]), ("Yes", &json!("large")));
    world.set("responses_models", "small");
    for answers_first in [true, false] {
        let first =
            if answers_first { "Your parcel is on its way, and will be there soon." } else { decline };
        world.script(sends(&[spoken(0, &[first]), vec![completed(&json!([message(first)]))]].concat()));
        if !answers_first {
            let chunk = json!({"choices": [{"delta": {"content": "Yes"}, "finish_reason": "stop"}]});
            world.script(streams(vec![bytes(&format!("data: {chunk}\n\ndata: [DONE]\n\n"))]));
        }
        let client = Client::default();
        world.stream("/v1/responses", &json!({"input": "hello", "stream": true}), &client);
        let events = events(&client);
        let response = &events.last().unwrap().1["response"];
        let expected = if answers_first { (first, "small") } else { ("Yes", "large") };
        assert_eq!((text(response), response["model"].as_str().unwrap()), expected);
    }
    // What is said with the last event only is looked at as well.
    for (said, model) in [("Your parcel is on its way, and will be there soon.", "small"), (decline, "large")]
    {
        world.script(sends(&[completed(&json!([message(said)]))]));
        if model == "large" {
            let chunk = json!({"choices": [{"delta": {"content": "Yes"}, "finish_reason": "stop"}]});
            world.script(streams(vec![bytes(&format!("data: {chunk}\n\ndata: [DONE]\n\n"))]));
        }
        let client = Client::default();
        world.stream("/v1/responses", &json!({"input": "hello", "stream": true}), &client);
        assert_eq!(events(&client).last().unwrap().1["response"]["model"], model);
    }
    // A refusal, or nothing at all, declines as well.
    for empty in [json!([]), json!([{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}])]
    {
        world.script(responds(&empty));
        world.script(says("Yes"));
        assert_eq!(text(&world.json("POST", "/v1/responses", &json!({"input": "hello"}), 200)), "Yes");
    }
}

#[test]
fn sessions_and_background_responses_are_asked_the_same_way() {
    let world = asked_by_responses();
    world.script(responds(&json!([message("Hello")])));
    let answer = world.json("POST", "/v1/chat", &json!({"user": "ada", "query": "hi"}), 200);
    assert_eq!(answer["answer"], "Hello");
    world.script(sends(&[spoken(0, &["Hel", "lo"]), vec![completed(&json!([message("Hello")]))]].concat()));
    let reply = world.exchange("/v1/chat", &json!({"user": "ada", "query": "hi", "stream": true}), None);
    let events = String::from_utf8(reply.body).unwrap();
    assert_eq!(events.matches("event: delta").count(), 2, "{events}");
    assert!(events.contains("\"answer\":\"Hello\""), "{events}");
    let queued = create(&world, &json!({"input": "x"}));
    world.script(sends(&[spoken(0, &["Hel", "lo"]), vec![completed(&json!([message("Hello")]))]].concat()));
    assert_eq!(run(&world), 200);
    let ended = get(&world, id(&queued));
    assert_eq!((&ended["status"], text(&ended)), (&json!("completed"), "Hello"));
}

#[test]
fn a_chat_completion_of_such_a_model_is_refused_by_name() {
    let world = asked_by_responses();
    let body = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "compare x"}]});
    for model in ["gpt", "auto"] {
        let error = world.json("POST", "/v1/chat/completions", &body(model), 400);
        assert_eq!(
            (&error["error"]["param"], &error["error"]["code"]),
            (&json!("model"), &json!("unsupported_api"))
        );
    }
    assert!(world.asked().is_empty());
    world.script(says("Hi"));
    world.json("POST", "/v1/chat/completions", &body("sim"), 200);
}

#[test]
fn an_answer_that_does_not_fit_its_format_is_not_called_complete() {
    let world = asked_by_responses();
    let format = json!({"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}});
    for (said, status) in [("{}", "completed"), ("no", "failed")] {
        world.script(responds(&json!([message(said)])));
        let answer = world.json("POST", "/v1/responses", &json!({"input": "x", "text": format}), 200);
        assert_eq!(answer["status"], status, "{said}");
    }
    assert_eq!(world.asked()[0]["text"], format);
}

#[test]
fn a_client_that_goes_away_ends_the_call() {
    let world = asked_by_responses();
    let mut pieces = vec![bytes(&added(0, &empty_message())), bytes(&delta("output_text", 0, 0, "one"))];
    pieces.push(Piece::Hangs);
    world.script(streams(pieces));
    let client = Client { leaves_after: Some(2), ..Client::default() };
    world.stream("/v1/responses", &json!({"input": "x", "stream": true}), &client);
    assert_eq!(world.model.dropped.get(), 1);
}

#[test]
fn a_file_by_its_url_goes_only_to_a_model_that_takes_one() {
    let world = asked_by_responses();
    let file = json!({"type": "input_file", "filename": "a.pdf", "file_url": "https://e.x/a.pdf"});
    let said = json!([{"role": "user", "content": [file]}]);
    let error = world.json("POST", "/v1/responses", &json!({"input": said, "model": "sim"}), 400);
    assert_eq!(error["error"]["param"], "input[0]", "{error}");
    world.script(responds(&json!([message("Read")])));
    let read = world.json("POST", "/v1/responses", &json!({"input": said}), 200);
    assert_eq!(world.asked()[0]["input"][0]["content"], json!([file]));
    // A model of the other API sees where it was.
    world.turn(&json!({"input": "and?", "model": "sim", "previous_response_id": id(&read)}), "Hm");
    assert_eq!(world.last_messages(), ["https://e.x/a.pdf", "Read", "and?"]);
    // Of two tiers, only the one that can be told it is asked.
    world.set("model", "auto");
    world.set("responses_models", "small");
    world.script(answers(500, "application/json", "{}"));
    let body = json!({"input": said});
    assert_eq!(world.json("POST", "/v1/responses", &body, 502)["error"]["code"], "model_endpoint_error");
}

#[test]
fn everything_that_such_a_turn_keeps_is_as_the_schemas_have_it() {
    let world = asked_by_responses();
    let search = json!({"type": "web_search_call", "id": "ws_up", "status": "completed", "action": {"type": "search"}});
    let thought = json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "e"});
    let all = [vec![done(0, &search), done(1, &thought)], spoken(2, &["Hello"]), vec![completed(&json!([]))]]
        .concat();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let file = json!({"type": "input_file", "file_url": "https://e.x/a.pdf"});
    let said = json!([{"role": "user", "content": [file]}]);
    stream_of(&world, &json!({"input": said, "conversation": id(&conversation)}), sends(&all));
    check_kept(&world);
}
