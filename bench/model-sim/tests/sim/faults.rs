//! Delays, errors and faults, as a client sees them on the wire.

use std::time::Duration;

use crate::common::{chat, chat_body, chat_stream, connect, head, request, start, wait_for};
use model_sim::Running;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Sends a request and leaves the connection open.
async fn send(model: &Running, text: &str, stream: bool) -> TcpStream {
    let mut connection = connect(model).await;
    let request = head("POST", "/v1/chat/completions", "", &chat_body(text, stream));
    connection.write_all(request.as_bytes()).await.unwrap();
    connection
}

/// Reads until the text holds `wanted`.
async fn read_until(connection: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    while !text.contains(wanted) {
        let read = timeout(Duration::from_secs(10), connection.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "closed before {wanted}: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    text
}

#[tokio::test]
async fn a_status_is_answered_with_its_retry_after() {
    let model = start().await;
    let answer = chat(&model, "[sim: status=429 retry_after=2]").await;
    assert_eq!(answer.status(), 429);
    assert!(answer.text.contains("retry-after: 2\r\n"), "{}", answer.text);
    assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
    wait_for(&model, "counted as an error", |stats| stats.errors == 1 && stats.completed == 1).await;
}

#[tokio::test]
async fn the_first_requests_of_a_key_fail_and_the_next_succeed() {
    let model = start().await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(chat(&model, "[sim: fail_first=2 key=a status=503]").await.status());
    }
    assert_eq!(statuses, [503, 503, 200]);
}

#[tokio::test]
async fn about_the_asked_share_of_requests_fails() {
    let model = start().await;
    let mut failed = 0;
    for _ in 0..200 {
        failed += u32::from(chat(&model, "[sim: error_rate=0.5 seed=3]").await.status() == 500);
    }
    assert!((70..=130).contains(&failed), "{failed} of 200");
}

#[tokio::test]
async fn a_cut_stream_has_whole_events_and_no_end() {
    let model = start().await;
    let answer = chat_stream(&model, "a b c d [sim: fault=cut after=2]").await;
    assert!(!answer.is_finished() && !answer.reset);
    let body = answer.body();
    assert_eq!(body.matches("data: ").count(), 3, "the role and two tokens: {body}");
    assert!(body.ends_with("\n\n") && !body.contains("[DONE]"));
    wait_for(&model, "counted as faulted", |stats| stats.faulted == 1 && stats.in_flight == 0).await;
}

#[tokio::test]
async fn a_stream_can_be_cut_in_the_middle_of_an_event() {
    let model = start().await;
    let answer = chat_stream(&model, "a b c d [sim: fault=cut-mid-event after=1]").await;
    assert!(!answer.is_finished());
    let body = answer.body();
    assert!(!body.ends_with('\n'), "{body}");
    assert_eq!(body.matches("data: ").count(), 3);
}

#[tokio::test]
async fn a_plain_answer_can_be_cut() {
    let model = start().await;
    let answer = chat(&model, "a b c [sim: fault=cut]").await;
    assert!(serde_json::from_str::<serde_json::Value>(&answer.body()).is_err());
    assert!(answer.text.contains("content-length: "), "{}", answer.text);
}

#[tokio::test]
async fn a_connection_can_be_reset_at_once_and_in_the_middle() {
    let model = start().await;
    let at_once = chat(&model, "[sim: fault=reset]").await;
    assert!(at_once.reset && at_once.text.is_empty(), "{at_once:?}");
    let mut connection =
        send(&model, "a b c d [sim: fault=reset after=2 first_token_ms=1 tps=200]", true).await;
    let mut bytes = Vec::new();
    let error = connection.read_to_end(&mut bytes).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn html_is_answered_with_status_200() {
    let model = start().await;
    let answer = chat(&model, "[sim: fault=html]").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text.contains("content-type: text/html") && answer.body().contains("<html>"));
}

#[tokio::test]
async fn bad_json_is_answered_plain_and_in_one_event_of_a_stream() {
    let model = start().await;
    let plain = chat(&model, "[sim: fault=bad-json]").await;
    assert_eq!(plain.status(), 200);
    assert!(serde_json::from_str::<serde_json::Value>(&plain.body()).is_err());
    let stream = chat_stream(&model, "a b [sim: fault=bad-json]").await;
    assert!(stream.is_finished());
    let body = stream.body();
    let broken = body
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]" && serde_json::from_str::<serde_json::Value>(data).is_err());
    assert_eq!(broken.count(), 1, "{body}");
}

