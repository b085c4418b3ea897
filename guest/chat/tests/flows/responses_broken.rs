//! Upstreams whose Responses stream violates the protocol: half an answer is never shown as a whole one.

use crate::responses_wire::{
    added, asked_by_responses, completed, delta, done, event, message, response, sends, spoken, stream_of,
};
use crate::support::{Piece, bytes, id, read_events, streams};
use proptest::prelude::*;
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;

/// The events of a turn whose model sends these pieces.
fn heard(pieces: Vec<Piece>) -> Vec<(String, Value)> {
    let world = asked_by_responses();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let before = world.joined();
    let body = json!({"input": "x", "conversation": id(&conversation)});
    let text = stream_of(&world, &body, streams(pieces));
    let events =
        read_events(text.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("no end: {text}")));
    let response = &events.last().unwrap().1["response"];
    let stored = world.json("GET", &format!("/v1/responses/{}", id(response)), &Value::Null, 200);
    assert_eq!(&stored, response);
    if response["status"] == "failed" {
        assert_eq!(world.joined(), before, "the conversation is as it was");
    }
    events
}

/// The stream fails, with what was said until then, and says nothing of the endpoint.
fn check(name: &str, pieces: Vec<Piece>, said: &str) {
    let events = heard(pieces);
    let (kind, data) = events.last().unwrap();
    let response = &data["response"];
    assert_eq!(
        (kind.as_str(), &response["status"]),
        ("response.failed", &json!("failed")),
        "{name}: {events:?}"
    );
    assert!(!data.to_string().contains("secret"), "{name}: {data}");
    let text = response["output"][0]["content"][0]["text"].as_str().unwrap_or_default();
    assert_eq!(text, said, "{name}: {data}");
}

fn open() -> Vec<Piece> {
    vec![
        bytes(&added(0, &json!({"type": "message", "role": "assistant", "content": []}))),
        bytes(&delta("output_text", 0, 0, "par")),
    ]
}

#[test]
fn what_breaks_or_contradicts_itself_fails_and_what_was_said_is_incomplete() {
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": ""});
    let after = |more: &[String]| [open(), more.iter().map(|event| bytes(event)).collect()].concat();
    let end = || completed(&json!([]));
    let cases: Vec<(&str, Vec<Piece>)> = vec![
        ("the end without a last event", open()),
        ("done, but not completed", after(&["data: [DONE]\n\n".to_owned()])),
        ("cut in the middle of an event", after(&["data: {\"type\":\"respo".to_owned()])),
        (
            "a broken connection",
            [open(), vec![Piece::Fails(TransportFailure::Cut("secret".into()))]].concat(),
        ),
        (
            "no byte for too long",
            [open(), vec![Piece::Fails(TransportFailure::TimedOut("secret".into()))]].concat(),
        ),
        ("not JSON", after(&["data: <html>secret</html>\n\n".to_owned()])),
        ("not UTF-8", [open(), vec![Piece::Bytes(b"data: {\"type\":\"\xff\"}\n\n".to_vec())]].concat()),
        ("a line without end", [open(), vec![Piece::Bytes(vec![b'x'; 17 << 20])]].concat()),
        ("an error", after(&[event("error", &json!({"message": "secret"}))])),
        ("an error without a type", after(&["data: {\"error\":{\"message\":\"secret\"}}\n\n".to_owned()])),
        (
            "failed",
            after(&[event("response.failed", &json!({"response": {"error": {"message": "secret"}}}))]),
        ),
        ("an item that never ends", after(&[end()])),
        ("an item that begins twice", after(&[added(0, &call), end()])),
        ("an item that ends as another", after(&[done(0, &message("other")), end()])),
        ("an item that ends as less", after(&[done(0, &message("pa")), end()])),
        ("an item that ends as a call", after(&[done(0, &call), end()])),
        ("an item that ends as nothing known", after(&[done(0, &json!({"type": "computer_call"})), end()])),
        ("a piece of an item never added", after(&[delta("output_text", 7, 0, "x"), end()])),
        ("arguments of an item never added", after(&[delta("function_call_arguments", 7, 0, "x"), end()])),
        ("arguments of a message", after(&[delta("function_call_arguments", 0, 0, "x"), end()])),
        ("a thought of a message", after(&[delta("reasoning_text", 0, 0, "x"), end()])),
        ("a summary of a message", after(&[delta("reasoning_summary_text", 0, 0, "x"), end()])),
        ("a part that turns into another kind", after(&[delta("refusal", 0, 0, "x"), end()])),
        ("another answer in the last event", after(&[completed(&json!([message("other")]))])),
        ("a last event without a response", after(&[event("response.completed", &json!({}))])),
        (
            "a last event that is not over",
            after(&[event("response.completed", &json!({"response": {"status": "queued"}}))]),
        ),
        ("a chunk of the other API", after(&["data: {\"choices\":[]}\n\n".to_owned()])),
        (
            "a negative index",
            after(&[event("response.output_text.delta", &json!({"output_index": -1, "delta": "x"}))]),
        ),
    ];
    for (name, pieces) in cases {
        check(name, pieces, "par");
    }
    let ended = after(&[done(0, &message("par")), delta("output_text", 0, 0, "ty"), end()]);
    check("a piece after the end of its item", ended, "par");
    let back = after(&[delta("refusal", 0, 1, "no"), delta("output_text", 0, 0, "ty"), end()]);
    check("a piece of a part that has ended", back, "par");
    let many: Vec<String> =
        (1..200).map(|at| added(at, &json!({"type": "reasoning", "summary": []}))).collect();
    check("items without end", after(&many), "par");
}

