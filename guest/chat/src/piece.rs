//! One output item as it grows.

use crate::agent::ToolCall;
use waggle_openai::Nonce;
use waggle_openai::id::ItemKind;
use waggle_openai::item::{Item, ItemStatus, Part, RawItem, Role};

/// An output item.
#[derive(Debug)]
pub(crate) struct Piece {
    /// What is known of it.
    pub(crate) item: Item<'static>,
    /// How far it has come.
    pub(crate) status: ItemStatus,
    /// The index by which the endpoint names a tool call.
    pub(crate) upstream_index: Option<usize>,
    /// Whether the last part of its summary may still grow.
    pub(crate) in_summary: bool,
    /// The tool of this server's that it calls, as long as the call has not ended. Until then it is the function's call
    /// that the model made, and clients see another item.
    pub(crate) call: Option<Box<ToolCall>>,
}

/// What a model says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its answer.
    Text,
    /// Why it does not answer.
    Refusal,
    /// What it thinks before it answers.
    Reasoning,
}

impl Kind {
    /// An item that can hold it, with nothing in it.
    pub(crate) fn empty_item(self) -> Item<'static> {
        match self {
            Self::Text | Self::Refusal => {
                Item::Message { role: Role::Assistant, parts: Vec::new(), phase: None }
            }
            Self::Reasoning => {
                Item::Reasoning { summary: Vec::new(), content: Vec::new(), encrypted_content: None }
            }
        }
    }

    /// A part of it, with nothing in it.
    pub(crate) fn empty_part(self) -> Part<'static> {
        match self {
            Self::Text => Part::text(String::new()),
            Self::Refusal => Part::Refusal(String::new().into()),
            Self::Reasoning => Part::Reasoning(String::new().into()),
        }
    }
}

impl Piece {
    /// What clients see it as.
    pub(crate) fn kind(&self) -> ItemKind {
        self.call.as_ref().map_or_else(|| self.item.kind(), |call| call.kind())
    }

    /// The item as clients see it, and as it is stored.
    pub(crate) fn to_raw(
        &self,
        nonce: Nonce,
        index: usize,
        status: ItemStatus,
    ) -> serde_json::Result<RawItem> {
        match (&self.call, &self.item) {
            (Some(call), Item::FunctionCall { arguments, .. }) => {
                Item::Hosted(call.shown(arguments)?).to_raw(nonce, index, status)
            }
            (_, item) => item.to_raw(nonce, index, status),
        }
    }

    /// Whether it is a call of a tool that has not ended.
    pub(crate) fn is_call(&self) -> bool {
        matches!(self.item, Item::FunctionCall { .. })
    }

    /// Whether what is said may be put into it.
    pub(crate) fn takes(&self, kind: Kind) -> bool {
        match kind {
            Kind::Text | Kind::Refusal => matches!(self.item, Item::Message { .. }),
            Kind::Reasoning => matches!(self.item, Item::Reasoning { .. }),
        }
    }

    /// Its parts.
    pub(crate) fn parts(&self) -> &[Part<'static>] {
        match &self.item {
            Item::Message { parts, .. } | Item::Fallback { parts } => parts,
            Item::Reasoning { content, .. } => content,
            _ => &[],
        }
    }

    /// Its parts, to be added to.
    pub(crate) fn parts_mut(&mut self) -> Option<&mut Vec<Part<'static>>> {
        match &mut self.item {
            Item::Message { parts, .. } | Item::Fallback { parts } => Some(parts),
            Item::Reasoning { content, .. } => Some(content),
            _ => None,
        }
    }

    /// What its last part is.
    pub(crate) fn last_kind(&self) -> Option<Kind> {
        match self.parts().last()? {
            Part::Text(_) => Some(Kind::Text),
            Part::Refusal(_) => Some(Kind::Refusal),
            Part::Reasoning(_) => Some(Kind::Reasoning),
            _ => None,
        }
    }
}
