//! What a model says, piece by piece, as output items and, when the answer is streamed, as events.

use waggle_model::ModelFailure;
use waggle_model::reply::{Completion, FinishReason, TOOL_CALLS_MAX, ToolCallDelta};
use waggle_openai::event::{EventWriter, Place};
use waggle_openai::item::{Item, ItemStatus, Part, RawItem, Role};
use waggle_openai::{ItemId, Nonce};

/// The most a model may say in one turn, in bytes.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// The output of one turn as it grows.
#[derive(Debug)]
pub(crate) struct Output {
    nonce: Nonce,
    /// How many items of the turn come before the first of these.
    first_index: usize,
    pieces: Vec<Piece>,
    bytes: usize,
    /// The events of a streamed answer; `None` when the answer is whole.
    pub(crate) events: Option<EventWriter>,
}

#[derive(Debug)]
struct Piece {
    item: Item<'static>,
    status: ItemStatus,
    /// The index by which the endpoint names a tool call.
    upstream_index: Option<usize>,
}

fn text_item(text: String) -> Item<'static> {
    Item::Message { role: Role::Assistant, parts: vec![Part::text(text)] }
}

fn empty_message() -> Item<'static> {
    Item::Message { role: Role::Assistant, parts: Vec::new() }
}

impl Output {
    pub(crate) fn new(nonce: Nonce, first_index: usize, events: Option<EventWriter>) -> Self {
        Self { nonce, first_index, pieces: Vec::new(), bytes: 0, events }
    }

