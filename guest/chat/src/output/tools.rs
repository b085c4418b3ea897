//! Calls of this server's own tools, in the output: shown as OpenAI shows them, and ended by what came of them.

use super::items::Slots;
use super::{Output, unwritable};
use crate::agent::{Approved, Pending, ToolCall, Toolbox};
use crate::piece::Piece;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::rc::Rc;
use waggle_model::ModelFailure;
use waggle_model::responses::OutputItem;
use waggle_openai::item::mcp::{McpList, Outcome};
use waggle_openai::item::{HostedCall, HostedKind, Item, ItemStatus};

/// Which items were told of in a run that was interrupted, by their places.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Those that began.
    pub(crate) added: BTreeSet<usize>,
    /// Those that ended.
    pub(crate) done: BTreeSet<usize>,
}

/// Reads an item as it is stored.
///
/// # Errors
/// It is none that a model says.
pub(crate) fn read_stored(raw: &RawValue) -> Result<OutputItem, ModelFailure> {
    let mut read = OutputItem::read(raw)?;
    if let Some(Item::Hosted(call)) = &read.item {
        let stored = HostedCall::read_stored(call.kind(), raw.get()).map_err(unwritable)?;
        read.item = Some(Item::Hosted(stored));
    }
    Ok(read)
}

impl Output {
    /// From now on the model may call these.
    pub(crate) fn offer(&mut self, tools: Rc<Toolbox>) {
        self.tools = Some(tools);
    }

    /// Begins a step: what is said from now on is another answer of the model's.
    pub(crate) fn begin_step(&mut self, step: u32) {
        self.step = step;
        self.before = self.pieces.len();
        self.slots = Slots::default();
    }

    /// From now on all that happens is told, whatever was told before.
    pub(crate) fn tell_all(&mut self) {
        self.told = Told::default();
    }

    /// Adds the item that tells what there is of a tool, and all events of it.
    pub(crate) fn tell_list(&mut self, list: &McpList<'_>) -> Result<(), ModelFailure> {
        let whole = list.to_item().map_err(unwritable)?;
        self.grow(whole.members().len())?;
        let begun = McpList { tools: Vec::new(), ..list.clone() }.to_item().map_err(unwritable)?;
        let at = self.pieces.len();
        let told = self.unless_told(|output| output.tell_whole_list(at, begun, whole));
        self.before = self.pieces.len();
        told.map_err(unwritable)
    }

    /// Adds an item as a whole by `tell`, silently where it was told of before.
    pub(super) fn unless_told<T>(&mut self, tell: impl FnOnce(&mut Self) -> T) -> T {
        if !self.told.done.contains(&self.pieces.len()) {
            return tell(self);
        }
        let events = self.events.take();
        let told = tell(self);
        self.events = events;
        told
    }

    fn tell_whole_list(
        &mut self,
        at: usize,
        begun: HostedCall<'static>,
        whole: HostedCall<'static>,
    ) -> serde_json::Result<()> {
        self.open(Item::Hosted(begun), None)?;
        self.tell_stage(at, "response.mcp_list_tools.in_progress");
        self.tell_stage(at, "response.mcp_list_tools.completed");
        if let Some(piece) = self.pieces.get_mut(at) {
            piece.item = Item::Hosted(whole);
        }
        self.close(at, ItemStatus::Completed)
    }

    /// Adds a call that a person has approved, which was asked for in another turn.
    pub(crate) fn begin_approved(&mut self, approved: &Approved) -> Result<(), ModelFailure> {
        let call = ToolCall::approved(approved);
        let item = Item::FunctionCall {
            call_id: self.made_up_call_id().into(),
            name: call.tool.offered.name.clone().into(),
            arguments: approved.arguments.clone().into(),
        };
        self.grow(approved.arguments.len())?;
        self.restore_call(item, Some(Box::new(call)), ItemStatus::Completed).map_err(unwritable)
    }

    /// Takes an item of a step that was recorded. What was told of it before is not told again.
    pub(crate) fn restore(&mut self, item: Item<'static>, is_whole: bool) -> Result<(), ModelFailure> {
        let mut texts = Vec::new();
        item.tally(&mut texts);
        let bytes = texts.iter().map(|text| text.len()).sum();
        self.grow(bytes)?;
        let call = self.call_of(&item);
        let status = if is_whole { ItemStatus::Completed } else { ItemStatus::Incomplete };
        self.restore_call(item, call, status).map_err(unwritable)
    }

    fn restore_call(
        &mut self,
        item: Item<'static>,
        call: Option<Box<ToolCall>>,
        status: ItemStatus,
    ) -> serde_json::Result<()> {
        let at = self.pieces.len();
        let piece =
            Piece { item, status: ItemStatus::InProgress, upstream_index: None, in_summary: false, call };
        self.pieces.push(piece);
        if !self.told.added.contains(&at) {
            self.tell_added(at)?;
        }
        if self.is_for_a_tool(at) {
            return self.close_call(at);
        }
        if let Some(piece) = self.pieces.get_mut(at) {
            piece.status = status;
        }
        self.tell_done(at)
    }

