//! Streamed turns: the order of events, what a cut or a client that goes away leaves behind.

use crate::support::{
    Client, Piece, Script, World, answers, bytes, delta, ending, events, id, streams, text, world,
};
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;

fn streamed(world: &World, script: Script, body: &Value, client: &Client) -> Vec<(String, Value)> {
    world.script(script);
    let mut body = body.clone();
    body["stream"] = json!(true);
    world.stream("/v1/responses", &body, client);
    events(client)
}

fn kinds(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(kind, _)| kind.as_str()).collect()
}

const HEAD: [&str; 2] = ["response.created", "response.in_progress"];
const OPEN: [&str; 2] = ["response.output_item.added", "response.content_part.added"];
const DELTA: &str = "response.output_text.delta";
const CLOSE: [&str; 3] =
    ["response.output_text.done", "response.content_part.done", "response.output_item.done"];

fn order(parts: &[&[&'static str]]) -> Vec<&'static str> {
    parts.concat()
}

/// The one stored response of a world.
fn stored(world: &World) -> Value {
    let key = world.keys("response/").pop().expect("a stored response");
    let record: Value = serde_json::from_slice(&world.store.dump()[&key]).unwrap();
    record["response"].clone()
}

#[test]
fn the_events_of_a_turn_come_in_openais_order_one_write_for_each_chunk() {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let script = streams(vec![
        bytes(role),
        bytes(&delta("Hel")),
        bytes(&format!("{}{}", delta("lo"), delta(" é"))),
        bytes(&ending("stop")),
    ]);
    let client = Client::default();
    let events = streamed(&world, script, &json!({"input": "x", "conversation": id(&conversation)}), &client);
    let expected = order(&[&HEAD, &OPEN, &[DELTA, DELTA, DELTA], &CLOSE, &["response.completed"]]);
    assert_eq!(kinds(&events), expected);
    for (number, (kind, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(kind), &json!(number)));
    }
    assert_eq!(client.writes.borrow().len(), 4, "{:?}", client.writes);
    assert_eq!(events[0].1["response"]["status"], "in_progress");
    let item = &events[2].1["item"];
    assert_eq!((&item["status"], &item["content"]), (&json!("in_progress"), &json!([])));
    for (_, data) in &events[3..9] {
        assert_eq!((&data["item_id"], &data["output_index"]), (&item["id"], &json!(0)));
    }
    assert_eq!(events[7].1["text"], "Hello é");
    let response = &events.last().unwrap().1["response"];
    assert_eq!((text(response), &response["status"]), ("Hello é", &json!("completed")));
    assert_eq!(response["usage"]["total_tokens"], 7);
    assert_eq!(&stored(&world), response);
    assert_eq!(response["output"][0], events[9].1["item"]);
    world.turn(&json!({"input": "y", "conversation": id(&conversation)}), "z");
    assert_eq!(world.last_messages(), ["x", "Hello é", "y"]);
    assert_eq!(world.asked()[0]["stream_options"], json!({"include_usage": true}));
}

#[test]
fn a_stream_reads_the_same_wherever_it_is_cut_into_chunks() {
    let whole = format!(": ping\r\n\r\n{}{}{}", delta("你好"), delta("👋"), ending("stop"));
    for size in [1, 2, 3, 7, 64] {
        let world = world();
        let pieces = whole.as_bytes().chunks(size).map(|chunk| Piece::Bytes(chunk.to_vec())).collect();
        let events = streamed(&world, streams(pieces), &json!({"input": "x"}), &Client::default());
        assert_eq!(text(&events.last().unwrap().1["response"]), "你好👋", "in chunks of {size}");
    }
}

#[test]
fn tool_calls_are_streamed() {
    let chunk = |calls: &Value| {
        bytes(&format!("data: {}\n\n", json!({"choices": [{"delta": {"tool_calls": calls}}]})))
    };
    let script = streams(vec![
        bytes(&delta("Let me see.")),
        chunk(
            &json!([{"index": 0, "id": "c0", "type": "function", "function": {"name": "f", "arguments": ""}}]),
        ),
        chunk(&json!([{"index": 0, "function": {"arguments": "{\"a\":"}}])),
        chunk(&json!([{"index": 1, "id": "c1", "function": {"name": "g", "arguments": "{}"}}])),
        chunk(&json!([{"index": 0, "function": {"arguments": "1}"}}])),
        bytes(&ending("tool_calls")),
    ]);
    let events = streamed(&world(), script, &json!({"input": "x"}), &Client::default());
    let (added, more, done) = (
        "response.output_item.added",
        "response.function_call_arguments.delta",
        ["response.function_call_arguments.done", "response.output_item.done"],
    );
    let expected = order(&[
        &HEAD,
        &OPEN,
        &[DELTA],
        &CLOSE,
        &[added, more, added, more, more],
        &done,
        &done,
        &["response.completed"],
    ]);
    assert_eq!(kinds(&events), expected);
    let output = &events.last().unwrap().1["response"]["output"];
    assert_eq!((&output[1]["name"], &output[1]["arguments"]), (&json!("f"), &json!("{\"a\":1}")));
    assert_eq!((&output[2]["call_id"], &output[2]["arguments"]), (&json!("c1"), &json!("{}")));
    assert_eq!(output.as_array().unwrap().len(), 3);
}

#[test]
fn a_model_that_says_nothing_says_an_empty_message() {
    let events = streamed(
        &world(),
        streams(vec![bytes("data: [DONE]\n\n")]),
        &json!({"input": "x"}),
        &Client::default(),
    );
    assert_eq!(kinds(&events), order(&[&HEAD, &OPEN, &CLOSE, &["response.completed"]]));
    assert_eq!(text(&events.last().unwrap().1["response"]), "");
}

#[test]
fn a_length_limit_ends_the_stream_as_incomplete() {
    let script = streams(vec![bytes(&delta("par")), bytes(&ending("length"))]);
    let events = streamed(&world(), script, &json!({"input": "x"}), &Client::default());
    let (kind, data) = events.last().unwrap();
    assert_eq!(kind, "response.incomplete");
    assert_eq!(data["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));
}

fn check_cut(name: &str, pieces: Vec<Piece>) {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let before = world.joined();
    let body = json!({"input": "x", "conversation": id(&conversation)});
    let events = streamed(&world, streams(pieces), &body, &Client::default());
    let (kind, data) = events.last().unwrap();
    assert_eq!(kind, "response.failed", "{name}");
    let response = &data["response"];
    assert_eq!((&response["status"], &response["error"]["code"]), (&json!("failed"), &json!("server_error")));
    assert!(!response.to_string().contains("secret"), "{name}: {response}");
    assert_eq!(text(response), "par", "{name}: what was said is kept");
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(&stored(&world), response);
    assert_eq!(world.joined(), before, "{name}: the conversation is as it was");
    assert_eq!(world.platform.lines.borrow().len(), 1, "{name}");
}

#[test]
fn a_stream_that_breaks_fails_the_response_and_leaves_the_conversation_as_it_was() {
    let said = || bytes(&delta("par"));
    check_cut("the end without a reason", vec![said()]);
    check_cut("cut in the middle of an event", vec![said(), bytes("data: {\"choi")]);
    check_cut("a broken connection", vec![said(), Piece::Fails(TransportFailure::Cut("secret".into()))]);
    check_cut(
        "no byte for too long",
        vec![said(), Piece::Fails(TransportFailure::TimedOut("secret".into()))],
    );
    check_cut("not JSON", vec![said(), bytes("data: <html>secret</html>\n\n")]);
    check_cut("an error", vec![said(), bytes("data: {\"error\":{\"message\":\"secret\"}}\n\n")]);
    check_cut("not UTF-8", vec![said(), Piece::Bytes(b"data: {\"x\":\"\xff\"}\n\n".to_vec())]);
    check_cut("a line without end", vec![said(), Piece::Bytes(vec![b'x'; 3 << 20])]);
}

#[test]
fn what_breaks_after_the_model_has_finished_does_not_matter() {
    let world = world();
    let finish = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let cut = Piece::Fails(TransportFailure::Cut("late".into()));
    let events = streamed(
        &world,
        streams(vec![bytes(&delta("whole")), bytes(finish), cut]),
        &json!({"input": "x"}),
        &Client::default(),
    );
    assert_eq!(events.last().unwrap().0, "response.completed");
}

fn check_leaving(leaves_after: usize, silent: bool, pieces: Vec<Piece>, said: &Value) {
    let world = world();
    let conversation = world.json("POST", "/v1/conversations", &json!({}), 200);
    let before = world.joined();
    let client = Client { leaves_after: Some(leaves_after), silent, ..Client::default() };
    streamed(&world, streams(pieces), &json!({"input": "x", "conversation": id(&conversation)}), &client);
    assert_eq!(world.model.dropped.get(), 1, "the call upstream is ended");
    let response = stored(&world);
    assert_eq!(response["status"], "cancelled");
    assert_eq!(&response["output"][0]["content"][0]["text"], said);
    assert_eq!(world.joined(), before, "the conversation is as it was");
}

#[test]
fn a_client_that_goes_away_ends_the_call_and_the_response_says_so() {
    let (first, second) = (bytes(&delta("one")), bytes(&delta(" two")));
    // It is noticed while the model is silent, or at the next write.
    check_leaving(2, false, vec![first.clone(), Piece::Hangs], &json!("one"));
    check_leaving(2, true, vec![first.clone(), second, Piece::Hangs], &json!("one two"));
    check_leaving(0, true, vec![first.clone(), Piece::Hangs], &Value::Null);
    // The host may end the call by itself, before anything else tells.
    let ended = Piece::Fails(TransportFailure::Cut("ended by the host".into()));
    check_leaving(2, true, vec![first, ended], &json!("one"));
}

#[test]
fn a_turn_that_cannot_be_kept_is_not_reported_complete() {
    let world = world();
    world.script(streams(vec![bytes(&delta("hi")), bytes(&ending("stop"))]));
    world.store.fail(Some("set_many"));
    let client = Client::default();
    world.stream("/v1/responses", &json!({"input": "x", "stream": true}), &client);
    let events = events(&client);
    let (kind, data) = events.last().unwrap();
    assert_eq!((kind.as_str(), &data["code"]), ("error", &json!("storage_error")));
    assert!(!kinds(&events).contains(&"response.completed"));
    assert!(!data.to_string().contains("secret detail"), "{data}");
    assert!(world.platform.lines.borrow()[0].contains("secret detail"));
}

#[test]
fn a_stream_whose_turn_finds_the_store_full_ends_with_an_error_that_names_the_limit() {
    let world = world();
    world.script(streams(vec![bytes(&delta("hi")), bytes(&ending("stop"))]));
    world.store.fill(true);
    let client = Client::default();
    world.stream("/v1/responses", &json!({"input": "x", "stream": true}), &client);
    let events = events(&client);
    let (kind, data) = events.last().unwrap();
    assert_eq!((kind.as_str(), &data["code"]), ("error", &json!("storage_limit_exceeded")), "{data}");
    assert_eq!(data["sequence_number"], json!(events.len() - 1), "{data}");
    let message = data["message"].as_str().unwrap();
    assert!(message.contains("(storage_bytes_max)") && !message.contains("secret"), "{message}");
    assert!(!kinds(&events).contains(&"response.completed"));
    assert!(world.store.dump().is_empty());
}

#[test]
fn an_endpoint_that_does_not_stream_is_reported_before_the_stream_begins() {
    let world = world();
    world.script(answers(200, "text/html", "<html>secret</html>"));
    let error = world.json("POST", "/v1/responses", &json!({"input": "x", "stream": true}), 502);
    assert_eq!(error["error"]["code"], "model_endpoint_error");
}
