//! The events of a stored response, made again by letting its output grow once more: as it grew when it was streamed,
//! or, where that is not known or does not lead to what is stored, with each text and each call in one piece.

mod items;

use crate::output::Output;
use crate::problem::{Problem, internal};
use crate::trace::{self, Step};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use waggle_conversation::response::Streamed;
use waggle_model::reply::{Chunk, FinishReason, FunctionDelta, ToolCallDelta};
use waggle_openai::ItemId;
use waggle_openai::event::EventWriter;
use waggle_openai::item::{HostedCall, HostedKind, Item, Part, StoredId, TextPart};
use waggle_openai::json::Text;
use waggle_openai::members::Members;

/// What the events are made of, of a response object.
#[derive(Deserialize)]
struct ObjectView<'a> {
    status: &'a str,
    #[serde(borrow)]
    output: Vec<&'a RawValue>,
}

/// The events of a response, and their number.
pub(crate) struct Events {
    /// As they are sent, without what ends a stream.
    pub(crate) text: String,
    /// How many they are.
    pub(crate) count: u64,
}

/// All events of a response that is over.
pub(crate) fn events(stored: &Streamed) -> Result<Events, Problem> {
    let object = stored.object.get();
    let view: ObjectView<'_> = serde_json::from_str(object)?;
    let begun = begun(object)?;
    let start = || {
        let mut events = EventWriter::default();
        events.response("response.created", &begun);
        events.response("response.in_progress", &begun);
        events
    };
    let pieces = stored.stream.as_deref().and_then(|stream| trace::read(stream.get()));
    let mut events = grown(&view, pieces.as_deref(), &start).unwrap_or_else(|| whole(&view, start()));
    let last = match view.status {
        "completed" => "response.completed",
        "failed" => "response.failed",
        _ => "response.incomplete",
    };
    events.response(last, object.as_bytes());
    let text = String::from_utf8(events.take()).map_err(|error| internal(error.to_string()))?;
    Ok(Events { text, count: events.next_number() })
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

/// Every item as a whole: what cannot be said piece by piece.
fn whole(view: &ObjectView<'_>, mut events: EventWriter) -> EventWriter {
    for (at, item) in view.output.iter().enumerate() {
        events.output_item("response.output_item.added", at, item.get());
        events.output_item("response.output_item.done", at, item.get());
    }
    events
}

/// The ways in which a turn of this status may have ended.
fn endings(status: &str) -> &'static [Option<FinishReason>] {
    match status {
        "completed" => &[Some(FinishReason::Stop)],
        "incomplete" => &[Some(FinishReason::Length)],
        // A model that broke off has not ended; one whose answer did not fit its form has.
        _ => &[None, Some(FinishReason::Stop)],
    }
}

/// How an output may have grown.
#[derive(Clone, Copy)]
enum Way<'s> {
    /// In these pieces.
    Pieces(&'s [Step]),
    /// Each text and each call in one piece.
    Whole,
    /// In items that begin and end by these steps.
    Items(&'s [Step]),
}

/// Lets the output grow once more; `None` where no way leads to the output as it is stored.
fn grown(
    view: &ObjectView<'_>,
    pieces: Option<&[Step]>,
    start: &impl Fn() -> EventWriter,
) -> Option<EventWriter> {
    let Some(first) = view.output.first() else { return Some(start()) };
    let search = search(first).filter(|_| !pieces.is_some_and(|steps| steps.iter().any(Step::is_of_first)));
    let first: StoredId<'_> = serde_json::from_str(first.get()).ok()?;
    let id = ItemId::parse(first.id)?;
    // First as it was, then each text in one piece.
    let adds_items = |steps: &[Step]| steps.iter().any(|step| matches!(step, Step::Ended { .. }));
    let as_it_was = |steps| if adds_items(steps) { Way::Items(steps) } else { Way::Pieces(steps) };
    let one_by_one = items::one_by_one(view, usize::from(search.is_some()));
    let ways = pieces.map(as_it_was).into_iter().chain([Way::Whole, Way::Items(&one_by_one)]);
    let mut ways = ways.flat_map(|way| endings(view.status).iter().map(move |finish| (way, *finish)));
    ways.find_map(|(way, finish)| {
        let mut output = Output::new(id.nonce, id.index, Some(start()));
        if let Some(search) = &search {
            output.tell_search(search).ok()?;
        }
        match way {
            Way::Pieces(pieces) => say_in(&mut output, view, pieces)?,
            Way::Whole => say_all(&mut output, view, usize::from(search.is_some()))?,
            Way::Items(steps) => items::say(&mut output, view, steps)?,
        }
        if let Some(finish) = finish {
            output.finish(finish).ok()?;
        }
        let made = output.to_raw().ok()?;
        let same = made.len() == view.output.len()
            && made.iter().zip(&view.output).all(|(made, stored)| made.get() == stored.get());
        output.events.filter(|_| same)
    })
}

/// The search that was made for the turn. One that a model's endpoint made is an item that the model added, which says so
/// by how it grew.
fn search(first: &RawValue) -> Option<HostedCall<'static>> {
    match serde_json::from_str::<Item<'_>>(first.get()).ok()? {
        Item::Hosted(call) if call.kind() == HostedKind::FileSearch => {
            HostedCall::read(HostedKind::FileSearch, first.get()).ok()
        }
        _ => None,
    }
}

