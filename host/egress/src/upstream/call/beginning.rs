//! The first piece of an answer, which is waited for before anything is handed over: until then another upstream can still
//! be asked.
//!
//! A stream of events has begun when it says something. Comments, and the chunk by which servers open a stream (the role of
//! who speaks, nothing of what is said), come before the model has begun to work, so they are held back; and so do, of the
//! Responses API, the events of the response itself and those by which a message and its parts begin.

use crate::error::EgressError;
use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The most that is held back of a stream that does not say anything; then it is handed over as it is.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Why there is no first piece.
#[derive(Debug)]
pub(super) enum NoBeginning {
    /// The body ended, without having said anything.
    Empty,
    /// It failed.
    Error(EgressError),
}

/// Reads `body` until the answer has begun, and returns what was read.
pub(super) async fn begin<B>(body: &mut B, is_events: bool) -> Result<Bytes, NoBeginning>
where
    B: Body<Data = Bytes, Error = EgressError> + Unpin,
{
    let mut held: Option<BytesMut> = None;
    let mut seen = 0;
    loop {
        let piece = match body.frame().await {
            None => return Err(NoBeginning::Empty),
            Some(Err(error)) => return Err(NoBeginning::Error(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) if !piece.is_empty() => piece,
                _ => continue,
            },
        };
        // Nearly always the first piece is a beginning, and passes without being copied.
        let Some(before) = &mut held else {
            if !is_events || says_something(&piece, &mut seen) {
                return Ok(piece);
            }
            held = Some(BytesMut::from(piece));
            continue;
        };
        before.extend_from_slice(&piece);
        if says_something(before, &mut seen) || before.len() >= HELD_BYTES_MAX {
            return Ok(std::mem::take(before).freeze());
        }
    }
}

/// Whether one of the lines that are complete says something. `seen` is how much has been looked at.
fn says_something(events: &[u8], seen: &mut usize) -> bool {
    while let Some(rest) = events.get(*seen..)
        && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
    {
        let line = rest.get(..end).unwrap_or_default();
        *seen += end + 1;
        if let Some(data) = line.strip_prefix(b"data:")
            && !is_opening(data.trim_ascii())
        {
            return true;
        }
    }
    false
}

/// A chunk of a streamed chat completion, as far as it tells whether anything was said.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<BTreeMap<&'a str, &'a RawValue>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

/// An event of a streamed response, as far as it tells whether anything was said.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    item: Option<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
}

/// Whether `data` is an event that only opens a streamed response. A thought or a call that begins is the model at work.
fn is_opening_event(data: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else { return data.is_empty() };
    match event.kind {
        "response.created" | "response.queued" | "response.in_progress" | "response.content_part.added" => {
            true
        }
        "response.output_item.added" => event.item.is_some_and(|item| item.kind == "message"),
        _ => false,
    }
}

