//! The chat function through the whole program: memory, streaming, what a client that goes away leaves behind.

use crate::support::{Setup, client, get, post};
use serde_json::json;
use std::time::{Duration, Instant};

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
    let roles: Vec<&str> =
        items["data"].as_array().unwrap().iter().filter_map(|item| item["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"], "{items}");
}

#[tokio::test]
async fn a_conversation_in_use_outlives_the_time_to_live_of_its_store() {
    let server = Setup::application()
        .runtime_config("[key_value_store.default]\ntype = \"embedded\"\ntime_to_live = \"2s\"\n")
        .args(&["--variable", "conversation_renewal_s=0"])
        .start();
    let client = client();
    let (_, conversation) = post(&client, &server.url("/v1/conversations"), &json!({})).await;
    let id = conversation["id"].as_str().unwrap().to_owned();
    let began = Instant::now();
    let turn = json!({"input": "still here", "conversation": id});
    while began.elapsed() < Duration::from_secs(4) {
        let (status, answer) = post(&client, &server.url("/v1/responses"), &turn).await;
        assert_eq!(status, 200, "after {:?}: {answer}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // Left alone, it ends.
    let url = server.url(&format!("/v1/conversations/{id}"));
    let until = Instant::now() + crate::support::PATIENCE;
    while get(&client, &url).await.0 != 404 {
        assert!(Instant::now() < until, "the conversation never ends");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
