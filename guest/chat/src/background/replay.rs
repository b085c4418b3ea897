//! The events of a response that are not kept, made again: by letting its output grow once more as it grew then.

use crate::output::Output;
use crate::problem::{Problem, internal};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use waggle_conversation::response::Streamed;
use waggle_model::ModelFailure;
use waggle_model::reply::{FinishReason, FunctionDelta, ToolCallDelta};
use waggle_openai::ItemId;
use waggle_openai::event::EventWriter;
use waggle_openai::item::RawItem;
use waggle_openai::json::{Text, push};
use waggle_openai::members::Members;

/// The longest trace that is kept, in bytes: that of some hundred thousand pieces.
const TRACE_BYTES_MAX: usize = 1 << 20;

/// How a streamed output grew: for each of the model's pieces its length in bytes, and where it belongs when that is
/// not where the one before did. As JSON, `[[0,5],3,[1,0],12]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    json: Vec<u8>,
    at: Option<usize>,
}

impl Trace {
    /// Takes note of a piece of `bytes` bytes for the output item at `at`.
    pub(crate) fn push(&mut self, at: usize, bytes: usize) {
        if self.json.len() > TRACE_BYTES_MAX {
            return;
        }
        self.json.push(if self.json.is_empty() { b'[' } else { b',' });
        if self.at == Some(at) {
            push(&mut self.json, &bytes);
        } else {
            push(&mut self.json, &[at, bytes]);
        }
        self.at = Some(at);
    }

    /// The trace as it is kept; `None` when it is too long, or there is nothing in it.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let mut json = std::mem::take(&mut self.json);
        json.push(b']');
        (json.len() > 1 && json.len() <= TRACE_BYTES_MAX).then_some(json)
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Step {
    Same(usize),
    Other([usize; 2]),
}

/// What the events are made of, of a response object.
#[derive(Deserialize)]
struct ObjectView<'a> {
    status: &'a str,
    #[serde(borrow)]
    output: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct ItemView<'a> {
    id: &'a str,
    #[serde(borrow, default)]
    call_id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Vec<PartView<'a>>,
    #[serde(default)]
    waggle_fallback: bool,
}

#[derive(Deserialize)]
struct PartView<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
}

impl ItemView<'_> {
    /// What came in pieces: the text of a message, the arguments of a call.
    fn pieces(&self) -> &str {
        let text = self.content.first().map(|part| &*part.text);
        self.arguments.as_deref().or(text).unwrap_or_default()
    }
}

/// All events of a response, and their number.
pub(super) fn events(stored: &Streamed) -> Result<(String, u64), Problem> {
    let object = stored.object.get();
    let view: ObjectView<'_> = serde_json::from_str(object)?;
    let begun = begun(object)?;
    let mut events = EventWriter::default();
    events.response("response.created", &begun);
    events.response("response.in_progress", &begun);
    let mut text = events.take();
    let trace = stored.stream.as_deref().and_then(|trace| serde_json::from_str(trace.get()).ok());
    let grown = match grow(&view, trace, events.next_number()) {
        Some(grown) => grown,
        None => whole(&view, events.next_number()),
    };
    let (mut events, grown) = grown;
    text.extend_from_slice(&grown);
    let kind = match view.status {
        "completed" => "response.completed",
        "failed" => "response.failed",
        _ => "response.incomplete",
    };
    events.response(kind, object.as_bytes());
    text.extend_from_slice(&events.take());
    let text = String::from_utf8(text).map_err(|error| internal(error.to_string()))?;
    Ok((text, events.next_number()))
}

/// The object as it was when the turn began.
fn begun(object: &str) -> Result<Vec<u8>, Problem> {
    let mut members = Members::read(object.as_bytes())?;
    let metadata = members.get("metadata").unwrap_or("{}").to_owned();
    let mut metadata = Members::read(metadata.as_bytes())?;
    metadata.remove("waggle_fallback");
    metadata.remove("waggle_fallback_reason");
    let metadata = String::from_utf8(metadata.to_json()).map_err(|error| internal(error.to_string()))?;
    members.replace("status", "\"in_progress\"");
    for name in ["error", "incomplete_details", "usage", "completed_at"] {
        members.replace(name, "null");
    }
    members.replace("output", "[]");
    members.replace("metadata", metadata);
    Ok(members.to_json())
}

