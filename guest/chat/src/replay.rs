//! The events of a stored response, made anew: those of a turn whose model said each text in one piece.

use crate::output::Output;
use crate::problem::Problem;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use waggle_model::reply::{Chunk, FinishReason, FunctionDelta, ToolCallDelta};
use waggle_openai::ItemId;
use waggle_openai::event::{DONE, EventWriter};
use waggle_openai::item::{Item, Part, StoredId, TextPart};
use waggle_openai::json::Text;

#[derive(Deserialize)]
struct OutputView<'a> {
    #[serde(borrow)]
    output: Vec<&'a RawValue>,
}

/// The events of a response object, from `response.created` to its last; `None` for one that has not ended in a way that
/// a stream can tell.
pub(crate) fn events(response: &[u8]) -> Result<Option<Vec<u8>>, Problem> {
    let object: Value = serde_json::from_slice(response)?;
    let last = match object["status"].as_str() {
        Some("completed") => "response.completed",
        Some("incomplete") => "response.incomplete",
        Some("failed") => "response.failed",
        _ => return Ok(None),
    };
    let start = || {
        let begun = begun(&object).to_string();
        let mut events = EventWriter::default();
        events.response("response.created", begun.as_bytes());
        events.response("response.in_progress", begun.as_bytes());
        events
    };
    let stored: OutputView<'_> = serde_json::from_slice(response)?;
    let finish = if last == "response.completed" { FinishReason::Stop } else { FinishReason::Length };
    let mut events = grown(&stored.output, finish, start()).unwrap_or_else(|| {
        let mut events = start();
        // What cannot be said piece by piece comes whole.
        for (at, item) in stored.output.iter().enumerate() {
            events.output_item("response.output_item.added", at, item.get());
            events.output_item("response.output_item.done", at, item.get());
        }
        events
    });
    events.response(last, response);
    let mut text = events.take();
    text.extend_from_slice(DONE);
    Ok(Some(text))
}

/// The response as it was when its turn began.
fn begun(response: &Value) -> Value {
    let mut begun = response.clone();
    for (field, value) in [
        ("status", json!("in_progress")),
        ("output", json!([])),
        ("usage", Value::Null),
        ("error", Value::Null),
        ("incomplete_details", Value::Null),
        ("completed_at", Value::Null),
    ] {
        if let Some(known) = begun.get_mut(field) {
            *known = value;
        }
    }
    begun
}

/// Lets the output grow once more, each text and each call's arguments in one piece; `None` where that does not lead to
/// the output as it is stored.
fn grown(stored: &[&RawValue], finish: FinishReason, events: EventWriter) -> Option<EventWriter> {
    let first: StoredId<'_> = serde_json::from_str(stored.first()?.get()).ok()?;
    let ItemId { nonce, index, .. } = ItemId::parse(first.id)?;
    let mut output = Output::new(nonce, index, Some(events));
    for (at, raw) in stored.iter().enumerate() {
        say(&mut output, serde_json::from_str(raw.get()).ok()?, at)?;
    }
    output.finish(finish).ok()?;
    let made = output.to_raw().ok()?;
    let same = made.len() == stored.len()
        && made.iter().zip(stored).all(|(made, stored)| made.get() == stored.get());
    output.events.filter(|_| same)
}

fn say(output: &mut Output, item: Item<'_>, at: usize) -> Option<()> {
    let parts = match item {
        Item::Fallback { parts } => {
            let Some(Part::Text(text)) = parts.first() else { return None };
            return output.fall_back(&text.text).ok();
        }
        Item::FunctionCall { call_id, name, arguments } => {
            let function = FunctionDelta { name: Some(Text(name)), arguments: Some(Text(arguments)) };
            let call = ToolCallDelta { index: Some(at), id: Some(Text(call_id)), function };
            return output.chunk(Chunk { tool_calls: vec![call], ..Chunk::default() }).ok();
        }
        Item::Message { parts, .. } => parts,
        Item::Reasoning { content, .. } => content,
        _ => return None,
    };
    for part in parts {
        let chunk = match part {
            Part::Text(TextPart { text, annotations, logprobs }) => {
                Chunk { text: Some(Text(text)), annotations, logprobs, ..Chunk::default() }
            }
            Part::Refusal(refusal) => Chunk { refusal: Some(Text(refusal)), ..Chunk::default() },
            Part::Reasoning(thought) => Chunk { reasoning: Some(Text(thought)), ..Chunk::default() },
            _ => return None,
        };
        output.chunk(chunk).ok()?;
    }
    Some(())
}
