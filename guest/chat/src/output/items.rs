//! The output of a model that adds its items itself, as Responses has it: each of its items is one of ours, under an id
//! and numbers of our own.
//!
//! What ends an item is all of it. What was said of it before has to be its beginning, and what was not said yet is said
//! then; so an endpoint may leave out pieces, but nothing that contradicts itself is ever called whole.

use super::{OUTPUT_ITEMS_MAX, Output, unwritable};
use crate::piece::{Kind, Piece};
use waggle_model::ModelFailure;
use waggle_model::reply::{FinishReason, TOOL_CALLS_MAX};
use waggle_model::responses::{Answer, DeltaKind, Event, ITEMS_MAX, OutputItem};
use waggle_openai::item::{Citation, Item, ItemStatus, LogProb, Part, Phase, TextPart};
use waggle_openai::response::Usage;

/// The model's items by the indices it gives them, as they came.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<(usize, Slot)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// A message that says nothing yet: it is none of our items, so that something else can be said in its place.
    Waiting(Option<Phase>),
    /// It grows. Its last part, and the last one of its summary, have these indices.
    Open { at: usize, part: usize, summary: usize },
    /// It is whole, or was cut off.
    Done,
    /// It is of a type that is not handed on.
    Ignored,
}

fn wrong(what: &str, at: usize) -> ModelFailure {
    ModelFailure::NotACompletion(format!("its stream contradicts itself: {what} (output_index {at})"))
}

/// What is new in `whole`, which must begin with what was `said`.
fn rest<'w>(whole: &'w str, said: &str, at: usize) -> Result<&'w str, ModelFailure> {
    whole.strip_prefix(said).ok_or_else(|| wrong("an item ends as another than it began", at))
}

fn kind_of(part: &Part<'_>) -> Option<Kind> {
    match part {
        Part::Text(_) => Some(Kind::Text),
        Part::Refusal(_) => Some(Kind::Refusal),
        Part::Reasoning(_) => Some(Kind::Reasoning),
        _ => None,
    }
}

impl Slots {
    fn get(&self, at: usize) -> Option<Slot> {
        self.0.iter().find(|(known, _)| *known == at).map(|(_, slot)| *slot)
    }

    fn set(&mut self, at: usize, slot: Slot) -> Result<(), ModelFailure> {
        if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| *known == at) {
            *known = slot;
            return Ok(());
        }
        if self.0.len() >= ITEMS_MAX {
            return Err(ModelFailure::TooLong(format!("more than {ITEMS_MAX} items")));
        }
        self.0.push((at, slot));
        Ok(())
    }
}