type Grown = (EventWriter, Vec<u8>);

/// Lets the output grow again; `None` when that does not lead to the output that is stored.
fn grow(view: &ObjectView<'_>, trace: Option<Vec<Step>>, next: u64) -> Option<Grown> {
    let items: Vec<ItemView<'_>> =
        view.output.iter().map(|item| serde_json::from_str(item.get()).ok()).collect::<Option<_>>()?;
    let Some(first) = items.first() else { return Some((EventWriter::starting_at(next), Vec::new())) };
    let ItemId { nonce, index, .. } = ItemId::parse(first.id)?;
    let mut output = Output::new(nonce, index, Some(EventWriter::starting_at(next)));
    if first.waggle_fallback {
        output.fall_back(first.pieces()).ok()?;
    } else {
        let steps = trace.map_or_else(|| in_one_piece(&items), places);
        grow_by(&mut output, &items, steps)?;
        match view.status {
            "completed" => output.finish(FinishReason::Stop).ok()?,
            "incomplete" => output.finish(FinishReason::Length).ok()?,
            _ => {}
        }
    }
    let raw: Vec<RawItem> = output.to_raw().ok()?;
    let same = raw.len() == view.output.len()
        && raw.iter().zip(&view.output).all(|(made, stored)| made.get() == stored.get());
    let mut events = output.events.filter(|_| same)?;
    let text = events.take();
    Some((events, text))
}

fn in_one_piece(items: &[ItemView<'_>]) -> Vec<[usize; 2]> {
    let pieces = items.iter().map(|item| item.pieces().len());
    // A message without text was said without pieces.
    let is_call = |at: usize| items.get(at).is_some_and(|item| item.arguments.is_some());
    pieces
        .enumerate()
        .map(|(at, bytes)| [at, bytes])
        .filter(|[at, bytes]| *bytes > 0 || is_call(*at))
        .collect()
}

fn places(steps: Vec<Step>) -> Vec<[usize; 2]> {
    let mut last = 0;
    let place = |step| match step {
        Step::Same(bytes) => [last, bytes],
        Step::Other([at, bytes]) => {
            last = at;
            [at, bytes]
        }
    };
    steps.into_iter().map(place).collect()
}

fn grow_by(output: &mut Output, items: &[ItemView<'_>], steps: Vec<[usize; 2]>) -> Option<()> {
    let mut done: BTreeMap<usize, usize> = BTreeMap::new();
    for [at, bytes] in steps {
        let item = items.get(at)?;
        let begin = done.get(&at).copied();
        let from = begin.unwrap_or(0);
        let piece = item.pieces().get(from..from.checked_add(bytes)?)?;
        grow_one(output, item, at, begin.is_none(), piece).ok()?;
        done.insert(at, from + bytes);
    }
    Some(())
}

fn grow_one(
    output: &mut Output,
    item: &ItemView<'_>,
    at: usize,
    first: bool,
    piece: &str,
) -> Result<usize, ModelFailure> {
    if item.arguments.is_none() {
        return output.text(piece);
    }
    let told = |text: &Text<'_>| first.then(|| Text(text.0.to_string().into()));
    output.tool_call(&ToolCallDelta {
        index: Some(at),
        id: told(&item.call_id),
        function: FunctionDelta { name: told(&item.name), arguments: Some(Text(piece.into())) },
    })
}

/// Every item as a whole.
fn whole(view: &ObjectView<'_>, next: u64) -> Grown {
    let mut events = EventWriter::starting_at(next);
    for kind in ["response.output_item.added", "response.output_item.done"] {
        for (at, item) in view.output.iter().enumerate() {
            events.output_item(kind, at, item.get());
        }
    }
    let text = events.take();
    (events, text)
}
