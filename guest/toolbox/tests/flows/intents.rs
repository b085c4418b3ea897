//! What a customer wants: recognised for clients and for turns.

use crate::support::{World, answers, world};
use serde_json::{Value, json};
use waggle_conversation::Viewer;
use waggle_conversation::conversation::{self, NewItems};
use waggle_openai::metadata::Metadata;
use waggle_openai::{ConversationId, Nonce};

const PATH: &str = "/v1/intents/recognise";

fn shop() -> World {
    let world = world(&json!([]));
    let intents = json!([{"name": "track", "description": "d", "examples": ["Where is my order?"], "tools": ["shop"],
        "slots": [{"name": "order", "type": "string", "pattern": "[0-9]{4}", "required": true,
            "question": {"en": "Which order?", "zh": "哪个订单?"}}]}]);
    world.set("intents", &intents.to_string());
    world
}

fn conversation_of(world: &World, user: &str, number: u128) -> String {
    let viewer = Viewer::from_field(&[user.as_bytes().to_vec()]).unwrap();
    let nonce = Nonce::mint(1, number);
    let record = conversation::record(1, 1, &Metadata::default()).unwrap();
    let nothing = NewItems { nonce, items: &[], tokens: 0 };
    let created = conversation::create(&world.store, &viewer, nonce, &record, nothing);
    futures::executor::block_on(created).unwrap();
    ConversationId(nonce).to_string()
}

#[test]
fn clients_are_told_what_is_meant_and_nothing_of_the_inside() {
    let world = shop();
    let seen = world.json("POST", PATH, &json!({"input": "where is my order", "language": "zh-CN"}), 200);
    assert_eq!(
        seen,
        json!({"object": "intent", "name": "track", "confidence": 1.0, "by": "words", "alternatives": [], "slots": {},
            "missing": ["order"], "question": "哪个订单?"})
    );
    let turn = world.json("POST", "/v1/intents/turn", &json!({"input": "where is my order"}), 200);
    assert_eq!(turn["guidance"], json!({"description": "d", "instructions": "", "tools": ["shop"]}));
    world.set("intents", "");
    assert_eq!(world.json("POST", PATH, &json!({"input": "where is my order"}), 200)["name"], "unknown");
}

#[test]
fn a_conversation_remembers_for_whoever_sees_it() {
    let world = shop();
    let ada = world.called_by("ada");
    let conversation = conversation_of(&world, "ada", 1);
    let said = |text: &str| json!({"input": text, "conversation": conversation});
    assert_eq!(ada.json("POST", PATH, &said("Where is my order?"), 200)["question"], "Which order?");
    let other = world.called_by("bo");
    let unseen = other.json("POST", PATH, &said("1001"), 404);
    let nothing = ConversationId(Nonce::mint(9, 9)).to_string();
    let absent = other.json("POST", PATH, &json!({"input": "1001", "conversation": nothing}), 404);
    assert_eq!(unseen["error"]["code"], absent["error"]["code"]);
    assert_eq!(ada.json("POST", PATH, &said("1001"), 200)["slots"], json!({"order": "1001"}));
}

#[test]
fn models_are_asked_over_the_same_network() {
    let world = shop();
    world.set("model_origin", "http://m");
    world.set("model_api_key", "k");
    world.set("model", "small");
    let message = json!({"role": "assistant", "content": r#"{"intent": "track", "confidence": 0.75}"#});
    let chosen = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
    world.net.script("http://m/v1/chat/completions", [answers(200, &chosen)]);
    let seen = world.json("POST", PATH, &json!({"input": "my parcel 1001 never came"}), 200);
    assert_eq!(
        (&seen["by"], &seen["confidence"], &seen["slots"]["order"]),
        (&json!("model"), &json!(0.75), &json!("1001"))
    );
    let request = world.net.to("http://m").remove(0);
    assert!(request.headers.contains(&("authorization".to_owned(), "Bearer k".to_owned())), "{request:?}");
    world.net.script("http://m/v1/chat/completions", [answers(500, &json!({}))]);
    world.json("POST", PATH, &json!({"input": "my parcel never came"}), 502);
    assert_eq!(world.platform.lines.borrow().len(), 1);
}

#[test]
fn what_cannot_be_recognised_is_refused() {
    let world = shop();
    let check = |body: Value, param: Option<&str>| {
        let error = world.json("POST", PATH, &body, 400);
        assert_eq!(error["error"]["param"].as_str(), param, "{body}");
    };
    check(json!({"input": " "}), Some("input"));
    check(json!({"input": "x".repeat((32 << 10) + 1)}), Some("input"));
    check(json!({"input": "x", "turn": ""}), Some("turn"));
    check(json!({}), None);
    check(json!({"input": "x", "inputs": 1}), None);
    world.json("POST", PATH, &json!({"input": "x", "conversation": "conv_?"}), 404);
    world.set("intents", r#"[{"name": "a"}]"#);
    world.json("POST", PATH, &json!({"input": "x"}), 500);
    let lines = world.platform.lines.borrow();
    assert!(lines[0].contains("intents[0].examples"), "{lines:?}");
}
