//! Conversations: create, read, change, delete.

use crate::key;
use crate::record::{ConversationRecord, read, read_entry, write_entry};
use crate::store::{Store, StoreError, read_counter};
use crate::turn::append;
use serde_json::value::to_raw_value;
use waggle_openai::Nonce;
use waggle_openai::item::RawItem;
use waggle_openai::json;
use waggle_openai::metadata::Metadata;

/// How many entries are deleted at once.
const DELETED_ENTRIES_MAX: u64 = 100;

/// Items to add, with their nonce and an estimate of their tokens.
#[derive(Debug)]
pub struct NewItems<'a> {
    /// The nonce the items' ids carry.
    pub nonce: Nonce,
    /// The items.
    pub items: &'a [RawItem],
    /// The estimate.
    pub tokens: u64,
}

/// Makes a record of what a client sent.
///
/// # Errors
/// None in practice: metadata always serialises.
pub fn record(created_at: u64, metadata: &Metadata) -> Result<ConversationRecord, StoreError> {
    let metadata = to_raw_value(metadata)
        .map_err(|error| StoreError::Failed { operation: "write metadata", reason: error.to_string() })?;
    Ok(ConversationRecord { created_at, metadata })
}

fn value(record: &ConversationRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    json::push(&mut out, record);
    out
}

/// Creates a conversation, with its first items if there are any.
///
/// # Errors
/// The store's.
pub async fn create<S: Store>(
    store: &S,
    conversation: Nonce,
    record: &ConversationRecord,
    first: NewItems<'_>,
) -> Result<(), StoreError> {
    let mut pairs = vec![(key::conversation(conversation), value(record))];
    if !first.items.is_empty() {
        let entry = write_entry(first.nonce, first.items.iter().map(|item| item.get()), first.tokens);
        append(store, conversation, first.nonce, entry, &mut pairs).await?;
    }
    store.set_many(pairs).await
}

/// Reads a conversation's record.
///
/// # Errors
/// The store's.
pub async fn get<S: Store>(store: &S, conversation: Nonce) -> Result<Option<ConversationRecord>, StoreError> {
    let key = key::conversation(conversation);
    let value = store.get(&key).await?;
    value.map(|value| read(&key, &value)).transpose()
}

/// Replaces a conversation's record.
///
/// # Errors
/// The store's.
pub async fn put<S: Store>(
    store: &S,
    conversation: Nonce,
    record: &ConversationRecord,
) -> Result<(), StoreError> {
    store.set_many(vec![(key::conversation(conversation), value(record))]).await
}

/// Adds items as one entry. The caller has made sure that the conversation exists.
///
/// # Errors
/// The store's.
pub async fn add<S: Store>(store: &S, conversation: Nonce, new: NewItems<'_>) -> Result<(), StoreError> {
    let mut pairs = Vec::with_capacity(2);
    let entry = write_entry(new.nonce, new.items.iter().map(|item| item.get()), new.tokens);
    append(store, conversation, new.nonce, entry, &mut pairs).await?;
    store.set_many(pairs).await
}

/// Deletes a conversation with its entries, in bounded batches; `false` when there is none. Responses stay, as OpenAI
/// documents it.
///
/// The record goes first, so that from then on nobody finds the conversation, even if this is interrupted.
///
/// # Errors
/// The store's.
pub async fn delete<S: Store>(store: &S, conversation: Nonce) -> Result<bool, StoreError> {
    let sequence_key = key::sequence(conversation);
    let keys = vec![key::conversation(conversation), sequence_key.clone()];
    let mut values = store.get_many(keys).await?.into_iter();
    if values.next().flatten().is_none() {
        return Ok(false);
    }
    let newest = read_counter(&sequence_key, values.next().flatten().as_deref())?;
    store.delete_many(vec![key::conversation(conversation)]).await?;
    let mut next = newest;
    while next > 0 {
        let oldest = next.saturating_sub(DELETED_ENTRIES_MAX) + 1;
        delete_entries(store, conversation, oldest, next).await?;
        next = oldest - 1;
    }
    store.delete_many(vec![sequence_key]).await?;
    Ok(true)
}

async fn delete_entries<S: Store>(
    store: &S,
    conversation: Nonce,
    oldest: u64,
    newest: u64,
) -> Result<(), StoreError> {
    let mut keys: Vec<String> =
        (oldest..=newest).map(|sequence| key::entry(conversation, sequence)).collect();
    let values = store.get_many(keys.clone()).await?;
    let mut turns = Vec::new();
    for (key, value) in keys.iter().zip(values) {
        // An entry that cannot be read must not keep the others from being deleted.
        if let Some(entry) = value.and_then(|value| read_entry(key, value).ok()) {
            turns.push(key::turn(conversation, entry.nonce));
        }
    }
    keys.append(&mut turns);
    store.delete_many(keys).await
}
