//! Pinned items: those that a conversation's turns see even when they have fallen out of the window.
//!
//! Which they are stands in the conversation's record, which every turn reads anyway, with the number of their entries, so
//! that they are read without being looked for.

use crate::conversation::{Conversation, change};
use crate::items::{get, sequence_of};
use crate::record::Pin;
use crate::store::{Store, StoreError};
use waggle_openai::ItemId;
use waggle_openai::item::{Item, RawItem};

/// The most pinned items of one conversation.
pub const PINS_MAX: usize = 16;

/// What came of pinning an item.
#[derive(Debug)]
pub enum Pinned {
    /// It is pinned.
    Done(RawItem),
    /// There is no such item.
    Unknown,
    /// It is no message, or one that no model sees.
    NoMessage,
    /// As many are pinned as may.
    TooMany,
    /// Together with those that are pinned it has too many tokens.
    TooLong,
}

/// Pins an item of the conversation, unless it is. All that is pinned has `tokens_max` tokens at most, by estimate.
///
/// # Errors
/// The store's; others changed the record again and again.
pub async fn pin<S: Store>(
    store: &S,
    conversation: &Conversation,
    id: ItemId,
    tokens_max: u64,
) -> Result<Pinned, StoreError> {
    let Some(entry) = sequence_of(store, conversation.nonce(), id.nonce).await? else {
        return Ok(Pinned::Unknown);
    };
    let Some(item) = get(store, conversation, id).await? else { return Ok(Pinned::Unknown) };
    let tokens = match serde_json::from_str::<Item<'_>>(item.get()) {
        Ok(item @ Item::Message { .. }) => item.estimate(),
        _ => return Ok(Pinned::NoMessage),
    };
    let new = Pin { id: id.to_string(), entry, tokens };
    let mut refused = None;
    let pin = |record: &mut crate::record::ConversationRecord| {
        let pinned = &mut record.pinned;
        refused = None;
        if pinned.iter().any(|pin| pin.id == new.id) {
            return;
        }
        if pinned.len() >= PINS_MAX {
            refused = Some(Pinned::TooMany);
        } else if pinned.iter().map(|pin| pin.tokens).sum::<u64>() + tokens > tokens_max {
            refused = Some(Pinned::TooLong);
        } else {
            pinned.push(new.clone());
            // Items of one entry have ids that sort by their place.
            pinned.sort_by(|one, other| (one.entry, &one.id).cmp(&(other.entry, &other.id)));
        }
    };
    let is_there = change(store, conversation, pin).await?;
    Ok(match refused {
        Some(refused) => refused,
        None if is_there => Pinned::Done(item),
        None => Pinned::Unknown,
    })
}

/// Takes the pin off an item, if it has one; the item may be gone.
///
/// # Errors
/// The store's; others changed the record again and again.
pub async fn unpin<S: Store>(store: &S, conversation: &Conversation, id: ItemId) -> Result<(), StoreError> {
    let id = id.to_string();
    change(store, conversation, |record| record.pinned.retain(|pin| pin.id != id)).await?;
    Ok(())
}