/// Whether `data` is a chunk that only opens the stream. What is not understood says something.
fn is_opening(data: &[u8]) -> bool {
    let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else { return is_opening_event(data) };
    let is_silent =
        |(name, value): (&&str, &&RawValue)| *name == "role" || matches!(value.get(), "null" | "\"\"" | "[]");
    let is_open =
        |choice: &Choice<'_>| choice.finish_reason.is_none() && choice.delta.iter().flatten().all(is_silent);
    chunk.usage.is_none() && chunk.error.is_none() && chunk.choices.iter().all(is_open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    const ROLE: &str =
        r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
    const TOKEN: &str = r#"data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#;

    async fn first(pieces: &[&str], is_events: bool) -> Result<(String, usize), NoBeginning> {
        let frames: Vec<_> =
            pieces.iter().map(|piece| Ok(Frame::data(Bytes::from((*piece).to_owned())))).collect();
        let mut body = StreamBody::new(stream::iter(frames));
        let first = begin(&mut body, is_events).await?;
        let mut rest = 0;
        while body.frame().await.is_some() {
            rest += 1;
        }
        Ok((String::from_utf8(first.to_vec()).unwrap(), rest))
    }

    #[test]
    fn a_chunk_opens_a_stream_or_says_something() {
        let check = |data: &str, expected: bool| assert_eq!(is_opening(data.as_bytes()), expected, "{data}");
        check(ROLE.strip_prefix("data: ").unwrap(), true);
        check(r#"{"choices": [{"delta": {"role": "assistant", "content": null, "tool_calls": []}}]}"#, true);
        check(r#"{"choices":[{"delta":{}}],"usage":null}"#, true);
        check(r#"{"choices":[],"prompt_filter_results":[{}]}"#, true);
        check("", true);
        check(TOKEN.strip_prefix("data: ").unwrap(), false);
        check(r#"{"choices":[{"delta":{"role":"assistant","content":"Hi"}}]}"#, false);
        check(r#"{"choices":[{"delta":{"role":"assistant","reasoning_content":"Hm"}}]}"#, false);
        check(r#"{"choices":[{"delta":{"tool_calls":[{"id":"a"}]}}]}"#, false);
        check(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, false);
        check(r#"{"choices":[{"delta":{}},{"delta":{"content":"x"}}]}"#, false);
        check(r#"{"choices":[],"usage":{"total_tokens":3}}"#, false);
        check(r#"{"choices":[],"error":{"message":"x"}}"#, false);
        check(r#"{"type":"response.created","sequence_number":0,"response":{"id":"r","output":[]}}"#, true);
        check(r#"{"type":"response.in_progress","response":{}}"#, true);
        check(r#"{"type":"response.output_item.added","item":{"type":"message","content":[]}}"#, true);
        check(r#"{"type":"response.content_part.added","part":{"type":"output_text","text":""}}"#, true);
        check(r#"{"type":"response.output_item.added","item":{"type":"reasoning","summary":[]}}"#, false);
        check(r#"{"type":"response.output_item.added","item":{"type":"function_call"}}"#, false);
        check(r#"{"type":"response.output_text.delta","delta":"Hi"}"#, false);
        check(r#"{"type":"response.failed","response":{}}"#, false);
        check(r#"{"type":"error","message":"x"}"#, false);
        check("[DONE]", false);
        check("{", false);
    }

    #[tokio::test]
    async fn what_comes_before_the_first_token_is_held_back_and_then_handed_over_with_it() {
        let (role, token) = (format!("{ROLE}\n\n"), format!("{TOKEN}\n\n"));
        let half = token.split_at(token.len() / 2);
        // The pieces that come, how many of them are the beginning, and whether they are events.
        let check = async |pieces: &[&str], count: usize, is_events: bool| {
            let (first, rest) = first(pieces, is_events).await.unwrap();
            assert_eq!(first, pieces[..count].concat(), "{pieces:?}");
            assert_eq!(rest, pieces.len() - count, "{pieces:?}");
        };
        check(&[&token, &token], 1, true).await;
        check(&[&role, &token, &token], 2, true).await;
        check(&[": waiting\n\n", ": waiting\n\n", &role, &token, "x"], 4, true).await;
        check(&[&format!("{role}{token}"), "x"], 1, true).await;
        check(&[half.0, half.1, "x"], 2, true).await;
        check(&[&role, half.0, half.1, "x"], 3, true).await;
        check(&["", &token], 2, true).await;
        check(&["event: x\r\ndata: y\r\n\r\n", "x"], 1, true).await;
        check(&["data: [DONE]\n\n"], 1, true).await;
        check(&["{\"a\"", ":1}"], 1, false).await;
        check(&[&role, &token], 1, false).await;
    }

    #[tokio::test]
    async fn a_body_that_ends_before_is_no_beginning() {
        for (pieces, is_events) in
            [(vec![], true), (vec![], false), (vec![""], false), (vec![": x\n\n"], true)]
        {
            assert!(matches!(first(&pieces, is_events).await, Err(NoBeginning::Empty)), "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn what_is_held_back_is_bounded() {
        let comments = ": waiting\n\n".repeat(100);
        let pieces = vec![comments.as_str(); 200];
        let (first, rest) = first(&pieces, true).await.unwrap();
        assert!((HELD_BYTES_MAX..HELD_BYTES_MAX + comments.len()).contains(&first.len()));
        assert_eq!(first.len() + rest * comments.len(), 200 * comments.len());
    }
}