fn item<'a>(view: &ObjectView<'a>, at: usize) -> Option<Item<'a>> {
    serde_json::from_str(view.output.get(at)?.get()).ok()
}

/// Says every item from that one on in one piece, or one for each of its parts.
fn say_all(output: &mut Output, view: &ObjectView<'_>, first: usize) -> Option<()> {
    for at in first..view.output.len() {
        match item(view, at)? {
            Item::FunctionCall { call_id, name, arguments } => {
                call(output, at, Some((&call_id, &name)), &arguments)?;
            }
            Item::Fallback { parts } => fall_back(output, &parts)?,
            Item::Message { parts, .. } | Item::Reasoning { content: parts, .. } => {
                for part in parts {
                    output.chunk(chunk(part)?).ok()?;
                }
            }
            _ => return None,
        }
    }
    Some(())
}

fn fall_back(output: &mut Output, parts: &[Part<'_>]) -> Option<()> {
    let Some(Part::Text(text)) = parts.first() else { return None };
    output.fall_back(&text.text).ok()
}

fn call(output: &mut Output, at: usize, named: Option<(&str, &str)>, arguments: &str) -> Option<()> {
    let text = |text: &str| Text(Cow::Owned(text.to_owned()));
    let function =
        FunctionDelta { name: named.map(|(_, name)| text(name)), arguments: Some(text(arguments)) };
    let call = ToolCallDelta { index: Some(at), id: named.map(|(id, _)| text(id)), function };
    output.chunk(Chunk { tool_calls: vec![call], ..Chunk::default() }).ok()
}

/// A part in one piece, with all that is told of it.
fn chunk(part: Part<'_>) -> Option<Chunk<'_>> {
    Some(match part {
        Part::Text(TextPart { text, annotations, logprobs }) => {
            Chunk { text: Some(Text(text)), annotations, logprobs, ..Chunk::default() }
        }
        Part::Refusal(refusal) => Chunk { refusal: Some(Text(refusal)), ..Chunk::default() },
        Part::Reasoning(thought) => Chunk { reasoning: Some(Text(thought)), ..Chunk::default() },
        _ => return None,
    })
}

/// Says the items in these pieces. What a text cites, and how probable it was, is not known piece by piece.
fn say_in(output: &mut Output, view: &ObjectView<'_>, pieces: &[Step]) -> Option<()> {
    let items = (0..view.output.len()).map(|at| item(view, at)).collect::<Option<Vec<_>>>()?;
    let mut said: BTreeMap<usize, usize> = BTreeMap::new();
    for step in pieces {
        let Step::Grew { at, bytes } = *step else { return None };
        let from = said.get(&at).copied();
        let begin = from.unwrap_or(0);
        say_piece(output, items.get(at)?, at, from.is_none(), begin..begin.checked_add(bytes)?)?;
        said.insert(at, begin + bytes);
    }
    Some(())
}

fn say_piece(
    output: &mut Output,
    item: &Item<'_>,
    at: usize,
    first: bool,
    range: std::ops::Range<usize>,
) -> Option<()> {
    let parts = match item {
        Item::FunctionCall { call_id, name, arguments } => {
            return call(output, at, first.then_some((call_id, name)), arguments.get(range)?);
        }
        Item::Message { parts, .. } | Item::Reasoning { content: parts, .. } => parts,
        _ => return None,
    };
    let mut before = 0;
    for part in parts {
        let (Part::Text(TextPart { text, .. }) | Part::Refusal(text) | Part::Reasoning(text)) = part else {
            return None;
        };
        if range.start < before + text.len() {
            let piece = Cow::Borrowed(text.get(range.start - before..range.end - before)?);
            let part = match part {
                Part::Text(_) => {
                    Part::Text(TextPart { text: piece, annotations: Vec::new(), logprobs: Vec::new() })
                }
                Part::Refusal(_) => Part::Refusal(piece),
                _ => Part::Reasoning(piece),
            };
            return output.chunk(chunk(part)?).ok();
        }
        before += text.len();
    }
    None
}