#[test]
fn a_call_that_is_not_whole_is_never_shown_as_one() {
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": ""});
    let pieces =
        vec![bytes(&added(0, &call)), bytes(&delta("function_call_arguments", 0, 0, "{\"sum\": 10"))];
    let events = heard(pieces);
    let response = &events.last().unwrap().1["response"];
    assert_eq!(
        (&response["status"], &response["output"][0]["status"]),
        (&json!("failed"), &json!("incomplete"))
    );
    assert!(events.iter().all(|(kind, _)| kind != "response.function_call_arguments.done"), "{events:?}");
}

/// An answer with a thought, a message in pieces and a call, as one event each.
fn answer() -> Vec<String> {
    let thought = json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "sum"}]});
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\":1}"});
    let mut begun = call.clone();
    begun["arguments"] = json!("");
    let mut events = vec![
        added(0, &json!({"type": "reasoning", "summary": []})),
        delta("reasoning_summary_text", 0, 0, "su"),
        delta("reasoning_summary_text", 0, 0, "m"),
        done(0, &thought),
    ];
    events.extend(spoken(1, &["Hel", "lo ", "you"]));
    events.extend([added(2, &begun), delta("function_call_arguments", 2, 0, "{\"a\"")]);
    events.extend([delta("function_call_arguments", 2, 0, ":1}"), done(2, &call)]);
    events.push(completed(&json!([thought, message("Hello you"), call])));
    events
}

/// What may be said of an answer whose events came in any order, doubled, cut: it ends; and if it is called complete, it is
/// all of the answer.
fn check_any(pieces: Vec<Piece>) {
    let events = heard(pieces);
    let response = &events.last().unwrap().1["response"];
    let output = response["output"].as_array().unwrap();
    for (number, (_, data)) in events.iter().enumerate() {
        assert_eq!(data["sequence_number"], json!(number), "{events:?}");
    }
    if response["status"] != "completed" {
        return;
    }
    let whole =
        response_parts(&json!([{"type": "reasoning", "summary": [{"text": "sum"}]}, message("Hello you"),
        {"type": "function_call", "arguments": "{\"a\":1}"}]));
    let mut found = response_parts(&json!(output));
    found.sort();
    let mut expected = whole;
    expected.sort();
    assert_eq!(found, expected, "{response}");
}

fn response_parts(output: &Value) -> Vec<String> {
    let part = |item: &Value| match item["type"].as_str() {
        Some("reasoning") => item["summary"][0]["text"].to_string(),
        Some("message") => item["content"][0]["text"].to_string(),
        _ => item["arguments"].to_string(),
    };
    output.as_array().unwrap().iter().map(part).collect()
}

#[test]
fn the_answer_that_is_shuffled_below_is_whole_as_it_stands() {
    let world = asked_by_responses();
    let text = stream_of(&world, &json!({"input": "x"}), sends(&answer()));
    assert!(text.contains("event: response.completed"), "{text}");
    assert_eq!(response(&json!([]))["status"], "completed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn an_answer_whose_events_are_shuffled_doubled_or_lost_is_whole_or_failed(
        order in prop::collection::vec(0usize..20, 0..24),
        keeps in any::<bool>(),
    ) {
        let all = answer();
        let mut events: Vec<String> = order.iter().filter_map(|at| all.get(*at).cloned()).collect();
        if keeps {
            events.push(all.last().unwrap().clone());
        }
        check_any(events.iter().map(|event| bytes(event)).collect());
    }

    #[test]
    fn an_answer_of_which_one_event_is_moved_or_missing_is_whole_or_failed(from in 0usize..19, to in prop::option::of(0usize..19)) {
        let mut events = answer();
        let moved = events.remove(from % events.len());
        if let Some(to) = to {
            events.insert(to % (events.len() + 1), moved);
        }
        check_any(events.iter().map(|event| bytes(event)).collect());
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_failed(at in 0.0f64..1.0, pieces in 1usize..200) {
        let all = answer().concat().into_bytes();
        let last = answer().last().unwrap().len();
        let cut = (at * (all.len() - last) as f64) as usize;
        let pieces: Vec<Piece> = all[..cut].chunks(pieces).map(|bytes| Piece::Bytes(bytes.to_vec())).collect();
        let events = heard(pieces);
        prop_assert_eq!(&events.last().unwrap().0, "response.failed");
    }
}
