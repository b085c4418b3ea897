//! The events of a stored response, made anew: those of a turn whose model said each text in one piece.

use crate::problem::Problem;
use serde_json::{Value, json};
use waggle_openai::ItemId;
use waggle_openai::event::{EventWriter, Place};

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
    let mut events = EventWriter::default();
    let begun = begun(&object).to_string();
    events.response("response.created", begun.as_bytes());
    events.response("response.in_progress", begun.as_bytes());
    for (index, item) in object["output"].as_array().into_iter().flatten().enumerate() {
        output_item(&mut events, index, item);
    }
    events.response(last, response);
    Ok(Some(events.take()))
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

fn output_item(events: &mut EventWriter, output_index: usize, item: &Value) {
    let mut added = item.clone();
    if added.get("status").is_some() {
        added["status"] = json!("in_progress");
    }
    let id = item["id"].as_str().and_then(ItemId::parse);
    let place = id.map(|item| Place { item, output_index });
    let text = text(item);
    match (place, text, item["type"].as_str()) {
        (Some(place), Some(text), _) => {
            added["content"] = json!([]);
            events.output_item("response.output_item.added", output_index, &added.to_string());
            events.text_part("response.content_part.added", place, "");
            events.text_delta(place, text);
            events.text_done(place, text);
            events.text_part("response.content_part.done", place, text);
        }
        (Some(place), None, Some("function_call")) => {
            let arguments = item["arguments"].as_str().unwrap_or_default();
            added["arguments"] = json!("");
            events.output_item("response.output_item.added", output_index, &added.to_string());
            events.arguments_delta(place, arguments);
            events.arguments_done(place, item["name"].as_str().unwrap_or_default(), arguments);
        }
        // What has no pieces of a kind known here comes whole.
        _ => events.output_item("response.output_item.added", output_index, &item.to_string()),
    }
    events.output_item("response.output_item.done", output_index, &item.to_string());
}

/// The text of a message that is one text and nothing else.
fn text(item: &Value) -> Option<&str> {
    let [part] = item["content"].as_array()?.as_slice() else { return None };
    let plain = |name: &str| part.get(name).and_then(Value::as_array).is_none_or(Vec::is_empty);
    let is_text = part["type"] == "output_text" && plain("annotations") && plain("logprobs");
    part["text"].as_str().filter(|_| is_text)
}
