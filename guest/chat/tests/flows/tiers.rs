//! The model `auto`: which tier is asked, when the next one is, and what is said of it.

use crate::support::{
    Client, Piece, Script, World, answers, bytes, delta, ending, events, id, says, streams, text, world,
};
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;

const DECLINE: &str = "I'm sorry, but I can't help with that.";
const PATHS: [&str; 2] = ["/v1/responses", "/v1/chat/completions"];

fn auto() -> World {
    let world = world();
    world.set("model", "auto");
    world
}

fn body(path: &str, question: &str, stream: bool) -> Value {
    if path == PATHS[0] {
        return json!({"input": question, "stream": stream});
    }
    json!({"messages": [{"role": "user", "content": question}], "stream": stream})
}

fn asked_models(world: &World) -> Vec<String> {
    world.asked().iter().map(|asked| asked["model"].as_str().unwrap().to_owned()).collect()
}

fn speaks(stream: bool, text: &str) -> Script {
    if stream { streams(vec![bytes(&delta(text)), bytes(&ending("stop"))]) } else { says(text) }
}

/// The answer to a question, plain or streamed: what it says, the model it names and the metadata.
fn ask(world: &World, path: &str, question: &str, stream: bool) -> (String, Value, Value) {
    let reply = world.exchange(path, &body(path, question, stream), None);
    let answer = String::from_utf8(reply.body).unwrap();
    assert_eq!(reply.status, 200, "{answer}");
    match (path == PATHS[0], stream) {
        (true, false) => {
            let response: Value = serde_json::from_str(&answer).unwrap();
            (text(&response).to_owned(), response["model"].clone(), response["metadata"].clone())
        }
        (true, true) => {
            let events = crate::support::read_events(&answer);
            let response = &events.last().unwrap().1["response"];
            assert_eq!(events[0].1["response"]["model"], response["model"]);
            assert_eq!(
                events[0].1["response"]["metadata"]["waggle_tier"],
                response["metadata"]["waggle_tier"]
            );
            (text(response).to_owned(), response["model"].clone(), response["metadata"].clone())
        }
        (false, false) => {
            let completion: Value = serde_json::from_str(&answer).unwrap();
            let content = completion["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
            (content, completion["model"].clone(), completion["waggle_metadata"].clone())
        }
        (false, true) => {
            let data = answer.split_terminator("\n\n").filter_map(|event| event.strip_prefix("data: "));
            let chunks: Vec<Value> = data
                .filter(|data| *data != "[DONE]")
                .map(|data| serde_json::from_str(data).unwrap())
                .collect();
            let content = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
            (content.collect(), chunks[0]["model"].clone(), chunks[0]["waggle_metadata"].clone())
        }
    }
}

fn tier(tier: &str, reason: &str, escalated: &str) -> Value {
    json!({"waggle_tier": tier, "waggle_tier_reason": reason, "waggle_escalated": escalated})
}

#[test]
fn a_simple_question_goes_to_the_small_model_and_a_hard_one_to_the_large() {
    for path in PATHS {
        for stream in [false, true] {
            for (question, model, reason) in [
                ("Where is my parcel?", "small", "simple"),
                ("Compare both tariffs", "large", "keyword"),
                ("帮我分析一下账单", "large", "keyword"),
                ("谢谢", "small", "greeting"),
            ] {
                let world = auto();
                world.script(speaks(stream, "Fine."));
                let (said, named, metadata) = ask(&world, path, question, stream);
                assert_eq!((said.as_str(), asked_models(&world)), ("Fine.", vec![model.to_owned()]));
                assert_eq!(metadata, tier(model, reason, "false"), "{path} {question}");
                if path == PATHS[0] {
                    assert_eq!(named, model, "{question}");
                }
            }
        }
    }
}

#[test]
fn auto_may_be_named_as_well() {
    for path in PATHS {
        let world = world();
        world.script(says("Fine."));
        let mut body = body(path, "Where is it?", false);
        body["model"] = json!("auto");
        let answer = world.json("POST", path, &body, 200);
        assert!(answer.to_string().contains("waggle_tier"), "{answer}");
        let mut expected = body.clone();
        if path == PATHS[1] {
            expected["model"] = json!("small");
            assert_eq!(world.asked()[0], expected, "nothing else is changed");
        }
        assert_eq!(asked_models(&world), ["small"]);
    }
}

#[test]
fn the_history_and_the_tools_of_a_turn_count() {
    let world = auto();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let turn = json!({"input": "and now?", "conversation": id(&conversation)});
    for _ in 0..10 {
        assert_eq!(world.turn(&turn, "ok")["metadata"]["waggle_tier_reason"], "simple");
    }
    let world_tools = |choice: &str| {
        let tools = json!([{"type": "function", "name": "f", "parameters": {}}]);
        let body = json!({"input": "and now?", "tools": tools, "tool_choice": choice});
        world.turn(&body, "ok")["metadata"]["waggle_tier_reason"].clone()
    };
    assert_eq!((world_tools("auto"), world_tools("none")), (json!("tools"), json!("simple")));
    assert_eq!(world.turn(&turn, "ok")["metadata"]["waggle_tier_reason"], "simple", "twenty items");
    assert_eq!(world.turn(&turn, "ok")["metadata"]["waggle_tier_reason"], "history");
    for (effort, expected) in [("low", "small"), ("high", "large")] {
        let body = json!({"input": "x", "reasoning": {"effort": effort}});
        assert_eq!(world.turn(&body, "ok")["model"], expected);
    }
    let schema = json!({"format": {"type": "json_schema", "name": "n", "schema": {}}});
    assert_eq!(world.turn(&json!({"input": "x", "text": schema}), "{}")["model"], "large");
}

/// What the small model does, in place of an answer; each for a plain and a streamed question.
fn poor_answers(stream: bool) -> Vec<(&'static str, Script)> {
    let filtered = json!({"choices": [{"message": {"content": "par"}, "finish_reason": "content_filter"}]});
    let mut scripts = vec![
        ("declines", speaks(stream, DECLINE)),
        ("declines in Chinese", speaks(stream, "很抱歉,我无法回答这个问题。")),
        ("says nothing", speaks(stream, "")),
        ("503", answers(503, "text/plain", "busy")),
        ("429", answers(429, "text/plain", "busy")),
        ("is not there", answers(404, "text/plain", "none")),
        ("times out", Script::Fails(TransportFailure::TimedOut("x".into()))),
    ];
    if stream {
        scripts.push(("is filtered", streams(vec![bytes(&delta("I")), bytes(&ending("content_filter"))])));
        scripts.push(("is cut", streams(vec![Piece::Fails(TransportFailure::Cut("x".into()))])));
        let letters = DECLINE.chars().map(|letter| bytes(&delta(&letter.to_string()))).collect();
        scripts.push(("declines by the letter", streams(letters)));
        scripts.push((
            "is cut while it declines",
            streams(vec![bytes(&delta("I'm sor")), Piece::Fails(TransportFailure::Cut("x".into()))]),
        ));
        scripts.push(("ends while it declines", streams(vec![bytes(&delta("I'm sor"))])));
    } else {
        scripts.push(("is filtered", answers(200, "application/json", &filtered.to_string())));
        scripts.push(("is no JSON", answers(200, "text/html", "<html>")));
    }
    scripts
}

#[test]
fn the_large_model_is_asked_when_the_small_one_fails_or_declines() {
    for path in PATHS {
        for stream in [false, true] {
            for (name, script) in poor_answers(stream) {
                let world = auto();
                world.script(script);
                world.script(speaks(stream, "It is on its way."));
                let (said, named, metadata) = ask(&world, path, "Where is my parcel?", stream);
                let name = format!("{path} stream={stream}: {name}");
                assert_eq!(
                    (said.as_str(), asked_models(&world).join(",").as_str()),
                    ("It is on its way.", "small,large"),
                    "{name}"
                );
                assert_eq!(metadata, tier("small", "simple", "true"), "{name}");
                if path == PATHS[0] {
                    assert_eq!(named, "large", "{name}");
                }
            }
        }
    }
}

#[test]
fn the_large_model_is_not_asked_twice_nor_for_a_wrong_request() {
    for stream in [false, true] {
        let world = auto();
        world.script(speaks(stream, DECLINE));
        assert_eq!(ask(&world, PATHS[0], "Compare them", stream).0, DECLINE);
        let world = auto();
        world.script(answers(400, "application/json", "{}"));
        world.json("POST", PATHS[0], &body(PATHS[0], "x", stream), 400);
        assert_eq!(asked_models(&world), ["small"]);
    }
}

#[test]
fn when_both_fail_the_turn_falls_back_and_a_poor_answer_is_better_than_none() {
    for path in PATHS {
        for stream in [false, true] {
            let world = auto();
            world.set("fallback", "text");
            world.script(answers(503, "text/plain", "busy"));
            world.script(Script::Fails(TransportFailure::TimedOut("x".into())));
            let (said, _, metadata) = ask(&world, path, "x", stream);
            assert_eq!(said, "We are busy, please try again later", "{path}");
            let expected = json!({"waggle_tier": "small", "waggle_tier_reason": "simple", "waggle_escalated": "true",
                "waggle_fallback": "true", "waggle_fallback_reason": "model_endpoint_timeout"});
            assert_eq!(metadata, expected, "{path}");
            let world = auto();
            world.script(speaks(stream, DECLINE));
            world.script(answers(503, "text/plain", "busy"));
            assert_eq!(ask(&world, path, "x", stream).0, DECLINE, "{path} {stream}");
        }
    }
}

#[test]
fn an_answer_is_held_back_no_longer_than_it_may_become_a_refusal() {
    for path in PATHS {
        // What follows never comes: whoever waits for it hangs.
        for first in ["Your parcel", "I'm sorry for the trouble", &" ".repeat(60), &"I".repeat(49)] {
            let world = auto();
            world.script(streams(vec![bytes(&delta(first)), Piece::Hangs]));
            let client = Client { leaves_after: Some(2), ..Client::default() };
            let pieces = streams(vec![bytes(&delta(first)), bytes(&delta(" more")), Piece::Hangs]);
            world.model.scripts.borrow_mut()[0] = pieces;
            world.stream(path, &body(path, "x", true), &client);
            assert!(client.writes.borrow().concat().contains(first.trim()), "{path} {first:?}");
        }
    }
    let reasons = bytes("data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n");
    let world = auto();
    world.script(streams(vec![reasons, Piece::Hangs]));
    let client = Client { leaves_after: Some(1), ..Client::default() };
    world.stream(PATHS[1], &body(PATHS[1], "x", true), &client);
    assert!(client.writes.borrow()[0].contains("waggle_tier"));
}

#[test]
fn tool_calls_of_the_small_model_are_an_answer() {
    let call =
        json!({"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let world = auto();
    let chunk = format!("data: {}\n\n", json!({"choices": [{"delta": {"tool_calls": [call]}}]}));
    world.script(streams(vec![bytes(&chunk), bytes(&ending("tool_calls"))]));
    let client = Client::default();
    world.stream(PATHS[0], &body(PATHS[0], "x", true), &client);
    assert_eq!(events(&client).last().unwrap().1["response"]["output"][0]["name"], "f");
    world.script(answers(
        200,
        "application/json",
        &json!({"choices": [{"message": {"content": null,
        "tool_calls": [call]}, "finish_reason": "tool_calls"}]})
        .to_string(),
    ));
    world.json("POST", PATHS[0], &body(PATHS[0], "x", false), 200);
    assert_eq!(asked_models(&world), ["small", "small"]);
}

fn check_allowed(models: &str, question: &str, expected: Option<&str>) {
    for path in PATHS {
        let world = auto();
        world.set("models", models);
        let body = body(path, question, false);
        let Some(model) = expected else {
            let error = world.json("POST", path, &body, 404);
            assert_eq!(error["error"]["code"], "model_not_found", "{models}");
            assert!(error["error"]["message"].as_str().unwrap().contains("`auto`"), "{error}");
            assert!(world.asked().is_empty());
            continue;
        };
        world.script(says("ok"));
        world.json("POST", path, &body, 200);
        assert_eq!(asked_models(&world), [model], "{models} {question}");
    }
}

#[test]
fn auto_is_bound_by_the_models_that_may_be_named() {
    check_allowed("*", "x", Some("small"));
    check_allowed("auto, small, large", "Compare them", Some("large"));
    check_allowed("auto, small", "Compare them", Some("small"));
    check_allowed("auto, large", "x", Some("large"));
    check_allowed("auto", "x", None);
    check_allowed("small, large", "x", None);
    let world = auto();
    world.set("models", "auto,small");
    world.script(says(DECLINE));
    assert_eq!(ask(&world, PATHS[0], "x", false).0, DECLINE, "what is not allowed is not asked");
}

#[test]
fn a_tenants_table_names_the_models() {
    let world = auto();
    world.set("tiers", r#"{"small": "qwen-small", "large": "gpt-5", "large_keywords": ["refund*"]}"#);
    let small = world.turn(&json!({"input": "Where?", "max_output_tokens": 9}), "ok");
    let large = world.turn(&json!({"input": "Refunded?", "max_output_tokens": 9}), "ok");
    assert_eq!((&small["model"], &large["model"]), (&json!("qwen-small"), &json!("gpt-5")));
    assert_eq!(large["metadata"], tier("large", "tenant_keyword", "false"));
    let asked = world.asked();
    assert_eq!((&asked[0]["max_tokens"], &asked[1]["max_completion_tokens"]), (&json!(9), &json!(9)));
}

#[test]
fn a_wrong_table_is_the_operators_to_see_and_stops_only_auto() {
    for path in PATHS {
        let world = auto();
        world.set("tiers", r#"{"smal": "x"}"#);
        let error = world.json("POST", path, &body(path, "x", false), 500);
        assert_eq!(error["error"]["code"], "internal_error");
        let line = world.platform.lines.borrow()[0].clone();
        assert!(
            line.contains("'tiers'") && line.contains("`smal`") && line.contains("line 1 column"),
            "{line}"
        );
        world.script(says("ok"));
        let mut named = body(path, "x", false);
        named["model"] = json!("sim");
        world.json("POST", path, &named, 200);
    }
}

#[test]
fn the_model_that_the_host_says_has_answered_is_named() {
    let whole = json!({"id": "c", "model": "gpt-5-2026-05", "choices": [{"message": {"content": "ok"},
        "finish_reason": "stop"}]})
    .to_string();
    let chunk =
        "data: {\"id\":\"c\",\"model\":\"gpt-5-2026-05\",\"choices\":[{\"delta\":{\"content\":\"ok\"}}]}\n\n";
    for path in PATHS {
        for stream in [false, true] {
            for (host, own) in [(Some("backup"), "backup"), (None, "gpt-5-2026-05")] {
                let world = world();
                world.model.answers_as.set(host);
                let pieces = vec![bytes(chunk), bytes(chunk), bytes("data: [DONE]\n\n")];
                world.script(if stream { streams(pieces) } else { answers(200, "application/json", &whole) });
                let reply = world.exchange(path, &body(path, "x", stream), None);
                let text = String::from_utf8(reply.body).unwrap();
                // A response names the model that was asked, where nobody knows better.
                let expected = if path == PATHS[0] && host.is_none() { "sim" } else { own };
                let named: Vec<&str> =
                    text.split("\"model\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
                assert!(
                    !named.is_empty() && named.iter().all(|name| *name == expected),
                    "{path} {stream} {text}"
                );
                assert!(!text.contains("waggle_metadata"), "{text}");
            }
        }
    }
    let world = auto();
    world.model.answers_as.set(Some("backup"));
    world.script(says("ok"));
    assert_eq!(ask(&world, PATHS[0], "x", false).1, "backup");
}

fn check_listed(variables: &[(&'static str, &str)], list: &str, expected: bool) {
    let world = world();
    for (name, value) in variables {
        world.set(name, value);
    }
    let list = json!({"object": "list", "data":
        list.split(',').map(|id| json!({"id": id, "object": "model"})).collect::<Vec<_>>()})
    .to_string();
    world.script(answers(200, "application/json", &list));
    let shown = world.json("GET", "/v1/models", &Value::Null, 200);
    let ids: Vec<&str> =
        shown["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    let listed = shown["data"].as_array().unwrap().iter().any(|model| model["owned_by"] == "waggle");
    assert_eq!(listed, expected, "{variables:?} {list}: {ids:?}");
    if expected {
        world.script(answers(200, "application/json", &list));
        let model = world.json("GET", "/v1/models/auto", &Value::Null, 200);
        assert_eq!((&model["id"], &model["owned_by"]), (&json!("auto"), &json!("waggle")));
    }
}

#[test]
fn auto_is_listed_where_it_can_be_used() {
    check_listed(&[], "small,large,demo", true);
    check_listed(&[], "small,demo", false);
    check_listed(&[], "demo", false);
    check_listed(&[("models", "auto,small")], "small,demo", true);
    check_listed(&[("models", "small,large")], "small,large", false);
    check_listed(&[("models", "auto,demo")], "small,large,demo", false);
    check_listed(&[("tiers", r#"{"small":"a","large":"b"}"#)], "demo", true);
    check_listed(&[("tiers", r#"{"small":"a","large":"b"}"#)], "auto,demo", false);
    check_listed(&[("tiers", "nonsense")], "small,large", false);
}
