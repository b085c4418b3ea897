//! Long conversations through the whole program: the summary of what fell out of the window, made behind the turns and kept
//! over a kill -9; what is pinned; what a client compacts.

use crate::support::{PATIENCE, Server, Setup, client, get, post};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Windows of four turns.
fn narrow() -> Setup {
    Setup::application().args(&["--variable", "window_items_max=8"])
}

async fn conversation(server: &Server) -> String {
    let (_, conversation) = post(&client(), &server.url("/v1/conversations"), &json!({})).await;
    conversation["id"].as_str().unwrap().to_owned()
}

/// The answer to a turn.
async fn say(server: &Server, conversation: &str, input: &str) -> String {
    let body = json!({"input": input, "conversation": conversation});
    let (status, response) = post(&client(), &server.url("/v1/responses"), &body).await;
    assert_eq!((status, response["status"].as_str()), (200, Some("completed")), "{response}");
    response["output"][0]["content"][0]["text"].as_str().unwrap().to_owned()
}

/// Goes on until the model knows a name that only the summary can tell it.
async fn until_it_knows(server: &Server, conversation: &str) {
    let until = Instant::now() + PATIENCE;
    while say(server, conversation, "What is my name?").await != "Your name is Ada." {
        assert!(Instant::now() < until, "no summary was made");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fell_out_of_the_window_is_summarised_and_survives_kill_9() {
    let mut server = narrow().start();
    let id = conversation(&server).await;
    say(&server, &id, "My name is Ada.").await;
    for number in 0..10 {
        say(&server, &id, &format!("number {number}")).await;
    }
    // The summary was asked for, and perhaps made.
    server.restart();
    until_it_knows(&server, &id).await;
    server.restart();
    assert_eq!(say(&server, &id, "What is my name?").await, "Your name is Ada.");

    // What is deleted is forgotten.
    let items = server.url(&format!("/v1/conversations/{id}/items"));
    for _ in 0..2 {
        let (_, oldest) = get(&client(), &format!("{items}?order=asc&limit=1")).await;
        let item = oldest["data"][0]["id"].as_str().unwrap();
        let deleted = client().delete(format!("{items}/{item}")).send().await.unwrap();
        assert_eq!(deleted.status(), 200);
    }
    for number in 0..30 {
        say(&server, &id, &format!("number {number}")).await;
    }
    assert_eq!(say(&server, &id, "What is my name?").await, "I don't know your name yet.");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_summaries_what_fell_out_is_forgotten_unless_it_is_pinned() {
    let mut server = narrow().args(&["--variable", "summary=off"]).start();
    let id = conversation(&server).await;
    say(&server, &id, "My name is Ada.").await;
    let items = server.url(&format!("/v1/conversations/{id}/items"));
    let (_, listed) = get(&client(), &format!("{items}?order=asc")).await;
    let item = listed["data"][0]["id"].as_str().unwrap().to_owned();
    for number in 0..50 {
        say(&server, &id, &format!("number {number}")).await;
    }
    assert_eq!(say(&server, &id, "What is my name?").await, "I don't know your name yet.");
    let (status, pinned) = post(&client(), &format!("{items}/{item}/pin"), &json!({})).await;
    assert_eq!((status, &pinned["id"]), (200, &json!(item)));
    server.restart();
    assert_eq!(say(&server, &id, "What is my name?").await, "Your name is Ada.");
    let items = server.url(&format!("/v1/conversations/{id}/items"));
    let unpinned = client().delete(format!("{items}/{item}/pin")).send().await.unwrap();
    assert_eq!(unpinned.status(), 200);
    assert_eq!(say(&server, &id, "What is my name?").await, "I don't know your name yet.");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_compacted_is_opened_after_kill_9_and_nowhere_else() {
    let mut server = Setup::application().start();
    let input = json!([{"role": "assistant", "content": "My name is Ada, you said."}, {"role": "user", "content": "Yes."}]);
    let compact = async |server: &Server| {
        let body = json!({"model": "demo", "input": input});
        let (status, compacted) = post(&client(), &server.url("/v1/responses/compact"), &body).await;
        assert_eq!((status, &compacted["object"]), (200, &json!("response.compaction")), "{compacted}");
        compacted["output"].as_array().unwrap().clone()
    };
    let mut output = compact(&server).await;
    assert_eq!(output.len(), 2, "{output:?}");
    server.restart();
    output.push(json!({"role": "user", "content": "What is my name?"}));
    let ask = async |server: &Server, input: &[Value]| {
        post(&client(), &server.url("/v1/responses"), &json!({"input": input})).await
    };
    let (status, response) = ask(&server, &output).await;
    assert_eq!(status, 200, "{response}");
    let text = response["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("Your name is Ada"), "{text}");

    let other = Setup::application().start();
    // It has a key of its own.
    compact(&other).await;
    let (status, error) = ask(&other, &output).await;
    assert_eq!((status, &error["error"]["param"]), (400, &json!("input[1]")), "{error}");
}
