//! Background responses through the whole program: polled, followed from other connections, cancelled, and what a
//! kill -9 leaves of them.

use crate::streaming::Events;
use crate::support::{PATIENCE, Server, Setup, client, get, post};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A model that needs some seconds for its answer.
const SLOW: &str = "[sim: first_token_ms=300 tokens=200 tps=50]";

async fn create(server: &Server, body: Value) -> String {
    let mut body = body;
    body["background"] = json!(true);
    let (status, response) = post(&client(), &server.url("/v1/responses"), &body).await;
    assert_eq!((status, response["status"].as_str()), (200, Some("queued")), "{response}");
    response["id"].as_str().unwrap().to_owned()
}

/// Waits until the response has one of these statuses.
async fn until(server: &Server, id: &str, statuses: &[&str]) -> Value {
    let until = Instant::now() + PATIENCE * 3;
    loop {
        let (status, response) = get(&client(), &server.url(&format!("/v1/responses/{id}"))).await;
        assert_eq!(status, 200, "{response}");
        if statuses.contains(&response["status"].as_str().unwrap()) {
            return response;
        }
        assert!(Instant::now() < until, "it never is {statuses:?}: {response}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Follows a response after an event; the numbers and types of at most `most` events.
async fn follow(server: &Server, id: &str, after: Option<u64>, most: usize) -> Vec<(u64, String)> {
    let after = after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
    let url = server.url(&format!("/v1/responses/{id}?stream=true{after}"));
    let answer = client().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut events = Events::new(answer);
    let mut seen = Vec::new();
    while seen.len() < most
        && let Some(event) = events.next().await.unwrap()
    {
        if event.data == "[DONE]" {
            break;
        }
        seen.push((event.json()["sequence_number"].as_u64().unwrap(), event.name.clone()));
    }
    seen
}

#[tokio::test]
async fn a_background_response_is_polled_and_then_continued() {
    let server = Setup::application().start();
    let id = create(&server, json!({"input": "My name is Ada."})).await;
    let response = until(&server, &id, &["completed"]).await;
    assert_eq!(response["background"], true);
    let body = json!({"input": "What is my name?", "previous_response_id": id});
    let (_, next) = post(&client(), &server.url("/v1/responses"), &body).await;
    assert_eq!(next["output"][0]["content"][0]["text"], "Your name is Ada.", "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_resumed_from_another_connection_while_it_runs() {
    let server = Setup::application().start();
    let id = create(&server, json!({"input": SLOW})).await;
    let mut seen = follow(&server, &id, None, 8).await;
    assert_eq!(seen.len(), 8);
    // The first connection is gone; the response runs on.
    let (_, response) = get(&client(), &server.url(&format!("/v1/responses/{id}"))).await;
    assert_eq!(response["status"], "in_progress", "{response}");
    seen.extend(follow(&server, &id, Some(7), usize::MAX).await);
    let numbers: Vec<u64> = seen.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(seen.last().unwrap().1, "response.completed");
    assert_eq!(follow(&server, &id, None, usize::MAX).await, seen, "read again, it is the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_response_is_cancelled() {
    let server = Setup::application().start();
    let id = create(&server, json!({"input": SLOW})).await;
    until(&server, &id, &["in_progress"]).await;
    let url = server.url(&format!("/v1/responses/{id}/cancel"));
    let (status, response) = post(&client(), &url, &json!({})).await;
    assert_eq!((status, response["status"].as_str()), (200, Some("cancelled")), "{response}");
    let (_, again) = post(&client(), &url, &json!({})).await;
    assert_eq!(again, response);
    let events = follow(&server, &id, None, usize::MAX).await;
    assert_eq!(events.last().unwrap().1, "response.incomplete");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_is_run_after_kill_9() {
    let mut server = Setup::application().start();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(create(&server, json!({"input": format!("number {number}")})).await);
    }
    server.restart();
    for (number, id) in ids.iter().enumerate() {
        let response = until(&server, id, &["completed", "failed"]).await;
        assert_eq!(response["status"], "completed", "{response}");
        let text = response["output"][0]["content"][0]["text"].as_str().unwrap();
        assert_eq!(text, format!("You said: number {number}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_running_is_run_again_after_kill_9() {
    let mut server = Setup::application().start();
    let id = create(&server, json!({"input": SLOW})).await;
    follow(&server, &id, None, 8).await;
    server.restart();
    let response = until(&server, &id, &["completed", "failed"]).await;
    assert_eq!(response["status"], "completed", "{response}");
    let events = follow(&server, &id, None, usize::MAX).await;
    assert_eq!(events.iter().filter(|(_, kind)| kind == "response.in_progress").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_running_fails_with_the_reason_where_it_may_not_be_run_again() {
    let mut server = Setup::application().args(&["--variable", "background_attempts_max=1"]).start();
    let id = create(&server, json!({"input": SLOW})).await;
    follow(&server, &id, None, 8).await;
    server.restart();
    let response = until(&server, &id, &["completed", "failed"]).await;
    assert_eq!((&response["status"], &response["error"]["code"]), (&json!("failed"), &json!("server_error")));
    assert!(
        response["error"]["message"].as_str().unwrap().contains("interrupted by a restart"),
        "{response}"
    );
}
