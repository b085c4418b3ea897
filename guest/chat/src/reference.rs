//! Stored items that a turn's input names by their ids.

use crate::platform::Platform;
use crate::problem::Problem;
use crate::service::Service;
use std::borrow::Cow;
use waggle_conversation::window::Window;
use waggle_conversation::{Store, Viewer, conversation, items, response};
use waggle_model::transport::Upstream;
use waggle_openai::item::{Item, RawItem, StoredId};
use waggle_openai::request::{Continues, Reference};
use waggle_openai::{ItemId, Nonce};

/// How many turns one input's references may lead to: each is read whole.
const TURNS_READ_MAX: usize = 32;

/// A stored item that was found, and the place in the input where it belongs.
#[derive(Debug)]
pub(crate) struct Found {
    place: usize,
    item: RawItem,
}

/// The items of the turns that were read, by the turn's nonce.
type Turns = Vec<(Nonce, Vec<RawItem>)>;

fn item_id(item: &str) -> Option<&str> {
    serde_json::from_str::<StoredId<'_>>(item).ok().map(|stored| stored.id)
}

/// Puts what was found among the items, where the client named it.
///
/// # Errors
/// A stored item cannot be read.
pub(crate) fn put_in<'a>(items: &mut Vec<Item<'a>>, found: &'a [Found]) -> serde_json::Result<()> {
    for Found { place, item } in found {
        items.insert((*place).min(items.len()), serde_json::from_str(item.get())?);
    }
    Ok(())
}

impl<S: Store, U: Upstream, P: Platform> Service<S, U, P> {
    /// Finds the items that are named. What the window shows the model anyway is left out.
    ///
    /// # Errors
    /// 400 naming the reference that leads to nothing the viewer sees; the store's.
    pub(crate) async fn find_references(
        &self,
        viewer: &Viewer,
        references: &[Reference<'_>],
        continues: Continues,
        window: &Window,
    ) -> Result<Vec<Found>, Problem> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        let shown: Vec<Cow<'_, str>> = window.items().filter_map(item_id).map(Cow::Borrowed).collect();
        let mut found: Vec<Found> = Vec::with_capacity(references.len());
        let mut turns = Turns::new();
        for reference in references {
            if shown.contains(&reference.id) {
                continue;
            }
            let id = ItemId::parse(&reference.id).ok_or_else(|| reference.not_found())?;
            let left_out = references
                .iter()
                .take_while(|other| other.place < reference.place)
                .filter(|other| shown.contains(&other.id))
                .count();
            let item = self.find_item(viewer, id, continues, &mut turns).await?;
            let item = item.ok_or_else(|| reference.not_found())?;
            found.push(Found { place: reference.place - left_out, item });
        }
        Ok(found)
    }

    async fn find_item(
        &self,
        viewer: &Viewer,
        id: ItemId,
        continues: Continues,
        turns: &mut Turns,
    ) -> Result<Option<RawItem>, Problem> {
        if turns.iter().all(|(nonce, _)| *nonce != id.nonce) {
            if turns.len() == TURNS_READ_MAX {
                return Ok(None);
            }
            let mut items = Vec::new();
            if let Continues::Conversation(conversation) = continues
                && let Some(conversation) = conversation::open(&self.store, viewer, conversation.0).await?
            {
                items = items::of_commit(&self.store, &conversation, id.nonce).await?;
            }
            if items.is_empty() {
                items = response::items(&self.store, viewer, id.nonce).await?;
            }
            turns.push((id.nonce, items));
        }
        let id = id.to_string();
        let items = turns.iter().flat_map(|(_, items)| items);
        Ok(items.into_iter().find(|item| item_id(item.get()) == Some(&id)).cloned())
    }
}
