//! What the benchmark relies on: the turn does what it is billed for.

use serde_json::{Value, json};

use crate::house::{House, start};

async fn say(house: &House, conversation: &str, input: &str) -> Value {
    let body = json!({"model": "sim", "input": input, "conversation": conversation});
    house.post("/v1/responses", &body).await
}

fn text(response: &Value) -> &str {
    assert_eq!(response["status"], "completed");
    response["output"][0]["content"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn a_conversation_is_remembered_and_kept_apart_from_others() {
    let Some(house) = start().await else { return };
    let (one, other) = (house.conversation().await, house.conversation().await);
    assert_eq!(text(&say(&house, &one, "My name is Ada.").await), "You said: My name is Ada.");
    assert_eq!(text(&say(&house, &one, "What is my name?").await), "Your name is Ada.");
    assert_eq!(text(&say(&house, &other, "What is my name?").await), "I don't know your name yet.");
}

#[tokio::test]
async fn a_streamed_turn_is_remembered_too() {
    let Some(house) = start().await else { return };
    let conversation = house.conversation().await;
    let body =
        json!({"model": "sim", "input": "My name is Bo.", "conversation": conversation, "stream": true});
    let (_, stream) = house.post_text("/v1/responses", &body).await;
    assert_eq!(stream.matches("event: response.output_text.delta\n").count(), 6, "{stream}");
    let last = stream.trim_end().rsplit_once("data: ").unwrap().1;
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(text(&last["response"]), "You said: My name is Bo.");
    assert_eq!(text(&say(&house, &conversation, "What is my name?").await), "Your name is Bo.");
}

#[tokio::test]
async fn items_are_added_and_only_the_window_is_sent() {
    let Some(house) = start().await else { return };
    let conversation = house.conversation().await;
    let items: Vec<_> =
        (0..30).map(|n| json!({"type": "message", "role": "user", "content": format!("item {n}")})).collect();
    let path = format!("/v1/conversations/{conversation}/items");
    assert_eq!(house.post(&path, &json!({ "items": items })).await["data"].as_array().unwrap().len(), 30);
    say(&house, &conversation, "now").await;
    let sent: Value = serde_json::from_slice(&house.model.handle().requests()[0].body).unwrap();
    let sent = sent["messages"].as_array().unwrap();
    assert_eq!(sent.len(), 21, "the window and the input");
    assert_eq!((&sent[0]["content"], &sent[20]["content"]), (&json!("item 10"), &json!("now")));
}

#[tokio::test]
async fn an_unknown_conversation_and_a_failing_model_are_errors() {
    let Some(house) = start().await else { return };
    let turn = |input: &str, conversation: &str| json!({"model": "sim", "input": input, "conversation": conversation});
    let (status, _) = house.post_text("/v1/responses", &turn("hi", "conv_none")).await;
    assert_eq!(status, 404);
    let conversation = house.conversation().await;
    let (status, _) = house.post_text("/v1/responses", &turn("[sim: status=500]", &conversation)).await;
    assert_eq!(status, 502);
}
