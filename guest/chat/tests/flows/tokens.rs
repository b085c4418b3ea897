//! Tokens: what a turn would send is counted without a turn, and windows are filled by what models count.

use crate::support::{World, answers, id, text, world};
use serde_json::{Value, json};

/// The model that counts bytes, exactly.
const BYTES: &str = "bytes";

fn count(world: &World, body: &Value) -> (u64, bool) {
    let answer = world.json("POST", "/v1/responses/input_tokens", body, 200);
    assert_eq!(answer["object"], "response.input_tokens");
    let estimated = answer.get("waggle_estimated").is_some_and(|estimated| *estimated == json!(true));
    assert_eq!(answer.as_object().unwrap().len(), 2 + usize::from(estimated), "{answer}");
    (answer["input_tokens"].as_u64().unwrap(), estimated)
}

#[test]
fn what_a_turn_would_send_is_counted_and_nothing_is_asked_or_kept() {
    let world = world();
    let check = |body: &Value, expected: (u64, bool)| assert_eq!(count(&world, body), expected, "{body}");
    check(&json!({"model": BYTES, "input": "hello"}), (5 + 4 + 3, false));
    check(&json!({"model": BYTES, "input": "hello", "instructions": "be kind"}), (5 + 4 + 7 + 4 + 3, false));
    check(&json!({"model": BYTES}), (3, false));
    check(&json!({"input": "hello"}), (2 + 4 + 3, true));
    let call = json!([{"role": "user", "content": "q"},
        {"type": "function_call", "call_id": "c", "name": "find", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "found"}]);
    check(&json!({"model": BYTES, "input": call}), (1 + 6 + 5 + 3 * 4 + 3, false));
    let tool = json!({"type": "function", "name": "f", "description": "d", "parameters": {}});
    check(&json!({"model": BYTES, "input": "x", "tools": [tool]}), (1 + 4 + 4 + 7 + 12 + 3, true));
    let format = json!({"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}});
    check(&json!({"model": BYTES, "input": "x", "text": format}), (1 + 4 + 17 + 3, true));
    let image = json!([{"role": "user", "content": [{"type": "input_image", "image_url": "data:,", "detail": "low"}]}]);
    check(&json!({"model": BYTES, "input": image}), (85 + 4 + 3, true));
    assert!(world.model.requests.borrow().is_empty() && world.store.dump().is_empty());
}

#[test]
fn what_is_continued_is_counted_and_no_place_is_taken_in_it() {
    let world = world();
    let first = world.turn(&json!({"model": BYTES, "input": "hi"}), "yes");
    let chain = json!({"model": BYTES, "input": "x", "previous_response_id": id(&first)});
    assert_eq!(count(&world, &chain), ((2 + 4) + (3 + 4) + (1 + 4) + 3, false));
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    world.turn(&json!({"model": BYTES, "input": "hi", "conversation": id(&conversation)}), "yes");
    let kept = world.store.dump();
    let body = json!({"model": BYTES, "input": "x", "conversation": id(&conversation)});
    assert_eq!(count(&world, &body), ((2 + 4) + (3 + 4) + (1 + 4) + 3, false));
    assert_eq!(world.store.dump(), kept);
    let stored = first["output"][0]["id"].clone();
    let reference = json!({"model": BYTES, "input": [{"type": "item_reference", "id": stored}]});
    assert_eq!(count(&world, &reference), (3 + 4 + 3, false));
}

#[test]
fn what_no_turn_could_send_is_refused_as_a_turn_is() {
    let world = world();
    let unknown = "resp_000000000000000000000000";
    let orphan = json!([{"type": "function_call_output", "call_id": "c", "output": "o"}]);
    for (body, code) in [
        (json!({"input": "x", "previous_response_id": unknown}), json!("previous_response_not_found")),
        (json!({"input": orphan}), json!("invalid_value")),
        (json!({"input": "x", "temprature": 1}), json!("unknown_parameter")),
        (json!({"input": []}), json!("empty_array")),
    ] {
        let error = world.json("POST", "/v1/responses/input_tokens", &body, 400);
        let of_turn = world.json("POST", "/v1/responses", &body, 400);
        assert_eq!((&error, &error["error"]["code"]), (&of_turn, &code), "{body}");
    }
    let reply = world.send("GET", "/v1/responses/input_tokens", "");
    assert_eq!(reply.status, 405);
}

#[test]
fn a_turn_keeps_what_its_model_counts_and_counts_twice_at_most() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    world.platform.counts.borrow_mut().clear();
    world.set("instructions", "be kind");
    world.turn(&json!({"model": BYTES, "input": "hello", "conversation": id(&conversation)}), "yes");
    assert_eq!(*world.platform.counts.borrow(), [BYTES; 2]);
    let entry = world.keys("conversation/").into_iter().find(|key| key.contains("/entry/")).unwrap();
    let entry: Value = serde_json::from_slice(&world.store.dump()[&entry]).unwrap();
    assert_eq!(entry["tokens"], (5 + 4) + (3 + 4), "{entry}");
}

#[test]
fn a_window_is_filled_by_what_the_model_counts() {
    let seen = |model: &str| {
        let world = world();
        world.set("window_tokens_max", "60");
        let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
        for said in ["one", "two", "three"] {
            world.turn(
                &json!({"model": model, "input": said, "conversation": id(&conversation)}),
                &"a".repeat(20),
            );
        }
        world.last_messages().len()
    };
    assert_eq!((seen(BYTES), seen("any")), (3, 5));
}

#[test]
fn a_model_that_is_chosen_is_counted_as_the_small_one() {
    let world = world();
    world.set("tiers", r#"{"small": "bytes", "large": "gpt-5"}"#);
    world.turn(&json!({"model": "auto", "input": "compare them, please"}), "ok");
    assert_eq!(count(&world, &json!({"model": "auto", "input": "hello"})), (5 + 4 + 3, false));
    assert!(world.platform.counts.borrow().iter().all(|model| model == BYTES));
}

#[test]
fn usage_is_counted_where_the_endpoint_counts_nothing() {
    let world = world();
    let body = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]});
    world.script(answers(200, "application/json", &body.to_string()));
    let said = json!({"model": BYTES, "input": "hello", "instructions": "be kind",
        "tools": [{"type": "function", "name": "f"}]});
    let response = world.json("POST", "/v1/responses", &said, 200);
    assert_eq!(text(&response), "yes");
    let usage = (&response["usage"]["input_tokens"], &response["usage"]["output_tokens"]);
    assert_eq!(usage, (&json!((5 + 4) + (7 + 4) + (1 + 7 + 12) + 3), &json!(3 + 4)));
    assert_eq!(count(&world, &said).0, response["usage"]["input_tokens"].as_u64().unwrap());
}

