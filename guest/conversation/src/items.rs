//! The items of a conversation: pages of them, one of them, deleting one.

use crate::conversation::Conversation;
use crate::key;
use crate::pin;
use crate::record::{Entry, read_entry, write_entry};
use crate::store::{SWAPS_MAX, Store, StoreError, read_counter};
use crate::summary;
use serde_json::value::RawValue;
use waggle_openai::item::{RawItem, StoredId, estimate_tokens};
use waggle_openai::list::{Order, PageQuery};
use waggle_openai::{ItemId, Nonce};

/// The most entries read at once.
const PAGE_ENTRIES_MAX: u64 = 50;

/// A page of items.
#[derive(Debug)]
pub struct Page {
    /// The items, in the order asked for.
    pub items: Vec<RawItem>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

/// Why there is no such page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The `after` item is none of this conversation's.
    #[error("the cursor is not an item of this list")]
    UnknownCursor,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn index(item: &str) -> Option<usize> {
    let stored: StoredId<'_> = serde_json::from_str(item).ok()?;
    ItemId::parse(stored.id).map(|id| id.index)
}

pub(crate) fn raw(key: &str, item: &str) -> Result<RawItem, StoreError> {
    RawValue::from_string(item.to_owned())
        .map_err(|error| StoreError::Unreadable { key: key.to_owned(), reason: error.to_string() })
}

/// Whether the item at `index` comes after the cursor.
fn is_after(order: Order, cursor: usize, index: Option<usize>) -> bool {
    match order {
        Order::Ascending => index.is_some_and(|index| index > cursor),
        Order::Descending => index.is_some_and(|index| index < cursor),
    }
}

/// A page of the conversation's items.
///
/// # Errors
/// The cursor is unknown; the store's.
pub async fn page<S: Store>(
    store: &S,
    conversation: &Conversation,
    query: PageQuery,
) -> Result<Page, PageError> {
    let conversation = conversation.nonce();
    let key = key::sequence(conversation);
    let newest = read_counter(&key, store.get(&key).await?.as_deref())?;
    let cursor = match query.after {
        Some(id) => {
            Some((id, sequence_of(store, conversation, id.nonce).await?.ok_or(PageError::UnknownCursor)?))
        }
        None => None,
    };
    let mut bounds = match (query.order, cursor) {
        (Order::Ascending, Some((_, sequence))) => (sequence, newest),
        (Order::Descending, Some((_, sequence))) => (1, sequence),
        (_, None) => (1, newest),
    };
    let mut items = Vec::new();
    while bounds.0 <= bounds.1 && bounds.1 > 0 && items.len() <= query.limit {
        let count = PAGE_ENTRIES_MAX.min(query.limit as u64 + 1).min(bounds.1 - bounds.0 + 1);
        let sequences: Vec<u64> = match query.order {
            Order::Ascending => (bounds.0..bounds.0 + count).collect(),
            Order::Descending => (bounds.1 + 1 - count..=bounds.1).rev().collect(),
        };
        match query.order {
            Order::Ascending => bounds.0 += count,
            Order::Descending => bounds.1 -= count,
        }
        let keys: Vec<String> =
            sequences.iter().map(|sequence| key::entry(conversation, *sequence)).collect();
        let values = store.get_many(keys.clone()).await?;
        for (key, value) in keys.iter().zip(values) {
            let Some(value) = value else { continue };
            let entry = read_entry(key, value)?;
            collect(key, &entry, query, cursor.map(|(id, _)| id), &mut items)?;
        }
    }
    let has_more = items.len() > query.limit;
    items.truncate(query.limit);
    Ok(Page { items, has_more })
}

fn collect(
    key: &str,
    entry: &Entry,
    query: PageQuery,
    cursor: Option<ItemId>,
    items: &mut Vec<RawItem>,
) -> Result<(), StoreError> {
    let cursor = cursor.filter(|cursor| cursor.nonce == entry.nonce).map(|cursor| cursor.index);
    let wanted = |item: &&str| cursor.is_none_or(|cursor| is_after(query.order, cursor, index(item)));
    let room = (query.limit + 1).saturating_sub(items.len());
    let found: Vec<&str> = match query.order {
        Order::Ascending => entry.turn.items().filter(wanted).take(room).collect(),
        Order::Descending => entry.turn.items().rev().filter(wanted).take(room).collect(),
    };
    for item in found {
        items.push(raw(key, item)?);
    }
    Ok(())
}

/// A page of a list that is at hand, oldest item first.
///
/// # Errors
/// The cursor is not one of the items.
pub fn page_of(mut items: Vec<RawItem>, query: PageQuery) -> Result<Page, PageError> {
    if query.order == Order::Descending {
        items.reverse();
    }
    let start = match query.after {
        Some(id) => {
            let id = id.to_string();
            let at = items.iter().position(|item| waggle_openai::list::id(item) == Some(id.as_str()));
            at.ok_or(PageError::UnknownCursor)? + 1
        }
        None => 0,
    };
    let mut items = items.split_off(start);
    let has_more = items.len() > query.limit;
    items.truncate(query.limit);
    Ok(Page { items, has_more })
}

pub(crate) async fn sequence_of<S: Store>(
    store: &S,
    conversation: Nonce,
    turn: Nonce,
) -> Result<Option<u64>, StoreError> {
    let key = key::turn(conversation, turn);
    let value = store.get(&key).await?;
    value.map(|value| read_counter(&key, Some(&value))).transpose()
}

async fn entry_of<S: Store>(
    store: &S,
    conversation: Nonce,
    turn: Nonce,
) -> Result<Option<(String, Vec<u8>)>, StoreError> {
    let Some(sequence) = sequence_of(store, conversation, turn).await? else { return Ok(None) };
    let key = key::entry(conversation, sequence);
    Ok(store.get(&key).await?.map(|value| (key, value)))
}

pub(crate) fn has_id(item: &str, id: &str) -> bool {
    serde_json::from_str::<StoredId<'_>>(item).is_ok_and(|stored| stored.id == id)
}

/// One item of the conversation.
///
/// # Errors
/// The store's.
pub async fn get<S: Store>(
    store: &S,
    conversation: &Conversation,
    id: ItemId,
) -> Result<Option<RawItem>, StoreError> {
    let items = of_commit(store, conversation, id.nonce).await?;
    let id = id.to_string();
    Ok(items.into_iter().find(|item| has_id(item.get(), &id)))
}

/// All items that one commit brought into the conversation; none where there is no such commit.
///
/// # Errors
/// The store's.
pub async fn of_commit<S: Store>(
    store: &S,
    conversation: &Conversation,
    commit: Nonce,
) -> Result<Vec<RawItem>, StoreError> {
    let Some((key, value)) = entry_of(store, conversation.nonce(), commit).await? else {
        return Ok(Vec::new());
    };
    let entry = read_entry(&key, value)?;
    entry.turn.items().map(|item| raw(&key, item)).collect()
}

/// Deletes one item of the conversation; `false` when there is none. What is summarised of the conversation is forgotten
/// with it, also where somebody was interrupted who had deleted the item before; `stamp` is a new nonce.
///
/// An entry that has lost its last item stays, empty: its number must not be given twice.
///
/// # Errors
/// The store's; others changed the same entry again and again.
pub async fn delete<S: Store>(
    store: &S,
    conversation: &Conversation,
    id: ItemId,
    stamp: Nonce,
) -> Result<bool, StoreError> {
    let nonce = conversation.nonce();
    let Some(sequence) = sequence_of(store, nonce, id.nonce).await? else { return Ok(false) };
    let deleted = delete_from(store, &key::entry(nonce, sequence), id).await?;
    summary::forget(store, nonce, sequence, 0, stamp).await?;
    if conversation.record().pinned.iter().any(|pin| pin.id == id.to_string()) {
        pin::unpin(store, conversation, id).await?;
    }
    Ok(deleted)
}

async fn delete_from<S: Store>(store: &S, key: &str, id: ItemId) -> Result<bool, StoreError> {
    let text = id.to_string();
    for _ in 0..SWAPS_MAX {
        let Some(value) = store.get(key).await? else { return Ok(false) };
        let entry = read_entry(key, value.clone())?;
        let kept: Vec<&str> = entry.turn.items().filter(|item| !has_id(item, &text)).collect();
        if kept.len() == entry.turn.len() {
            return Ok(false);
        }
        let tokens = kept.iter().map(|item| estimate_tokens(item)).sum::<u64>().min(entry.turn.tokens);
        let changed = write_entry(entry.nonce, kept.into_iter(), tokens, entry.standing);
        if store.swap(key, Some(&value), changed).await? {
            return Ok(true);
        }
    }
    Err(StoreError::Contended(key.to_owned()))
}
