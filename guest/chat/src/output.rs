//! What a model says, piece by piece, as output items and, when the answer is streamed, as events.

mod items;
mod knowledge;
mod tools;

use self::items::Slots;
pub(crate) use self::tools::{Told, read_stored};
use crate::agent::Toolbox;
use crate::knowledge::Citing;
use crate::piece::{Kind, Piece};
use crate::trace::Trace;
use std::rc::Rc;
use waggle_model::ModelFailure;
use waggle_model::reply::{Chunk, Completion, FinishReason, TOOL_CALLS_MAX, ToolCallDelta};
use waggle_openai::event::{EventWriter, Place};
use waggle_openai::item::{Citation, Item, ItemStatus, LogProb, Part, RawItem, TextPart};
use waggle_openai::{ItemId, Nonce};

/// The most a model may say in one turn, in bytes.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
/// The most output items of one turn: its calls, and messages and thoughts, which may take turns. With the most items of
/// an input they fit into one commit.
const OUTPUT_ITEMS_MAX: usize = TOOL_CALLS_MAX + 32;

/// The output of one turn as it grows.
#[derive(Debug)]
pub(crate) struct Output {
    nonce: Nonce,
    /// How many items of the turn come before the first of these.
    first_index: usize,
    pieces: Vec<Piece>,
    /// How many of these stand before what the model says, or says in this step.
    before: usize,
    /// The tools of this server's that the model may call.
    tools: Option<Rc<Toolbox>>,
    /// The step of the run, from 1, of a turn that has such tools.
    step: u32,
    /// What of a run that goes on was told before.
    pub(crate) told: Told,
    bytes: usize,
    /// The items of a model that adds them itself.
    slots: Slots,
    /// Finds what the answer cites of what was looked up.
    citing: Option<Box<Citing>>,
    /// Whether it stays empty.
    silent: bool,
    /// How it grew, where it is streamed.
    pub(crate) trace: Trace,
    /// The events of a streamed answer; `None` when the answer is whole.
    pub(crate) events: Option<EventWriter>,
}

impl Output {
    pub(crate) fn new(nonce: Nonce, first_index: usize, events: Option<EventWriter>) -> Self {
        Self {
            nonce,
            first_index,
            pieces: Vec::new(),
            before: 0,
            tools: None,
            step: 0,
            told: Told::default(),
            bytes: 0,
            slots: Slots::default(),
            citing: None,
            silent: false,
            trace: Trace::default(),
            events,
        }
    }

    /// The output of a turn that is answered by nobody: no message stands for what a model did not say.
    pub(crate) fn keep_silent(&mut self) {
        self.silent = true;
    }

    /// Takes a whole answer.
    pub(crate) fn complete(&mut self, completion: Completion) -> serde_json::Result<()> {
        if !completion.reasoning.is_empty() {
            self.say(Kind::Reasoning, &completion.reasoning, Vec::new())?;
        }
        if !completion.text.is_empty() {
            self.say_text(&completion.text, completion.logprobs, completion.annotations)?;
        }
        if !completion.refusal.is_empty() {
            self.say(Kind::Refusal, &completion.refusal, Vec::new())?;
        }
        for call in completion.tool_calls {
            let call_id = if call.id.is_empty() { self.made_up_call_id() } else { call.id };
            let item = Item::FunctionCall {
                call_id: call_id.into(),
                name: call.name.into(),
                arguments: call.arguments.into(),
            };
            self.open(item, None)?;
        }
        self.finish(completion.finish)
    }

