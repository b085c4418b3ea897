//! The tools that every tenant has.

use crate::support::{Scripted, World, answers, world};
use serde_json::{Value, json};
use waggle_tool::wire::{CallError, CallReply};

const CONVERSATION: &str = "conv_000000000000000000000001";

fn empty() -> World {
    world(&json!([]))
}

fn within(world: &World, function: &str, arguments: &Value) -> CallReply {
    world.call_with("waggle", function, &arguments.to_string(), &json!({"conversation": CONVERSATION}))
}

#[test]
fn sums_and_times_are_told() {
    let world = empty();
    assert_eq!(world.call("waggle", "calculator", r#"{"expression": "0.1 + 0.2"}"#).output, "0.3");
    let wrong = world.call("waggle", "calculator", r#"{"expression": "1 / 0"}"#);
    assert_eq!((wrong.error, wrong.attempts), (Some(CallError::InvalidArguments), 1));
    assert!(wrong.output.contains("division by zero"), "{}", wrong.output);
    let told: Value =
        serde_json::from_str(&world.call("waggle", "current_time", r#"{"time_zone": "Asia/Tokyo"}"#).output)
            .unwrap();
    assert_eq!(told["time"], "2026-07-28T21:00:00+09:00");
    assert!(world.call("waggle", "current_time", r#"{"time_zone": "Mars"}"#).error.is_some());
}

#[test]
fn knowledge_is_searched_in_the_stores_of_the_turn() {
    let world = empty();
    let hit = json!({"file_id": "file-1", "filename": "returns.md", "score": 0.8312, "attributes": {}, "vector_store_id": "vs_1",
        "content": [{"type": "text", "text": "Thirty days."}]});
    let found = json!({"object": "x", "search_query": ["q"], "data": [hit], "has_more": false, "waggle": {"passed_threshold": true}});
    world.platform.neighbours.borrow_mut().insert("retrieval", (200, found.clone()));
    let stores = json!({"vector_store_ids": ["vs_1"]});
    let reply =
        world.call_with("waggle", "search_knowledge", r#"{"query": "returns?", "max_results": 3}"#, &stores);
    let told: Value = serde_json::from_str(&reply.output).unwrap();
    assert_eq!(
        told["results"],
        json!([{"file": "returns.md", "file_id": "file-1", "score": 0.83, "text": "Thirty days."}])
    );
    let (function, path, body) = world.platform.asked.borrow()[0].clone();
    assert_eq!((function.as_str(), path.as_str()), ("retrieval", "/v1/retrieval/search"));
    assert_eq!((&body["vector_store_ids"], &body["max_num_results"]), (&json!(["vs_1"]), &json!(3)));

    // Without any, those of the tenant; without these, none.
    assert_eq!(world.call("waggle", "search_knowledge", r#"{"query": "q"}"#).error, Some(CallError::Failed));
    world.set("knowledge", "vs_2, vs_3");
    let mut below = found;
    below["waggle"]["passed_threshold"] = json!(false);
    world.platform.neighbours.borrow_mut().insert("retrieval", (200, below));
    let reply = world.call("waggle", "search_knowledge", r#"{"query": "q"}"#);
    assert!(
        reply.error.is_none() && reply.output.contains("Nothing in the knowledge base"),
        "{}",
        reply.output
    );
    assert_eq!(world.platform.asked.borrow().last().unwrap().2["vector_store_ids"], json!(["vs_2", "vs_3"]));
    world.platform.neighbours.borrow_mut().insert("retrieval", (503, json!({})));
    assert_eq!(world.call("waggle", "search_knowledge", r#"{"query": "q"}"#).attempts, 3);
}

#[test]
fn a_conversation_is_searched_from_its_end() {
    let world = empty();
    let message = |id: &str, text: &str| {
        json!({"type": "message", "id": id, "role": "user",
        "content": [{"type": "input_text", "text": text}]})
    };
    let first = json!({"data": [message("msg_3", "The blue one."), {"type": "reasoning", "id": "rs_1"}], "last_id": "msg_3", "has_more": true});
    let second = json!({"data": [message("msg_2", "My order is A7, a blue shirt."), message("msg_1", "Hello")], "last_id": "msg_1", "has_more": false});
    world.net.script("http://chat.spin.internal", [answers(200, &first), answers(200, &second)]);
    let reply = within(&world, "search_conversation", &json!({"query": "blue order"}));
    let told: Value = serde_json::from_str(&reply.output).unwrap();
    let ids: Vec<&str> =
        told["messages"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["msg_2", "msg_3"]);
    let asked = world.net.to("http://chat.spin.internal");
    assert!(asked[0].url.contains(CONVERSATION) && asked[1].url.ends_with("&after=msg_3"), "{asked:?}");
}

#[test]
fn a_conversation_is_handed_over() {
    let world = empty();
    world.platform.neighbours.borrow_mut().insert("chat", (200, json!({})));
    let reply = within(&world, "hand_over", &json!({"reason": "asked for a person"}));
    assert!(reply.handed_over && reply.error.is_none(), "{reply:?}");
    let (function, path, body) = world.platform.asked.borrow()[0].clone();
    assert_eq!((function.as_str(), path), ("chat", format!("/v1/conversations/{CONVERSATION}/handover")));
    assert_eq!(body, json!({"reason": "asked for a person", "by": "model"}));
    world.platform.neighbours.borrow_mut().insert("chat", (404, json!({})));
    let reply = within(&world, "hand_over", &json!({"reason": "r"}));
    assert!(!reply.handed_over && reply.error == Some(CallError::Failed), "{reply:?}");
}

#[test]
fn what_needs_a_conversation_says_so_without_one() {
    let world = empty();
    world.net.script("http://chat.spin.internal", [Scripted::Silence]);
    for (function, arguments) in
        [("hand_over", r#"{"reason":"r"}"#), ("search_conversation", r#"{"query":"q"}"#)]
    {
        for conversation in ["", "conv_../../x"] {
            let changes = json!({"conversation": conversation});
            let reply = world.call_with("waggle", function, arguments, &changes);
            assert_eq!(reply.error, Some(CallError::Failed), "{function}");
            assert!(reply.output.contains("no conversation"), "{}", reply.output);
        }
    }
}