#[tokio::test]
async fn a_body_is_refused_before_it_is_read() {
    let model = start().await;
    let mut connection = connect(&model).await;
    let head = "POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nx-sim-fault: refuse-body\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    let text = read_until(&mut connection, "\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
}

#[tokio::test]
async fn slow_headers_arrive_byte_by_byte_and_whole() {
    let model = start().await;
    let started = Instant::now();
    let answer = chat(&model, "[sim: fault=slow-headers drip_ms=2]").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json()["object"], "chat.completion");
    let head_bytes = answer.text.find("\r\n\r\n").unwrap() as u32;
    assert!(started.elapsed() >= Duration::from_millis(1) * head_bytes, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_hanging_request_counts_as_cancelled_when_its_client_leaves() {
    let model = start().await;
    let connection = send(&model, "[sim: fault=hang]", false).await;
    wait_for(&model, "in flight", |stats| stats.in_flight == 1).await;
    drop(connection);
    wait_for(&model, "cancelled", |stats| stats.cancelled == 1 && stats.in_flight == 0).await;
}

#[tokio::test]
async fn a_stream_can_hang_in_the_middle() {
    let model = start().await;
    let mut connection = send(&model, "a b c d [sim: fault=hang after=2]", true).await;
    let text = read_until(&mut connection, r#""content":" said:""#).await;
    assert!(!text.contains(r#""content":" a""#), "{text}");
    assert_eq!(model.handle().stats().in_flight, 1);
    drop(connection);
    wait_for(&model, "cancelled", |stats| stats.cancelled == 1).await;
}

#[tokio::test]
async fn an_endless_answer_ends_when_its_client_leaves() {
    for stream in [true, false] {
        let model = start().await;
        let mut connection = send(&model, "[sim: fault=endless]", stream).await;
        let mut wanted = vec![0; 1_000_000];
        connection.read_exact(&mut wanted).await.unwrap();
        drop(connection);
        wait_for(&model, "cancelled", |stats| stats.cancelled == 1 && stats.in_flight == 0).await;
    }
}

#[tokio::test]
async fn tokens_come_at_the_asked_pace_one_by_one() {
    let model = start().await;
    let started = Instant::now();
    let mut connection = send(&model, "[sim: first_token_ms=50 tokens=5 tps=50]", true).await;
    read_until(&mut connection, r#""role":"assistant""#).await;
    assert!(started.elapsed() >= Duration::from_millis(50));
    read_until(&mut connection, "[DONE]").await;
    assert!(started.elapsed() >= Duration::from_millis(50 + 80), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_plain_answer_waits_as_long_as_its_stream_would() {
    let model = start().await;
    let started = Instant::now();
    chat(&model, "[sim: first_token_ms=50 tokens=5 tps=50]").await;
    assert!(started.elapsed() >= Duration::from_millis(130), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_shutdown_lets_an_answer_in_flight_finish() {
    let model = start().await;
    let mut connection = send(&model, "[sim: first_token_ms=200]", false).await;
    wait_for(&model, "in flight", |stats| stats.in_flight == 1).await;
    let address = model.address();
    model.stop().await;
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("chat.completion"), "{text}");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_responses_stream_can_be_cut_too() {
    let model = start().await;
    let body = r#"{"model":"m","input":"a b c [sim: fault=cut after=1]","stream":true}"#;
    let answer = request(&model, "POST", "/v1/responses", "", body).await;
    assert_eq!(answer.body().matches("event: response.output_text.delta").count(), 1);
    assert!(!answer.body().contains("response.completed"));
}

#[tokio::test]
async fn an_answer_can_claim_to_be_compressed() {
    let model = start().await;
    for answer in
        [chat(&model, "a [sim: fault=bad-gzip]").await, chat_stream(&model, "a [sim: fault=bad-gzip]").await]
    {
        assert_eq!(answer.status(), 200);
        assert!(answer.text.contains("content-encoding: gzip\r\n"), "{}", answer.text);
        assert!(answer.body().contains("You"), "the body is as it always is: {}", answer.text);
    }
}
