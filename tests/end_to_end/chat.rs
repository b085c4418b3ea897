//! The chat function through the whole program: memory, streaming, what a client that goes away leaves behind.

use crate::support::{Setup, client, get, post};
use serde_json::json;

#[tokio::test]
async fn a_conversation_survives_kill_9() {
    let mut server = Setup::application().start();
    let client = client();
    let (_, conversation) = post(&client, &server.url("/v1/conversations"), &json!({})).await;
    let id = conversation["id"].as_str().unwrap().to_owned();
    let said = json!({"input": "My name is Ada.", "conversation": id});
    let (status, first) = post(&client, &server.url("/v1/responses"), &said).await;
    assert_eq!((status, first["status"].as_str()), (200, Some("completed")), "{first}");

    server.restart();
    let asked = json!({"input": "What is my name?", "conversation": id});
    let (_, second) = post(&client, &server.url("/v1/responses"), &asked).await;
    assert_eq!(second["output"][0]["content"][0]["text"], "Your name is Ada.", "{second}");
    let (_, items) = get(&client, &server.url(&format!("/v1/conversations/{id}/items?order=asc"))).await;
    let roles: Vec<&str> = items["data"].as_array().unwrap().iter().filter_map(|item| item["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"], "{items}");
}
