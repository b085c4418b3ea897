//! Sessions, a user's data and embeddings through the whole program.

use crate::support::{PATIENCE, Setup, client, get, get_text, post};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn delete(client: &reqwest::Client, url: &str) -> (u16, Value) {
    let response = client.delete(url).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_session_survives_kill_9_and_goes_on_with_the_next_number() {
    let mut server = Setup::application().start();
    let client = client();
    let said = json!({"user": "ada", "query": "My name is Ada."});
    let (status, first) = post(&client, &server.url("/v1/chat"), &said).await;
    assert_eq!((status, &first["seq"]), (200, &json!(1)), "{first}");

    server.restart();
    let asked = json!({"user": "ada", "query": "What is my name?", "session": first["session"]});
    let (_, second) = post(&client, &server.url("/v1/chat"), &asked).await;
    assert_eq!((&second["answer"], &second["seq"]), (&json!("Your name is Ada."), &json!(2)), "{second}");

    let mut streamed = asked.clone();
    streamed["stream"] = json!(true);
    let response = client.post(server.url("/v1/chat")).json(&streamed).send().await.unwrap();
    let text = response.text().await.unwrap();
    assert!(text.starts_with("event: session\ndata: {\"session\":\"conv_"), "{text}");
    assert!(text.contains("event: done\ndata: {\"answer\":\"Your name is Ada.\",\"seq\":3,"), "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");

    let session = first["session"].as_str().unwrap();
    let (_, read) = get(&client, &server.url(&format!("/v1/sessions/{session}"))).await;
    let seqs: Vec<&Value> =
        read["messages"].as_array().unwrap().iter().map(|message| &message["seq"]).collect();
    assert_eq!(seqs, [&json!(1), &json!(2), &json!(3)]);
    let (_, list) = get(&client, &server.url("/v1/sessions?user=ada")).await;
    assert_eq!((&list["data"][0]["session"], &list["has_more"]), (&first["session"], &json!(false)));
}

#[tokio::test]
async fn a_session_ends_after_the_tenants_time_to_live() {
    let server = Setup::application().args(&["--variable", "session_ttl_s=2"]).start();
    let client = client();
    let (_, first) = post(&client, &server.url("/v1/chat"), &json!({"user": "ada", "query": "hi"})).await;
    let path = server.url(&format!("/v1/sessions/{}", first["session"].as_str().unwrap()));
    let until = Instant::now() + PATIENCE;
    let ended = loop {
        let (status, answer) = get(&client, &path).await;
        if status != 200 {
            break answer;
        }
        assert!(Instant::now() < until, "the session does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(ended["error"]["code"], "session_ended");
    assert_eq!(get(&client, &path).await.1["error"]["code"], Value::Null);
}

#[tokio::test]
async fn an_erased_user_is_gone_after_a_restart_as_well() {
    let mut server = Setup::application().start();
    let client = client();
    for user in ["ada", "adam"] {
        for _ in 0..3 {
            let (status, _) =
                post(&client, &server.url("/v1/chat"), &json!({"user": user, "query": "hi"})).await;
            assert_eq!(status, 200);
        }
    }
    let response = client.post(server.url("/v1/users/ada/export")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let counts =
        |receipt: &Value| ["conversations", "items", "responses"].map(|kind| receipt[kind].as_u64().unwrap());
    assert_eq!((&last["type"], counts(&last)), (&json!("receipt"), [3, 6, 3]), "{text}");
    let (status, receipt) = delete(&client, &server.url("/v1/users/ada/data")).await;
    assert_eq!((status, counts(&receipt)), (200, [3, 6, 3]), "{receipt}");

    server.restart();
    let (_, list) = get(&client, &server.url("/v1/sessions?user=ada")).await;
    assert_eq!(list["data"], json!([]));
    let (_, list) = get(&client, &server.url("/v1/sessions?user=adam")).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 3);
    assert_eq!(get_text(&client, &server.url("/v1/sessions?user=a%20b")).await.0, 400);
}

#[tokio::test]
async fn embeddings_come_from_the_model() {
    let server = Setup::application().args(&["--variable", "embedding_model=demo"]).start();
    let client = client();
    let url = server.url("/v1/embeddings");
    let (status, floats) = post(&client, &url, &json!({"input": ["a", "b"], "dimensions": 4})).await;
    assert_eq!((status, floats["data"][1]["embedding"].as_array().map(Vec::len)), (200, Some(4)), "{floats}");
    let (_, coded) = post(&client, &url, &json!({"input": "a", "encoding_format": "base64"})).await;
    assert!(coded["data"][0]["embedding"].is_string(), "{coded}");
}