    /// What the model calls of this server's tools, and has not been answered.
    pub(crate) fn pending(&self) -> Vec<Pending> {
        let calls = self.pieces.iter().enumerate().skip(self.before);
        let calls = calls.filter_map(|(at, piece)| match (&piece.call, &piece.item) {
            (Some(call), Item::FunctionCall { arguments, .. }) => {
                Some(Pending::new(at, call, arguments.clone().into_owned()))
            }
            _ => None,
        });
        calls.collect()
    }

    /// Whether the step leaves something to the client: a function of its own to be called, or a question.
    pub(crate) fn asks_client(&self) -> bool {
        self.pieces.iter().skip(self.before).any(|piece| match &piece.item {
            Item::FunctionCall { .. } => piece.call.is_none(),
            Item::Hosted(call) => call.is_own() && call.kind() == HostedKind::McpApproval,
            _ => false,
        })
    }

    /// The items of the step as the model said them, for the journal: calls of tools are calls of functions.
    pub(crate) fn said_in_step(&self) -> impl Iterator<Item = (&Item<'static>, bool)> {
        let said = self.pieces.iter().skip(self.before);
        said.map(|piece| (&piece.item, piece.status != ItemStatus::Incomplete))
    }

    /// Ends a call by what came of it.
    pub(crate) fn end_tool_call(&mut self, at: usize, outcome: Outcome<'_>) -> Result<(), ModelFailure> {
        let Some(Piece { call: Some(call), item: Item::FunctionCall { arguments, .. }, .. }) =
            self.pieces.get(at)
        else {
            return Ok(());
        };
        let item = call.ended(arguments, outcome).map_err(unwritable)?;
        self.grow(item.members().len())?;
        if !self.told.done.contains(&at) {
            let stage = match outcome {
                Outcome::Completed(_) => "response.mcp_call.completed",
                _ => "response.mcp_call.failed",
            };
            self.tell_stage(at, stage);
        }
        self.end_with(at, item).map_err(unwritable)
    }

    /// The call that an item is, where it is one of this server's tools.
    pub(super) fn call_of(&self, item: &Item<'_>) -> Option<Box<ToolCall>> {
        let (Some(tools), Item::FunctionCall { name, .. }) = (&self.tools, item) else { return None };
        tools.find(name).map(|tool| Box::new(ToolCall::new(tool, self.step)))
    }

    /// Whether the item is a call of this server's tools that has not ended.
    pub(super) fn is_for_a_tool(&self, at: usize) -> bool {
        self.pieces.get(at).is_some_and(|piece| piece.call.is_some())
    }

    /// The model has said all of a call. A question ends with that; a call when its tool has answered.
    pub(super) fn close_call(&mut self, at: usize) -> serde_json::Result<()> {
        let place = self.place(at);
        let Some(Piece { call: Some(call), item: Item::FunctionCall { arguments, .. }, .. }) =
            self.pieces.get_mut(at)
        else {
            return Ok(());
        };
        if call.asks() {
            let question = call.shown(arguments)?;
            return self.end_with(at, question);
        }
        let is_told = std::mem::replace(&mut call.is_whole, true) || self.told.added.contains(&at);
        if let (Some(events), Some(place), false) = (&mut self.events, place, is_told) {
            events.mcp_arguments_done(place, arguments);
        }
        Ok(())
    }

    fn end_with(&mut self, at: usize, item: HostedCall<'static>) -> serde_json::Result<()> {
        if let Some(piece) = self.pieces.get_mut(at) {
            (piece.item, piece.call, piece.status) = (Item::Hosted(item), None, ItemStatus::Completed);
        }
        self.tell_done(at)
    }

    pub(super) fn tell_added(&mut self, at: usize) -> serde_json::Result<()> {
        let (Some(events), Some(piece)) = (&mut self.events, self.pieces.get(at)) else { return Ok(()) };
        let raw = piece.to_raw(self.nonce, self.first_index + at, ItemStatus::InProgress)?;
        events.output_item("response.output_item.added", at, raw.get());
        if piece.call.as_ref().is_some_and(|call| !call.asks()) {
            self.tell_stage(at, "response.mcp_call.in_progress");
        }
        Ok(())
    }

    fn tell_done(&mut self, at: usize) -> serde_json::Result<()> {
        let (Some(events), Some(piece)) = (&mut self.events, self.pieces.get(at)) else { return Ok(()) };
        if !self.told.done.contains(&at) {
            let raw = piece.to_raw(self.nonce, self.first_index + at, piece.status)?;
            events.output_item("response.output_item.done", at, raw.get());
        }
        Ok(())
    }

    fn tell_stage(&mut self, at: usize, stage: &str) {
        let place = self.place(at);
        if let (Some(events), Some(place)) = (&mut self.events, place) {
            events.mcp(stage, place);
        }
    }

    /// More of a call's arguments, to whoever follows. A question is told as a whole.
    pub(super) fn tell_arguments(&mut self, at: usize, delta: &str) {
        let (place, piece) = (self.place(at), self.pieces.get(at));
        let (Some(events), Some(place), false) = (&mut self.events, place, delta.is_empty()) else { return };
        match piece.and_then(|piece| piece.call.as_deref()) {
            None => events.arguments_delta(place, delta),
            Some(call) if call.asks() => {}
            Some(_) => events.mcp_arguments_delta(place, delta),
        }
    }
}