#[test]
fn a_caller_who_wants_nothing_left_out_is_told_what_does_not_fit() {
    let world = world();
    world.set("window_tokens_max", "40");
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let body = |said: &str, truncation: &Value| json!({"model": BYTES, "input": said, "conversation": id(&conversation), "truncation": truncation});
    let disabled = json!("disabled");
    // 17 tokens each.
    for said in ["one", "two"] {
        world.turn(&body(said, &disabled), "answer");
    }
    let refused = world.json("POST", "/v1/responses", &body("three", &disabled), 400);
    let error = &refused["error"];
    assert_eq!((&error["code"], &error["param"]), (&json!("context_length_exceeded"), &json!("input")));
    let long = json!({"model": BYTES, "input": "a".repeat(60), "truncation": "disabled"});
    let refused = world.json("POST", "/v1/responses", &long, 400);
    assert_eq!(refused["error"]["code"], "context_length_exceeded");
    // Whoever says otherwise, or nothing, gets an answer.
    for truncation in [json!("auto"), Value::Null] {
        world.turn(&body("x", &truncation), "answer");
    }
    assert_eq!(world.joined().iter().filter(|key| key.contains("/entry/")).count(), 4);
}

#[test]
fn an_input_that_is_too_long_for_the_model_is_said_to_be() {
    let world = world();
    for error in [
        json!({"message": "Too long.", "code": "context_length_exceeded"}),
        json!({"message": "This model's maximum context length is 4096 tokens.", "code": 400}),
    ] {
        world.script(answers(400, "application/json", &json!({"error": error}).to_string()));
        let refused = world.json("POST", "/v1/responses", &json!({"input": "x"}), 400);
        assert_eq!(refused["error"]["code"], "context_length_exceeded", "{refused}");
    }
}
