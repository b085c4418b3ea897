//! Turns that are answered from the tenant's knowledge, as streams, in the background and once.

use crate::support::{
    Client, Piece, asks, bytes, delta, ending, events, found, found_nothing, id, read_events, says, streams,
    world,
};
use serde_json::{Value, json};
use waggle_chat::Reply;
use waggle_model::transport::TransportFailure;

fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

fn kinds(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(kind, _)| kind.strip_prefix("response.").unwrap_or(kind)).collect()
}

const SEARCH: [&str; 5] = [
    "output_item.added",
    "file_search_call.in_progress",
    "file_search_call.searching",
    "file_search_call.completed",
    "output_item.done",
];

#[test]
fn the_search_comes_first_and_citations_come_with_their_text() {
    let world = world();
    world.finds(&found());
    let pieces = ["At nine [", "1", "], in Rome", " at ten [2]."];
    let pieces: Vec<Piece> = pieces.iter().map(|piece| bytes(&delta(piece))).collect();
    world.script(streams([pieces, vec![bytes(&ending("stop"))]].concat()));
    let client = Client::default();
    world.stream("/v1/responses", &streamed(asks("When?")), &client);
    let events = events(&client);
    let expected = [
        &["created", "in_progress"][..],
        &SEARCH,
        &["output_item.added", "content_part.added", "output_text.annotation.added"],
        &[
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ],
    ]
    .concat();
    let others = |kinds: Vec<&str>| -> Vec<String> {
        kinds.into_iter().filter(|kind| *kind != "output_text.delta").map(str::to_owned).collect()
    };
    assert_eq!(others(kinds(&events)), others(expected));
    let begun = &events[2].1;
    let search = begun["item"]["id"].as_str().unwrap();
    let in_progress =
        json!({"id": search, "type": "file_search_call", "status": "in_progress", "queries": []});
    assert_eq!((&begun["item"], &begun["output_index"]), (&in_progress, &json!(0)));
    for (_, stage) in &events[3..6] {
        assert_eq!((&stage["item_id"], &stage["output_index"]), (&json!(search), &json!(0)));
    }
    assert_eq!(events[6].1["item"]["queries"], json!(["opening hours"]));
    let text: String = events.iter().filter_map(|(_, data)| data["delta"].as_str()).collect();
    assert_eq!(text, "At nine, in Rome at ten.");
    let cited: Vec<&Value> =
        events.iter().map(|(_, data)| &data["annotation"]).filter(|cited| !cited.is_null()).collect();
    assert_eq!((&cited[0]["file_id"], &cited[0]["index"]), (&json!("file_hours"), &json!(7)));
    assert_eq!((&cited[1]["file_id"], &cited[1]["index"]), (&json!("file_shops"), &json!(23)));
    let response = &events.last().unwrap().1["response"];
    let part = &response["output"][1]["content"][0];
    assert_eq!((&part["text"], part["annotations"].as_array().unwrap().len()), (&json!(text), 2));
    let numbers: Vec<u64> =
        events.iter().map(|(_, data)| data["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
    let kept = world.looked_up("/v1/retrieval/answers");
    assert_eq!(kept[0]["text"], "At nine [1], in Rome at ten [2].");
}

fn known(reply: &Reply) -> Vec<(String, Value)> {
    assert!(reply.headers.contains(&("x-waggle-answer", "none".to_owned())), "{:?}", reply.headers);
    let text = String::from_utf8(reply.body.clone()).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"));
    read_events(&text)
}

#[test]
fn what_is_known_without_a_model_is_streamed_with_every_event() {
    let world = world();
    world.finds(&found_nothing(false));
    let reply = world.exchange("/v1/responses", &streamed(asks("q")), None);
    let events = known(&reply);
    let expected = [
        &["created", "in_progress"][..],
        &SEARCH,
        &["output_item.added", "content_part.added", "output_text.delta", "output_text.done"],
        &["content_part.done", "output_item.done", "completed"],
    ]
    .concat();
    assert_eq!(kinds(&events), expected);
    // And read again, it is the same.
    let path = format!("/v1/responses/{}?stream=true", id(&events[0].1["response"]));
    let again = world.send("GET", &path, "");
    assert_eq!(read_events(&String::from_utf8(again.body).unwrap()), events);
}

#[test]
fn a_session_streams_what_is_known_without_a_model() {
    let world = world();
    world.set("knowledge", "vs_1");
    world.finds(&found_nothing(true));
    let reply = world.exchange("/v1/chat", &json!({"user": "ada", "query": "q", "stream": true}), None);
    let text = String::from_utf8(reply.body).unwrap();
    let events = read_events(&text);
    assert_eq!(kinds(&events), ["session", "delta", "done"]);
    assert_eq!(
        (&events[2].1["answer"], &events[2].1["handover"]),
        (&json!("I found nothing."), &json!(true))
    );
    assert_eq!(events[2].1["seq"], 1);
}

#[test]
fn a_session_streams_an_answer_and_what_it_cites() {
    let world = world();
    world.set("knowledge", "vs_1");
    world.finds(&found());
    world.script(streams(vec![bytes(&delta("At nine [1].")), bytes(&ending("stop"))]));
    let reply = world.exchange("/v1/chat", &json!({"user": "ada", "query": "q", "stream": true}), None);
    let events = read_events(&String::from_utf8(reply.body).unwrap());
    let done = &events.last().unwrap().1;
    assert_eq!(
        (&done["answer"], &done["citations"][0]["file_id"]),
        (&json!("At nine."), &json!("file_hours"))
    );
    assert_eq!(world.looked_up("/v1/retrieval/answers").len(), 1);
}

#[test]
fn a_stream_with_a_search_is_read_again_with_all_its_items() {
    let world = world();
    for (answer, same) in [("Plain.", true), ("At nine [1].", false)] {
        world.finds(&found());
        let (one, two) = answer.split_at(3);
        world.script(streams(vec![bytes(&delta(one)), bytes(&delta(two)), bytes(&ending("stop"))]));
        let client = Client::default();
        world.stream("/v1/responses", &streamed(asks("q")), &client);
        let told = events(&client);
        let path = format!("/v1/responses/{}?stream=true", id(&told[0].1["response"]));
        let again = read_events(&String::from_utf8(world.send("GET", &path, "").body).unwrap());
        // What a text cites is not known piece by piece, so its text comes in one.
        assert_eq!(again == told, same, "{answer}");
        let whole = |events: &[(String, Value)]| {
            let others = events.iter().filter(|(kind, _)| kind != "response.output_text.delta");
            others
                .map(|(kind, data)| (kind.clone(), data["item"].clone(), data["annotation"].clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(whole(&again), whole(&told), "{answer}");
    }
}

#[test]
fn a_model_that_says_nothing_after_a_search_is_replaced() {
    let world = world();
    world.set("fallback", "text");
    // What was held back, because it may be the number of a source, is not said then.
    for pieces in [vec![], vec![bytes(&delta(" ["))]] {
        world.finds(&found());
        let breaks = Piece::Fails(TransportFailure::Cut("x".into()));
        world.script(streams([pieces, vec![breaks]].concat()));
        let client = Client::default();
        world.stream("/v1/responses", &streamed(asks("q")), &client);
        let told = events(&client);
        let response = &told.last().unwrap().1["response"];
        let output = response["output"].as_array().unwrap();
        assert_eq!((output.len(), &output[1]["waggle_fallback"]), (2, &json!(true)), "{response:#}");
        assert!(!output[1]["content"][0]["text"].as_str().unwrap().contains('['));
    }
}

#[test]
fn a_model_that_adds_its_items_itself_streams_without_numbers() {
    let world = world();
    world.set("responses_models", "*");
    world.finds(&found());
    let event = |value: Value| bytes(&format!("data: {value}\n\n"));
    let text_delta = |text: &str| {
        event(
            json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}),
        )
    };
    let message = |text: &str| {
        json!({"type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
    };
    let whole = message("[2] At nine [1]. ");
    let ended = json!({"status": "completed", "output": [whole]});
    world.script(streams(vec![
        event(json!({"type": "response.output_item.added", "output_index": 0, "item": message("")})),
        text_delta("[2] At ni"),
        text_delta("ne [1"),
        text_delta("]. "),
        event(json!({"type": "response.output_item.done", "output_index": 0, "item": whole})),
        event(json!({"type": "response.completed", "response": ended})),
    ]));
    let client = Client::default();
    world.stream("/v1/responses", &streamed(asks("q")), &client);
    let told = events(&client);
    let (kind, last) = told.last().unwrap();
    assert_eq!(kind, "response.completed", "{last:#}");
    let part = &last["response"]["output"][1]["content"][0];
    let text: String = told.iter().filter_map(|(_, data)| data["delta"].as_str()).collect();
    assert_eq!(part["text"], json!(text));
    assert!(text.contains("At nine.") && !text.contains('['), "{text}");
    let cited: Vec<&Value> =
        told.iter().map(|(_, data)| &data["annotation"]).filter(|cited| !cited.is_null()).collect();
    let annotations: Vec<&Value> = part["annotations"].as_array().unwrap().iter().collect();
    assert_eq!((cited.len(), &cited), (2, &annotations), "each is told once");
    assert_eq!(world.looked_up("/v1/retrieval/answers")[0]["text"], "[2] At nine [1]. ");
    // The items grow once more when the stream is read again.
    let path = format!("/v1/responses/{}?stream=true", id(&told[0].1["response"]));
    let again = read_events(&String::from_utf8(world.send("GET", &path, "").body).unwrap());
    assert_eq!(again.last(), told.last());
    assert!(kinds(&again).contains(&"file_search_call.searching"));
}

#[test]
fn a_background_response_is_looked_up_when_it_runs() {
    let world = world();
    let mut body = asks("When?");
    body["background"] = json!(true);
    let queued = world.json("POST", "/v1/responses", &body, 200);
    assert_eq!(queued["status"], "queued");
    assert!(world.platform.looked_up.borrow().is_empty(), "not when it is accepted");
    world.finds(&found());
    world.script(streams(vec![bytes(&delta("At nine [1].")), bytes(&ending("stop"))]));
    assert_eq!(world.deliver(false).status, 200);
    let path = format!("/v1/responses/{}", id(&queued));
    let response = world.json("GET", &path, &Value::Null, 200);
    assert_eq!(
        (&response["status"], &response["output"][1]["content"][0]["text"]),
        (&json!("completed"), &json!("At nine."))
    );
    assert_eq!(world.looked_up("/v1/retrieval/answers").len(), 1);
}

#[test]
fn a_background_response_needs_no_model_for_what_is_known_without() {
    let world = world();
    let mut body = asks("When?");
    body["background"] = json!(true);
    let queued = world.json("POST", "/v1/responses", &body, 200);
    world.finds(&found_nothing(true));
    assert_eq!(world.deliver(false).status, 200);
    let response = world.json("GET", &format!("/v1/responses/{}", id(&queued)), &Value::Null, 200);
    assert_eq!(
        (&response["status"], &response["metadata"]["waggle_answer"]),
        (&json!("completed"), &json!("handover"))
    );
    assert_eq!(response["output"][1]["content"][0]["text"], "I found nothing.");
    assert!(world.asked().is_empty());
}

#[test]
fn a_turn_under_a_key_is_looked_up_once_and_answered_alike() {
    let world = world();
    world.finds(&found());
    world.script(says("At nine [1]."));
    let first = world.once("/v1/responses", "k", &asks("When?"));
    let second = world.once("/v1/responses", "k", &asks("When?"));
    assert_eq!((first.status, &first.body), (200, &second.body));
    let mut unstored = asks("When?");
    unstored["store"] = json!(false);
    world.finds(&found());
    world.script(says("At nine [1]."));
    let first = world.once("/v1/responses", "l", &unstored);
    let second = world.once("/v1/responses", "l", &unstored);
    assert_eq!((first.status, &first.body), (200, &second.body));
    assert_eq!(world.looked_up("/v1/retrieval/search").len(), 2);
    assert_eq!(world.looked_up("/v1/retrieval/answers").len(), 2);
}