    /// Takes a whole answer.
    pub(crate) fn complete(&mut self, completion: Completion) -> serde_json::Result<()> {
        if !completion.text.is_empty() || completion.tool_calls.is_empty() {
            self.open(text_item(completion.text), None)?;
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

    /// Whether nothing was said yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Says `text` in the place of a model that said nothing.
    pub(crate) fn fall_back(&mut self, text: &str) -> serde_json::Result<()> {
        self.open(Item::Fallback { parts: Vec::new() }, None)?;
        let place = self.place(self.pieces.len().saturating_sub(1));
        if let Some(Piece { item: Item::Fallback { parts }, .. }) = self.pieces.last_mut() {
            parts.push(Part::text(text.to_owned()));
        }
        if let (Some(events), Some(place)) = (&mut self.events, place) {
            events.text_part("response.content_part.added", place, "");
            events.text_delta(place, text);
        }
        self.finish(FinishReason::Stop)
    }

    /// Takes more text, and says for which item.
    pub(crate) fn text(&mut self, delta: &str) -> Result<usize, ModelFailure> {
        self.grow(delta.len())?;
        let continues = self.pieces.last().is_some_and(|piece| {
            piece.status == ItemStatus::InProgress && matches!(piece.item, Item::Message { .. })
        });
        if !continues {
            self.open_text().map_err(unwritable)?;
        }
        let place = self.place(self.pieces.len().saturating_sub(1));
        if let Some(Piece { item: Item::Message { parts, .. }, .. }) = self.pieces.last_mut()
            && let Some(part) = parts.last_mut()
        {
            part.text.to_mut().push_str(delta);
        }
        if let (Some(events), Some(place)) = (&mut self.events, place) {
            events.text_delta(place, delta);
        }
        Ok(self.pieces.len().saturating_sub(1))
    }

    /// Takes a piece of a tool call, and says of which item.
    pub(crate) fn tool_call(&mut self, delta: &ToolCallDelta<'_>) -> Result<usize, ModelFailure> {
        let more = delta.function.arguments.as_deref().unwrap_or_default();
        self.grow(more.len())?;
        let at = match self.find_call(delta) {
            Some(at) => at,
            None => self.open_call(delta)?,
        };
        let place = self.place(at);
        if let Some(Piece { item: Item::FunctionCall { arguments, .. }, .. }) = self.pieces.get_mut(at) {
            arguments.to_mut().push_str(more);
        }
        if let (Some(events), Some(place), false) = (&mut self.events, place, more.is_empty()) {
            events.arguments_delta(place, more);
        }
        Ok(at)
    }

    /// Ends the output as the model ended it. A model that said nothing said an empty message.
    pub(crate) fn finish(&mut self, finish: FinishReason) -> serde_json::Result<()> {
        if self.pieces.is_empty() {
            self.open_text()?;
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
            .map(|(index, piece)| piece.item.to_raw(self.nonce, index, status(piece)))
            .collect()
    }

    /// An estimate of the tokens of all the items.
    pub(crate) fn tokens(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.item.tokens()).sum()
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
        let is_call = |piece: &Piece| matches!(piece.item, Item::FunctionCall { .. });
        match (delta.index, &delta.id) {
            (Some(_), _) => {
                self.pieces.iter().position(|piece| is_call(piece) && piece.upstream_index == delta.index)
            }
            // Without an index, an id begins a call.
            (None, Some(_)) => None,
            (None, None) => self.pieces.iter().rposition(is_call),
        }
    }

    fn open_call(&mut self, delta: &ToolCallDelta<'_>) -> Result<usize, ModelFailure> {
        if self.pieces.len() > TOOL_CALLS_MAX {
            return Err(ModelFailure::TooLong(format!("more than {TOOL_CALLS_MAX} tool calls")));
        }
        // What was said before the call is said.
        if let Some(last) = self.pieces.len().checked_sub(1)
            && self.pieces.get(last).is_some_and(|piece| matches!(piece.item, Item::Message { .. }))
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

    fn open_text(&mut self) -> serde_json::Result<()> {
        self.open(empty_message(), None)?;
        let place = self.place(self.pieces.len() - 1);
        if let Some(Piece { item: Item::Message { parts, .. }, .. }) = self.pieces.last_mut() {
            parts.push(Part::text(String::new()));
        }
        if let (Some(events), Some(place)) = (&mut self.events, place) {
            events.text_part("response.content_part.added", place, "");
        }
        Ok(())
    }

    fn open(&mut self, item: Item<'static>, upstream_index: Option<usize>) -> serde_json::Result<()> {
        let at = self.pieces.len();
        if let Some(events) = &mut self.events {
            let raw = item.to_raw(self.nonce, self.first_index + at, ItemStatus::InProgress)?;
            events.output_item("response.output_item.added", at, raw.get());
        }
        self.pieces.push(Piece { item, status: ItemStatus::InProgress, upstream_index });
        Ok(())
    }

    fn close(&mut self, at: usize, status: ItemStatus) -> serde_json::Result<()> {
        let place = self.place(at);
        let Some(piece) = self.pieces.get_mut(at) else { return Ok(()) };
        if piece.status != ItemStatus::InProgress {
            return Ok(());
        }
        piece.status = status;
        let (Some(events), Some(place)) = (&mut self.events, place) else { return Ok(()) };
        match &piece.item {
            Item::Message { parts, .. } | Item::Fallback { parts } => {
                let text = parts.last().map(|part| &*part.text).unwrap_or_default();
                events.text_done(place, text);
                events.text_part("response.content_part.done", place, text);
            }
            Item::FunctionCall { name, arguments, .. } => events.arguments_done(place, name, arguments),
            Item::FunctionCallOutput { .. } => {}
        }
        let raw = piece.item.to_raw(self.nonce, self.first_index + at, status)?;
        events.output_item("response.output_item.done", at, raw.get());
        Ok(())
    }

    fn place(&self, at: usize) -> Option<Place> {
        let kind = self.pieces.get(at)?.item.kind();
        let item = ItemId { kind, nonce: self.nonce, index: self.first_index + at };
        Some(Place { item, output_index: at })
    }
}

fn unwritable(error: serde_json::Error) -> ModelFailure {
    ModelFailure::NotACompletion(error.to_string())
}
