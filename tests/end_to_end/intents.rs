//! Intents over the real program: recognised by vectors, asked for what is missing, over turns and a restart.

use crate::support::{Setup, client, post};
use serde_json::{Value, json};

fn intents() -> String {
    json!([
        {"name": "track_order", "examples": ["Where is my order?", "Has my parcel been shipped yet?"],
            "slots": [{"name": "order", "type": "string", "pattern": "\\b[0-9]{4}\\b", "required": true,
                "question": {"en": "Which order?", "zh": "哪个订单?"}}]},
        {"name": "opening_hours", "examples": ["When are you open?", "几点开门"]}
    ])
    .to_string()
}

fn setup() -> Setup {
    let intents = format!("intents={}", intents());
    let variables =
        ["embedding_model=demo", "embedding_dimensions=256", "intent_mode=embedding", intents.as_str()];
    let flags: Vec<&str> = variables.iter().flat_map(|variable| ["--variable", *variable]).collect();
    Setup::application().args(&flags)
}

fn said(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn what_is_like_an_example_is_recognised_and_what_is_not_is_unknown() {
    let server = setup().start();
    let client = client();
    let url = server.url("/v1/intents/recognise");
    for (input, name) in [
        ("when are you open", "opening_hours"),
        ("Has my parcel been shipped?", "track_order"),
        ("几点开门?", "opening_hours"),
        ("The weather in Paris is fine", "unknown"),
    ] {
        let (status, seen) = post(&client, &url, &json!({"input": input})).await;
        assert_eq!((status, &seen["name"]), (200, &json!(name)), "{input}: {seen} {}", server.output());
    }
    let (status, _) = post(&client, &server.url("/v1/intents/turn"), &json!({"input": "x"})).await;
    assert_eq!(status, 404, "that is for other functions");
}

#[tokio::test]
async fn a_missing_slot_is_asked_for_and_its_answer_is_known_after_a_restart() {
    let mut server = setup().start();
    let client = client();
    let (_, conversation) = post(&client, &server.url("/v1/conversations"), &json!({})).await;
    let body = |input: &str| json!({"input": input, "conversation": conversation["id"]});
    let (_, asked) = post(&client, &server.url("/v1/responses"), &body("Where is my order?")).await;
    assert_eq!(said(&asked), "Which order?", "{asked:#} {}", server.output());
    assert_eq!(asked["metadata"]["waggle_intent"], "track_order");
    server.restart();
    let (status, answered) = post(&client, &server.url("/v1/responses"), &body("It is 1001.")).await;
    assert_eq!(
        (status, &answered["metadata"]["waggle_intent"]),
        (200, &json!("track_order")),
        "{answered:#}"
    );
    assert_ne!(said(&answered), "Which order?");
    let (_, other) = post(&client, &server.url("/v1/responses"), &body("The weather in Paris is fine")).await;
    assert_eq!(other["metadata"]["waggle_intent"], "unknown", "{other:#}");
}
