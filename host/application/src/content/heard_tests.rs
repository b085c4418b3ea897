//! What is heard of answers, in whatever pieces they come.

use super::*;
use http_body_util::{BodyExt as _, StreamBody};
use std::convert::Infallible;

/// What is told of an answer that comes in pieces of `bytes`.
fn told(answer: &str, bytes: usize) -> Value {
    let mut heard = Heard::default();
    answer.as_bytes().chunks(bytes).for_each(|piece| heard.hear(piece));
    heard.into_messages().map_or(Value::Null, |text| {
        assert!(text.len() <= CONTENT_BYTES_MAX, "{}", text.len());
        serde_json::from_str(&text).unwrap()
    })
}

fn check(answer: &str, expected: &Value) {
    for bytes in [1, 2, 3, 7, 64, answer.len().max(1)] {
        assert_eq!(told(answer, bytes), *expected, "in pieces of {bytes}: {answer}");
    }
}

fn says(text: &str, reason: &str) -> Value {
    json!([{ "role": "assistant", "parts": [{ "type": "text", "content": text }], "finish_reason": reason }])
}

#[test]
fn an_answer_in_one_piece_is_told() {
    let answer = json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Ask +49 30 1234567." },
        "finish_reason": "stop" }], "usage": { "total_tokens": 3 } });
    check(&answer.to_string(), &says("Ask [phone].", "stop"));
    let answer = json!({ "status": "completed", "output": [{ "type": "message", "content": [{ "type": "output_text",
        "text": "Ask a@b.example." }] }] });
    check(&answer.to_string(), &says("Ask [email].", "completed"));
    let answer = json!({ "choices": [{ "message": { "content": null, "tool_calls": [{ "id": "c1", "function":
        { "name": "send", "arguments": "{\"to\":\"a@b.example\"}" } }] }, "finish_reason": "tool_calls" }] });
    let call =
        json!({ "type": "tool_call", "id": "c1", "name": "send", "arguments": "{\"to\":\"[email]\"}" });
    check(
        &answer.to_string(),
        &json!([{ "role": "assistant", "parts": [call], "finish_reason": "tool_call" }]),
    );
}

#[test]
fn a_stream_is_told_whole_and_redacted_over_its_pieces() {
    let delta = |text: &str| json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
    let pieces = ["My card is 41", "11 1111 ", "1111 1111, and ", "a@", "b.exa", "mple. 你好"];
    let mut stream = String::from(": hello\n\n");
    pieces.iter().for_each(|piece| stream.push_str(&format!("data: {}\r\n\r\n", delta(piece))));
    let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    check(
        &format!("{stream}data: {end}\n\ndata: [DONE]\n\n"),
        &says("My card is [card], and [email]. 你好", "stop"),
    );
    check(&stream, &says("My card is [card], and [email]. 你好", "incomplete"));
    let responses = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hi there\"}\n\n";
    check(responses, &says("hi", "incomplete"));
}

#[test]
fn of_an_answer_that_broke_off_no_half_of_an_address_or_a_number_stays() {
    for (said, told) in [
        ("write to jane.doe", "write to"),
        ("card 4111 11", "card"),
        ("key sk-pr", "key"),
        ("电话 138 0013", "电话"),
        ("邮箱是jane.doe", "邮箱是"),
    ] {
        let delta = json!({ "choices": [{ "index": 0, "delta": { "content": said } }] });
        check(&format!("data: {delta}\n\n"), &says(told, "incomplete"));
        let cut = json!({ "choices": [{ "message": { "content": said }, "finish_reason": "length" }] });
        check(&cut.to_string(), &says(told, "length"));
    }
}

#[test]
fn calls_of_tools_come_together_from_a_stream() {
    let delta = |calls: Value| json!({ "choices": [{ "index": 0, "delta": { "tool_calls": calls } }] });
    let events = [
        delta(json!([{ "index": 0, "id": "c1", "function": { "name": "send", "arguments": "" } }])),
        delta(json!([{ "index": 0, "function": { "arguments": "{\"to\":\"a@b." } }])),
        delta(json!([{ "index": 1, "id": "c2", "function": { "name": "look", "arguments": "{}" } }])),
        delta(json!([{ "index": 0, "function": { "arguments": "example\"}" } }])),
    ];
    let stream: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let first =
        json!({ "type": "tool_call", "id": "c1", "name": "send", "arguments": "{\"to\":\"[email]\"}" });
    let second = json!({ "type": "tool_call", "id": "c2", "name": "look", "arguments": "{}" });
    let expected = json!([{ "role": "assistant", "parts": [first, second], "finish_reason": "incomplete" }]);
    check(&stream, &expected);
}

#[test]
fn what_is_no_answer_is_not_told() {
    for answer in
        ["", " \n", "{", "{}", "data: {\"choices\":3}\n\n", "<html>", "data: x\n\n", "{\"choices\":[]}"]
    {
        check(answer, &Value::Null);
    }
}

#[test]
fn what_is_kept_of_a_long_answer_has_a_bound() {
    let event = json!({ "choices": [{ "index": 0, "delta": { "content": "word \"again\" " } }] });
    let mut heard = Heard::default();
    (0..100_000).for_each(|_| heard.hear(format!("data: {event}\n\n").as_bytes()));
    let Heard::Stream(stream) = &heard else { panic!("a stream") };
    assert!(stream.choices[0].text.len() <= SAID_BYTES_MAX && stream.choices[0].is_cut);
    let text = heard.into_messages().unwrap();
    assert!((CONTENT_BYTES_MAX / 2..=CONTENT_BYTES_MAX).contains(&text.len()), "{}", text.len());
    assert!(
        serde_json::from_str::<Value>(&text).unwrap()[0]["parts"][0]["content"]
            .as_str()
            .unwrap()
            .ends_with('…')
    );

    let mut heard = Heard::default();
    heard.hear(b"data: ");
    (0..10).for_each(|_| heard.hear(&vec![b'x'; LINE_BYTES_MAX / 4]));
    let Heard::Stream(stream) = &heard else { panic!("a stream") };
    assert!(stream.line.len() <= LINE_BYTES_MAX);
    let mut heard = Heard::default();
    heard.hear(b"{");
    heard.hear(&vec![b' '; WHOLE_BYTES_MAX]);
    assert!(matches!(heard, Heard::TooMuch));
}

#[tokio::test]
async fn whoever_listens_changes_nothing() {
    let answer =
        json!({ "choices": [{ "message": { "content": "hi" }, "finish_reason": "stop" }] }).to_string();
    let pieces: Vec<Result<_, Infallible>> =
        answer.as_bytes().chunks(5).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    let listener = Listener::default();
    let body = Listened::new(StreamBody::new(futures::stream::iter(pieces)), listener.clone());
    assert_eq!(body.collect().await.unwrap().to_bytes(), answer);
    assert_eq!(serde_json::from_str::<Value>(&listener.messages().unwrap()).unwrap(), says("hi", "stop"));
}