impl Output {
    /// Takes an event. How the answer ended, once it has.
    pub(crate) fn event(
        &mut self,
        event: Event<'_>,
    ) -> Result<Option<(FinishReason, Option<Usage>)>, ModelFailure> {
        match event {
            Event::Silent => {}
            Event::Added { at, item } => self.added(at, item)?,
            Event::Delta { at, part, kind: DeltaKind::Text, delta, logprobs } => {
                self.text_delta(at, part, &delta, logprobs)?;
            }
            Event::Delta { at, part, kind, delta, logprobs } => {
                self.delta(at, part, kind, &delta, logprobs)?
            }
            Event::Arguments { at, delta } => self.arguments(at, &delta)?,
            // What it cites of what was looked up, its text says.
            Event::Cited { .. } if self.citing.is_some() => {}
            Event::Cited { at, citation } => self.cited(at, citation)?,
            Event::Done { at, item } => {
                let item = self.cited_item(at, item);
                self.done(at, item)?;
            }
            Event::Ended(answer) => {
                let ended = (answer.finish, answer.usage);
                self.ended(answer)?;
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// Takes a whole answer.
    pub(crate) fn complete_answer(&mut self, answer: Answer) -> Result<(), ModelFailure> {
        let finish = answer.finish;
        self.ended(answer)?;
        self.finish(finish).map_err(unwritable)
    }

    /// An item begins.
    pub(crate) fn added(
        &mut self,
        at: usize,
        OutputItem { item, .. }: OutputItem,
    ) -> Result<(), ModelFailure> {
        if self.slots.get(at).is_some() {
            return Err(wrong("an item begins twice", at));
        }
        let empty = match item {
            None => return self.slots.set(at, Slot::Ignored),
            Some(Item::Message { phase, .. }) => return self.slots.set(at, Slot::Waiting(phase)),
            Some(Item::Reasoning { .. }) => Kind::Reasoning.empty_item(),
            Some(Item::FunctionCall { call_id, name, .. }) => {
                if self.pieces.iter().filter(|piece| piece.is_call()).count() >= TOOL_CALLS_MAX {
                    return Err(ModelFailure::TooLong(format!("more than {TOOL_CALLS_MAX} tool calls")));
                }
                let call_id = if call_id.is_empty() { self.made_up_call_id().into() } else { call_id };
                Item::FunctionCall { call_id, name, arguments: String::new().into() }
            }
            Some(item) => item,
        };
        self.begin(at, empty)?;
        Ok(())
    }

    /// Makes one of our items of an item of the model's.
    fn begin(&mut self, at: usize, item: Item<'static>) -> Result<usize, ModelFailure> {
        let ours = self.pieces.len();
        if ours > OUTPUT_ITEMS_MAX {
            return Err(ModelFailure::TooLong(format!("more than {OUTPUT_ITEMS_MAX} items")));
        }
        self.slots.set(at, Slot::Open { at: ours, part: 0, summary: 0 })?;
        self.open(item, Some(at)).map_err(unwritable)?;
        self.trace.push(ours, 0);
        Ok(ours)
    }

    /// The item of ours that grows, and the indices of its last parts; `None` where nothing of it is handed on.
    fn growing(&mut self, at: usize, kind: Option<Kind>) -> Result<Option<[usize; 3]>, ModelFailure> {
        match self.slots.get(at) {
            Some(Slot::Ignored) => Ok(None),
            Some(Slot::Open { at, part, summary }) => Ok(Some([at, part, summary])),
            Some(Slot::Waiting(phase)) if matches!(kind, Some(Kind::Text | Kind::Refusal)) => {
                let Item::Message { role, parts, .. } = Kind::Text.empty_item() else { return Ok(None) };
                Ok(Some([self.begin(at, Item::Message { role, parts, phase })?, 0, 0]))
            }
            Some(Slot::Waiting(_)) => Err(wrong("a message says what is none of its parts", at)),
            Some(Slot::Done) => Err(wrong("an item goes on after its end", at)),
            None => Err(wrong("an item goes on that has not begun", at)),
        }
    }

    /// More of a part.
    pub(crate) fn delta(
        &mut self,
        at: usize,
        index: usize,
        kind: DeltaKind,
        delta: &str,
        logprobs: Vec<LogProb>,
    ) -> Result<(), ModelFailure> {
        let kind = match kind {
            DeltaKind::Text => Kind::Text,
            DeltaKind::Refusal => Kind::Refusal,
            DeltaKind::Reasoning => Kind::Reasoning,
            DeltaKind::Summary => return self.summary_delta(at, index, delta),
        };
        if delta.is_empty() && matches!(self.slots.get(at), Some(Slot::Waiting(_))) {
            return Ok(());
        }
        let Some([ours, part, summary]) = self.growing(at, Some(kind))? else { return Ok(()) };
        let Some(piece) = self.pieces.get(ours).filter(|piece| piece.takes(kind)) else {
            return Err(wrong("an item says what is none of its parts", at));
        };
        let last = piece.last_kind();
        if last.is_none() || index > part {
            self.next_part(ours, kind);
        } else if index < part || last != Some(kind) {
            return Err(wrong("a part goes on after its end", at));
        }
        self.slots.set(at, Slot::Open { at: ours, part: index, summary })?;
        self.more(ours, kind, delta, logprobs)
    }

    fn next_part(&mut self, ours: usize, kind: Kind) {
        self.close_summary(ours);
        self.close_part(ours);
        self.open_part(ours, kind);
    }

    fn more(
        &mut self,
        ours: usize,
        kind: Kind,
        delta: &str,
        logprobs: Vec<LogProb>,
    ) -> Result<(), ModelFailure> {
        self.grow(delta.len())?;
        self.append(ours, kind, delta, logprobs);
        self.trace.push(ours, delta.len());
        Ok(())
    }

    fn summary_delta(&mut self, at: usize, index: usize, delta: &str) -> Result<(), ModelFailure> {
        let Some([ours, part, last]) = self.growing(at, Some(Kind::Reasoning))? else { return Ok(()) };
        let Some(Piece { item: Item::Reasoning { summary, .. }, in_summary, .. }) = self.pieces.get(ours)
        else {
            return Err(wrong("an item has a summary that is no thought", at));
        };
        if summary.is_empty() || index > last {
            self.open_summary(ours);
        } else if index < last || !*in_summary {
            return Err(wrong("a part goes on after its end", at));
        }
        self.slots.set(at, Slot::Open { at: ours, part, summary: index })?;
        self.more_summary(ours, delta)
    }

    fn open_summary(&mut self, ours: usize) {
        self.close_summary(ours);
        let place = self.place(ours);
        let Some(Piece { item: Item::Reasoning { summary, .. }, in_summary, .. }) = self.pieces.get_mut(ours)
        else {
            return;
        };
        let part = Part::Summary(String::new().into());
        if let (Some(events), Some(place)) = (&mut self.events, place) {
            events.summary_part("response.reasoning_summary_part.added", place, summary.len(), &part);
        }
        summary.push(part);
        *in_summary = true;
    }

    fn more_summary(&mut self, ours: usize, delta: &str) -> Result<(), ModelFailure> {
        self.grow(delta.len())?;
        let place = self.place(ours);
        let Some(Piece { item: Item::Reasoning { summary, .. }, .. }) = self.pieces.get_mut(ours) else {
            return Ok(());
        };
        let index = summary.len().saturating_sub(1);
        if let Some(Part::Summary(text)) = summary.last_mut() {
            text.to_mut().push_str(delta);
        }
        if let (Some(events), Some(place), false) = (&mut self.events, place, delta.is_empty()) {
            events.summary_delta(place, index, delta);
        }
        self.trace.push(ours, delta.len());
        Ok(())
    }

    /// Says that the last part of the item's summary is whole.
    pub(super) fn close_summary(&mut self, ours: usize) {
        let place = self.place(ours);
        let Some(Piece { item: Item::Reasoning { summary, .. }, in_summary, .. }) = self.pieces.get_mut(ours)
        else {
            return;
        };
        if !std::mem::take(in_summary) {
            return;
        }
        let (index, Some(part)) = (summary.len().saturating_sub(1), summary.last()) else { return };
        if let (Some(events), Some(place)) = (&mut self.events, place) {
            events.summary_done(place, index, part.words());
            events.summary_part("response.reasoning_summary_part.done", place, index, part);
        }
    }

    /// More of a call's arguments.
    pub(crate) fn arguments(&mut self, at: usize, delta: &str) -> Result<(), ModelFailure> {
        let Some([ours, ..]) = self.growing(at, None)? else { return Ok(()) };
        self.more_arguments(ours, delta, at)
    }

    fn more_arguments(&mut self, ours: usize, delta: &str, at: usize) -> Result<(), ModelFailure> {
        self.grow(delta.len())?;
        let Some(Piece { item: Item::FunctionCall { arguments, .. }, .. }) = self.pieces.get_mut(ours) else {
            return Err(wrong("an item has arguments that is no call", at));
        };
        arguments.to_mut().push_str(delta);
        self.tell_arguments(ours, delta);
        self.trace.push(ours, delta.len());
        Ok(())
    }

    /// The text that is being said cites something. Before it says anything, it cites nothing.
    pub(super) fn cited(&mut self, at: usize, citation: Citation) -> Result<(), ModelFailure> {
        if matches!(self.slots.get(at), Some(Slot::Waiting(_))) {
            return Ok(());
        }
        let Some([ours, ..]) = self.growing(at, Some(Kind::Text))? else { return Ok(()) };
        self.cite_in(ours, citation);
        Ok(())
    }

    fn cite_in(&mut self, ours: usize, citation: Citation) {
        let place = self.place(ours);
        let parts = self.pieces.get_mut(ours).and_then(Piece::parts_mut);
        let Some(Part::Text(TextPart { annotations, .. })) = parts.and_then(|parts| parts.last_mut()) else {
            return;
        };
        if let (Some(events), Some(place)) = (&mut self.events, place) {
            events.annotation(place, annotations.len(), &citation);
        }
        annotations.push(citation);
    }

    /// An item ends. One that has ended already has nothing to add.
    pub(crate) fn done(
        &mut self,
        at: usize,
        OutputItem { item, whole }: OutputItem,
    ) -> Result<(), ModelFailure> {
        let slot = self.slots.get(at);
        if matches!(slot, Some(Slot::Done | Slot::Ignored)) {
            return Ok(());
        }
        let Some(item) = item else {
            return match slot {
                None => self.slots.set(at, Slot::Ignored),
                Some(_) => Err(wrong("an item ends as another than it began", at)),
            };
        };
        if slot.is_none() {
            self.added(at, OutputItem { item: Some(item.clone()), whole })?;
        }
        let ours = match item {
            Item::Message { parts, phase, .. } => self.end_message(at, parts, phase)?,
            Item::Reasoning { summary, content, encrypted_content } => {
                let ours = self.end_thought(at, summary, content)?;
                if let Some(Piece { item: Item::Reasoning { encrypted_content: sealed, .. }, .. }) =
                    ours.and_then(|ours| self.pieces.get_mut(ours))
                {
                    *sealed = encrypted_content;
                }
                ours
            }
            Item::FunctionCall { call_id, name, arguments } => {
                self.end_call(at, &call_id, &name, &arguments)?
            }
            item => self.end_other(at, item)?,
        };
        self.slots.set(at, Slot::Done)?;
        let Some(ours) = ours else { return Ok(()) };
        let status = if whole { ItemStatus::Completed } else { ItemStatus::Incomplete };
        self.close(ours, status).map_err(unwritable)?;
        self.trace.end(ours);
        Ok(())
    }

    /// Says what was not said yet of a message; it is none of our items if it says nothing at all.
    fn end_message(
        &mut self,
        at: usize,
        parts: Vec<Part<'static>>,
        phase: Option<Phase>,
    ) -> Result<Option<usize>, ModelFailure> {
        let first = parts.first().and_then(kind_of).unwrap_or(Kind::Text);
        if parts.is_empty() && matches!(self.slots.get(at), Some(Slot::Waiting(_))) {
            return Ok(None);
        }
        let Some([ours, ..]) = self.growing(at, Some(first))? else { return Ok(None) };
        if !matches!(self.pieces.get(ours), Some(Piece { item: Item::Message { .. }, .. })) {
            return Err(wrong("an item ends as another than it began", at));
        }
        self.end_parts(at, ours, parts)?;
        if let Some(Piece { item: Item::Message { phase: ours, .. }, .. }) = self.pieces.get_mut(ours) {
            *ours = phase.or(*ours);
        }
        Ok(Some(ours))
    }

    /// Says what was not said yet of the parts of an item.
    fn end_parts(&mut self, at: usize, ours: usize, parts: Vec<Part<'static>>) -> Result<(), ModelFailure> {
        // A part of ours may be empty, where nothing but that it begins was said of it; one of the model's is not.
        let said: Vec<usize> = self.pieces.get(ours).map_or_else(Vec::new, |piece| {
            let parts = piece.parts().iter().enumerate();
            parts.filter(|(_, part)| !part.words().is_empty()).map(|(index, _)| index).collect()
        });
        if said.len() > parts.len() {
            return Err(wrong("an item ends as another than it began", at));
        }
        for (number, part) in parts.into_iter().enumerate() {
            let Some(kind) = kind_of(&part) else { continue };
            let known = said.get(number).and_then(|index| self.pieces.get(ours)?.parts().get(*index));
            let more = match known {
                Some(known) if kind_of(known) == Some(kind) => rest(part.words(), known.words(), at)?,
                Some(_) => return Err(wrong("an item ends as another than it began", at)),
                None => {
                    self.next_part(ours, kind);
                    part.words()
                }
            };
            if !more.is_empty() {
                // Only what is said last can still grow.
                if number + 1 < said.len() {
                    return Err(wrong("a part goes on after its end", at));
                }
                self.more(ours, kind, more, Vec::new())?;
            }
            if let Part::Text(text) = part {
                self.end_text(ours, said.get(number).copied(), text);
            }
        }
        Ok(())
    }

    /// What is known of a text besides, and was not told yet.
    fn end_text(&mut self, ours: usize, index: Option<usize>, whole: TextPart<'static>) {
        let Some(parts) = self.pieces.get_mut(ours).and_then(Piece::parts_mut) else { return };
        let last = parts.len().saturating_sub(1);
        let index = index.unwrap_or(last);
        let Some(Part::Text(text)) = parts.get_mut(index) else { return };
        if text.logprobs.is_empty() {
            text.logprobs = whole.logprobs;
        }
        let told = text.annotations.len();
        let untold = whole.annotations.into_iter().skip(told);
        if index < last {
            text.annotations.extend(untold);
            return;
        }
        for citation in untold.collect::<Vec<_>>() {
            self.cite_in(ours, citation);
        }
    }

    fn end_thought(
        &mut self,
        at: usize,
        summary: Vec<Part<'static>>,
        content: Vec<Part<'static>>,
    ) -> Result<Option<usize>, ModelFailure> {
        let Some([ours, ..]) = self.growing(at, Some(Kind::Reasoning))? else { return Ok(None) };
        let Some(Piece { item: Item::Reasoning { summary: said, .. }, .. }) = self.pieces.get(ours) else {
            return Err(wrong("an item ends as another than it began", at));
        };
        let said: Vec<String> = said.iter().map(|part| part.words().to_owned()).collect();
        if said.len() > summary.len() {
            return Err(wrong("an item ends as another than it began", at));
        }
        for (number, part) in summary.iter().enumerate() {
            let more = match said.get(number) {
                Some(said) => rest(part.words(), said, at)?,
                None => {
                    self.open_summary(ours);
                    part.words()
                }
            };
            let is_open = self.pieces.get(ours).is_some_and(|piece| piece.in_summary);
            if !more.is_empty() {
                if number + 1 < said.len() || !is_open {
                    return Err(wrong("a part goes on after its end", at));
                }
                self.more_summary(ours, more)?;
            }
        }
        self.end_parts(at, ours, content)?;
        Ok(Some(ours))
    }

    fn end_call(
        &mut self,
        at: usize,
        call_id: &str,
        name: &str,
        whole: &str,
    ) -> Result<Option<usize>, ModelFailure> {
        let Some([ours, ..]) = self.growing(at, None)? else { return Ok(None) };
        let nonce = self.nonce;
        let Some(Piece { item: Item::FunctionCall { call_id: ours_id, name: ours_name, arguments }, .. }) =
            self.pieces.get_mut(ours)
        else {
            return Err(wrong("an item ends as another than it began", at));
        };
        let is_made_up = ours_id.contains(nonce.as_str());
        if (!is_made_up && *ours_id != call_id) || (!ours_name.is_empty() && *ours_name != name) {
            return Err(wrong("an item ends as another than it began", at));
        }
        if is_made_up && !call_id.is_empty() {
            *ours_id = call_id.to_owned().into();
        }
        *ours_name = name.to_owned().into();
        let more = rest(whole, arguments, at)?.to_owned();
        if !more.is_empty() {
            self.more_arguments(ours, &more, at)?;
        }
        Ok(Some(ours))
    }

    /// An item that has no parts: what ends it takes its place.
    fn end_other(&mut self, at: usize, item: Item<'static>) -> Result<Option<usize>, ModelFailure> {
        let Some([ours, ..]) = self.growing(at, None)? else { return Ok(None) };
        match self.pieces.get_mut(ours) {
            Some(piece) if piece.item.kind() == item.kind() => piece.item = item,
            _ => return Err(wrong("an item ends as another than it began", at)),
        }
        let mut texts = Vec::new();
        if let Some(piece) = self.pieces.get(ours) {
            piece.item.tally(&mut texts);
        }
        let bytes = texts.iter().map(|text| text.len()).sum();
        self.grow(bytes)?;
        Ok(Some(ours))
    }

    /// The answer ends, with all its items. An item that did not end is incomplete, where the answer is.
    fn ended(&mut self, answer: Answer) -> Result<(), ModelFailure> {
        let answer = self.cited_answer(answer);
        for (at, item) in answer.items.into_iter().enumerate() {
            self.done(at, item)?;
        }
        let open: Vec<(usize, usize)> = self
            .slots
            .0
            .iter()
            .filter_map(|(at, slot)| match slot {
                Slot::Open { at: ours, .. } => Some((*at, *ours)),
                _ => None,
            })
            .collect();
        for (at, ours) in open {
            if answer.finish == FinishReason::Stop {
                return Err(wrong("the answer ends and an item does not", at));
            }
            self.close(ours, ItemStatus::Incomplete).map_err(unwritable)?;
            self.trace.end(ours);
        }
        Ok(())
    }
}