    /// Whether the model has said nothing yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.len() == self.before
    }

    /// Says `text` in the place of a model that said nothing.
    pub(crate) fn fall_back(&mut self, text: &str) -> serde_json::Result<()> {
        // What was held back of the model is not said any more.
        self.citing = None;
        self.open(Item::Fallback { parts: Vec::new() }, None)?;
        let at = self.pieces.len().saturating_sub(1);
        self.open_part(at, Kind::Text);
        self.append(at, Kind::Text, text, Vec::new());
        self.finish(FinishReason::Stop)
    }

    /// Takes a piece of a streamed answer.
    pub(crate) fn chunk(&mut self, chunk: Chunk<'_>) -> Result<(), ModelFailure> {
        if let Some(thought) = &chunk.reasoning {
            self.end_heard_text().map_err(unwritable)?;
            self.hear(Kind::Reasoning, thought, Vec::new())?;
        }
        if let Some(text) = &chunk.text {
            self.hear_text(text, chunk.logprobs)?;
        }
        if self.citing.is_none() {
            self.cite(chunk.annotations);
        }
        if chunk.refusal.is_some() || !chunk.tool_calls.is_empty() {
            self.end_heard_text().map_err(unwritable)?;
        }
        if let Some(refusal) = &chunk.refusal {
            self.hear(Kind::Refusal, refusal, Vec::new())?;
        }
        for call in &chunk.tool_calls {
            self.tool_call(call)?;
        }
        Ok(())
    }

    fn hear(&mut self, kind: Kind, delta: &str, logprobs: Vec<LogProb>) -> Result<(), ModelFailure> {
        self.grow(delta.len())?;
        if self.pieces.len() > OUTPUT_ITEMS_MAX {
            return Err(ModelFailure::TooLong(format!(
                "more than {OUTPUT_ITEMS_MAX} messages and tool calls"
            )));
        }
        self.say(kind, delta, logprobs).map_err(unwritable)?;
        self.trace.push(self.pieces.len().saturating_sub(1), delta.len());
        Ok(())
    }

    /// Adds `delta` to the part of that kind which is being said, or begins one, in an item of its own if it must.
    fn say(&mut self, kind: Kind, delta: &str, logprobs: Vec<LogProb>) -> serde_json::Result<()> {
        let open = self.pieces.len().checked_sub(1).filter(|last| {
            self.pieces
                .get(*last)
                .is_some_and(|piece| piece.status == ItemStatus::InProgress && !piece.is_call())
        });
        let at = match open {
            Some(at) if self.pieces.get(at).is_some_and(|piece| piece.takes(kind)) => at,
            open => {
                if let Some(at) = open {
                    self.close(at, ItemStatus::Completed)?;
                }
                self.open(kind.empty_item(), None)?;
                self.pieces.len().saturating_sub(1)
            }
        };
        if self.pieces.get(at).and_then(Piece::last_kind) != Some(kind) {
            self.close_part(at);
            self.open_part(at, kind);
        }
        self.append(at, kind, delta, logprobs);
        Ok(())
    }

    /// Adds citations to the text that is being said; those of no text are citations of nothing.
    fn cite(&mut self, citations: Vec<Citation>) {
        if citations.is_empty() {
            return;
        }
        let at = self.pieces.len().saturating_sub(1);
        let place = self.place(at);
        let Some(Piece { item: Item::Message { parts, .. }, status: ItemStatus::InProgress, .. }) =
            self.pieces.last_mut()
        else {
            return;
        };
        let Some(Part::Text(TextPart { annotations, .. })) = parts.last_mut() else { return };
        for citation in citations {
            if let (Some(events), Some(place)) = (&mut self.events, place) {
                events.annotation(place, annotations.len(), &citation);
            }
            annotations.push(citation);
        }
    }

    /// Takes a piece of a tool call.
    fn tool_call(&mut self, delta: &ToolCallDelta<'_>) -> Result<(), ModelFailure> {
        let more = delta.function.arguments.as_deref().unwrap_or_default();
        self.grow(more.len())?;
        let at = match self.find_call(delta) {
            Some(at) => at,
            None => self.open_call(delta)?,
        };
        if let Some(Piece { item: Item::FunctionCall { arguments, .. }, .. }) = self.pieces.get_mut(at) {
            arguments.to_mut().push_str(more);
        }
        self.tell_arguments(at, more);
        self.trace.push(at, more.len());
        Ok(())
    }

    /// Ends the output as the model ended it. A model that said nothing said an empty message, unless it was cut off
    /// while it was thinking.
    pub(crate) fn finish(&mut self, finish: FinishReason) -> serde_json::Result<()> {
        self.end_heard_text()?;
        let mut said = self.pieces.iter().skip(self.before);
        let thought_only = said.all(|piece| piece.takes(Kind::Reasoning));
        let says_nothing = self.is_empty() || thought_only && finish == FinishReason::Stop;
        if says_nothing && !self.silent {
            self.say(Kind::Text, "", Vec::new())?;
        }
        let last = self.pieces.len().saturating_sub(1);
        for at in 0..self.pieces.len() {
            let cut = finish != FinishReason::Stop && at == last;
            self.close(at, if cut { ItemStatus::Incomplete } else { ItemStatus::Completed })?;
        }
        Ok(())
    }

    /// The items; those that are not ended are marked as incomplete.
    pub(crate) fn to_raw(&self) -> serde_json::Result<Vec<RawItem>> {
        let status = |piece: &Piece| match piece.status {
            ItemStatus::InProgress => ItemStatus::Incomplete,
            status => status,
        };
        (self.first_index..)
            .zip(&self.pieces)
            .map(|(index, piece)| piece.to_raw(self.nonce, index, status(piece)))
            .collect()
    }

    /// All the items, as far as they have come.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item<'static>> {
        self.pieces.iter().map(|piece| &piece.item)
    }

    /// Those of the step that is being made.
    pub(crate) fn items_of_step(&self) -> impl Iterator<Item = &Item<'static>> {
        self.pieces.iter().skip(self.before).map(|piece| &piece.item)
    }

    /// The text of the answer, when it is one that may be held to a format: not one that asks for tools or refuses. What a
    /// model said in the steps before its answer is no part of it.
    pub(crate) fn answer(&self) -> Option<String> {
        let mut answer = None;
        for piece in self.pieces.iter().skip(self.before) {
            match &piece.item {
                Item::FunctionCall { .. } => return None,
                Item::Message { parts, .. } => {
                    for part in parts {
                        let Part::Text(TextPart { text, .. }) = part else { return None };
                        answer.get_or_insert_with(String::new).push_str(text);
                    }
                }
                _ => {}
            }
        }
        answer
    }

    fn grow(&mut self, bytes: usize) -> Result<(), ModelFailure> {
        self.bytes += bytes;
        if self.bytes > OUTPUT_BYTES_MAX {
            return Err(ModelFailure::TooLong(format!("more than {OUTPUT_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    fn made_up_call_id(&self) -> String {
        format!("call_{}{:03}", self.nonce, self.pieces.len())
    }

    fn find_call(&self, delta: &ToolCallDelta<'_>) -> Option<usize> {
        match (delta.index, &delta.id) {
            (Some(_), _) => {
                let same = |piece: &Piece| piece.is_call() && piece.upstream_index == delta.index;
                let mut said = self.pieces.iter().skip(self.before);
                said.position(same).map(|at| at + self.before)
            }
            // Without an index, an id begins a call.
            (None, Some(_)) => None,
            (None, None) => self.pieces.iter().rposition(Piece::is_call),
        }
    }

    fn open_call(&mut self, delta: &ToolCallDelta<'_>) -> Result<usize, ModelFailure> {
        if self.pieces.iter().filter(|piece| piece.is_call()).count() >= TOOL_CALLS_MAX {
            return Err(ModelFailure::TooLong(format!("more than {TOOL_CALLS_MAX} tool calls")));
        }
        if self.pieces.len() >= OUTPUT_ITEMS_MAX {
            return Err(ModelFailure::TooLong(format!(
                "more than {OUTPUT_ITEMS_MAX} messages and tool calls"
            )));
        }
        // What was said before the call is said.
        if let Some(last) = self.pieces.len().checked_sub(1)
            && self.pieces.get(last).is_some_and(|piece| !piece.is_call())
        {
            self.close(last, ItemStatus::Completed).map_err(unwritable)?;
        }
        let id = delta.id.as_deref().filter(|id| !id.is_empty());
        let item = Item::FunctionCall {
            call_id: id.map_or_else(|| self.made_up_call_id(), str::to_owned).into(),
            name: delta.function.name.as_deref().unwrap_or_default().to_owned().into(),
            arguments: String::new().into(),
        };
        self.open(item, delta.index).map_err(unwritable)?;
        Ok(self.pieces.len() - 1)
    }

    fn open(&mut self, item: Item<'static>, upstream_index: Option<usize>) -> serde_json::Result<()> {
        let at = self.pieces.len();
        let call = self.call_of(&item);
        let piece = Piece { item, status: ItemStatus::InProgress, upstream_index, in_summary: false, call };
        self.pieces.push(piece);
        self.tell_added(at)
    }

    fn open_part(&mut self, at: usize, kind: Kind) {
        let part = kind.empty_part();
        let Some(parts) = self.pieces.get_mut(at).and_then(Piece::parts_mut) else { return };
        parts.push(part.clone());
        let place = self.place(at);
        if let (Some(events), Some(place)) = (&mut self.events, place) {
            events.part("response.content_part.added", place, &part);
        }
    }

    fn append(&mut self, at: usize, kind: Kind, delta: &str, logprobs: Vec<LogProb>) {
        let place = self.place(at);
        if let (Some(events), Some(place), false) = (&mut self.events, place, delta.is_empty()) {
            match kind {
                Kind::Text => events.text_delta(place, delta, &logprobs),
                Kind::Refusal => events.refusal_delta(place, delta),
                Kind::Reasoning => events.reasoning_delta(place, delta),
            }
        }
        let parts = self.pieces.get_mut(at).and_then(Piece::parts_mut);
        match parts.and_then(|parts| parts.last_mut()) {
            Some(Part::Text(part)) => {
                part.text.to_mut().push_str(delta);
                part.logprobs.extend(logprobs);
            }
            Some(Part::Refusal(text) | Part::Reasoning(text)) => text.to_mut().push_str(delta),
            _ => {}
        }
    }

    /// Says that the last part of the piece is whole.
    fn close_part(&mut self, at: usize) {
        let place = self.place(at);
        let Some(part) = self.pieces.get(at).and_then(|piece| piece.parts().last()) else { return };
        let (Some(events), Some(place)) = (&mut self.events, place) else { return };
        match part {
            Part::Text(text) => events.text_done(place, text),
            Part::Refusal(refusal) => events.refusal_done(place, refusal),
            Part::Reasoning(text) => events.reasoning_done(place, text),
            _ => {}
        }
        events.part("response.content_part.done", place, part);
    }

    fn close(&mut self, at: usize, status: ItemStatus) -> serde_json::Result<()> {
        if self.is_for_a_tool(at) {
            return self.close_call(at);
        }
        match self.pieces.get_mut(at) {
            Some(piece) if piece.status == ItemStatus::InProgress => piece.status = status,
            _ => return Ok(()),
        }
        self.close_summary(at);
        self.close_part(at);
        let (Some(place), Some(piece)) = (self.place(at), self.pieces.get(at)) else { return Ok(()) };
        let Some(events) = &mut self.events else { return Ok(()) };
        if let Item::FunctionCall { name, arguments, .. } = &piece.item {
            events.arguments_done(place, name, arguments);
        }
        let raw = piece.to_raw(self.nonce, self.first_index + at, status)?;
        events.output_item("response.output_item.done", at, raw.get());
        Ok(())
    }

    /// Where the last part of the piece belongs.
    fn place(&self, at: usize) -> Option<Place> {
        let piece = self.pieces.get(at)?;
        let item = ItemId { kind: piece.kind(), nonce: self.nonce, index: self.first_index + at };
        Some(Place { item, output_index: at, content_index: piece.parts().len().saturating_sub(1) })
    }
}

fn unwritable(error: serde_json::Error) -> ModelFailure {
    ModelFailure::NotACompletion(error.to_string())
}
