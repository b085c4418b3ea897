//! Turns of a conversation whose tenant has intents: asked for what is missing, told of what is known.

use crate::support::{World, id, says, world};
use crate::tools::{Does, tool};
use serde_json::{Value, json};
use waggle_model::transport::TransportFailure;

fn intent(changes: &Value) -> Value {
    let mut recognition = json!({"object": "intent", "name": "track", "confidence": 0.875, "by": "words",
        "alternatives": [], "slots": {}, "missing": [], "question": null});
    for (name, value) in changes.as_object().unwrap() {
        recognition[name] = value.clone();
    }
    recognition
}

fn tracks(changes: &Value) -> Does {
    let guidance =
        json!({"description": "Where an order is", "instructions": "Be brief.", "tools": ["shop.find"]});
    Does::Answers(200, json!({"recognition": intent(changes), "guidance": guidance}))
}

fn shop() -> (World, String) {
    let world = world();
    world.set("intents", "[…]");
    world.platform.tools.offered.replace(vec![tool("find", &json!({}))]);
    let conversation = id(&world.json("POST", "/v1/conversations", &json!({}), 200)).to_owned();
    (world, conversation)
}

fn means(world: &World, does: Does) {
    world.platform.tools.meant.borrow_mut().push_back(does);
}

fn say(world: &World, conversation: &str, changes: &Value) -> Value {
    let mut body = json!({"input": "Where is my order?", "conversation": conversation});
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    world.json("POST", "/v1/responses", &body, 200)
}

#[test]
fn what_is_missing_is_asked_for_without_a_model() {
    let (world, conversation) = shop();
    means(&world, tracks(&json!({"missing": ["order"], "question": "Which order?"})));
    let response = say(&world, &conversation, &json!({}));
    assert_eq!(response["output"][0]["content"][0]["text"], "Which order?", "{response:#}");
    let pairs = (&response["metadata"]["waggle_intent"], &response["metadata"]["waggle_intent_confidence"]);
    assert_eq!(pairs, (&json!("track"), &json!("0.875")));
    assert!(world.model.requests.borrow().is_empty());
    assert!(world.platform.tools.catalogues.borrow().is_empty(), "nobody needs tools");
    let asked = world.platform.tools.recognised.borrow()[0].clone();
    let expected =
        json!({"input": "Where is my order?", "conversation": conversation, "turn": response["id"]});
    assert_eq!(asked, expected);
    let items = world.json("GET", &format!("/v1/conversations/{conversation}/items"), &Value::Null, 200);
    assert_eq!(items["data"].as_array().unwrap().len(), 2, "the question is a part of the conversation");
}

#[test]
fn a_model_is_told_of_the_intent_and_gets_its_tools() {
    let (world, conversation) = shop();
    means(&world, tracks(&json!({"slots": {"order": "1001"}})));
    world.script(says("On its way."));
    let response = say(&world, &conversation, &json!({"instructions": "Rules."}));
    assert_eq!(response["metadata"]["waggle_intent"], "track");
    let request = world.model.requests.borrow()[0].clone();
    let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
    let told = body["messages"][0]["content"].as_str().unwrap();
    assert!(told.starts_with("Rules.\n\n") && told.contains("Be brief.") && told.contains("1001"), "{told}");
    assert_eq!(body["tools"][0]["function"]["name"], "shop__find", "{body:#}");
}

#[test]
fn an_answer_in_json_is_the_models() {
    let (world, conversation) = shop();
    means(&world, tracks(&json!({"missing": ["order"], "question": "Which order?"})));
    world.script(says("{}"));
    say(&world, &conversation, &json!({"text": {"format": {"type": "json_object"}}}));
    let request = world.model.requests.borrow()[0].clone();
    let body = String::from_utf8(request.body.unwrap()).unwrap();
    assert!(body.contains("needed: order"), "{body}");
}

#[test]
fn what_is_unknown_changes_nothing_but_the_metadata() {
    let (world, conversation) = shop();
    let unknown =
        json!({"recognition": intent(&json!({"name": "unknown", "confidence": 0.1})), "guidance": null});
    means(&world, Does::Answers(200, unknown));
    world.script(says("Hello."));
    let response = say(&world, &conversation, &json!({}));
    assert_eq!(response["metadata"]["waggle_intent"], "unknown");
    let request = world.model.requests.borrow()[0].clone();
    let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
    assert_eq!(body["messages"].as_array().unwrap().len(), 1, "{body:#}");
}

#[test]
fn a_turn_is_answered_when_nothing_recognises_it() {
    for does in [
        Does::Fails(TransportFailure::TimedOut("x".into())),
        Does::Answers(503, json!({"error": {"message": "busy"}})),
        Does::Answers(200, json!({"name": "?"})),
    ] {
        let (world, conversation) = shop();
        means(&world, does);
        world.script(says("Hello."));
        let response = say(&world, &conversation, &json!({}));
        assert_eq!(response["metadata"], json!({}), "{response:#}");
        assert_eq!(world.platform.lines.borrow().len(), 1, "the log says why");
    }
}

#[test]
fn turns_without_intents_or_conversation_ask_nobody() {
    let (world, conversation) = shop();
    world.script(says("Hello."));
    world.json("POST", "/v1/responses", &json!({"input": "hi"}), 200);
    world.set("intents", " ");
    world.script(says("Hello."));
    say(&world, &conversation, &json!({}));
    assert!(world.platform.tools.recognised.borrow().is_empty());
}
