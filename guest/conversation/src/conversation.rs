//! Conversations: create, read, change, delete.

use crate::background::Belonging;
use crate::entries::Run;
use crate::key;
use crate::owned::{self, Listed};
use crate::queue::standing_after;
use crate::record::{
    ConversationRecord, Lineage, is_seen, read_conversation, read_entry, write_conversation, write_entry,
};
use crate::store::{SWAPS_MAX, Store, StoreError, read_counter};
use crate::ticket::draw;
use crate::turn::way;
use crate::viewer::{Owner, Viewer};
use serde_json::value::to_raw_value;
use waggle_openai::Nonce;
use waggle_openai::item::RawItem;
use waggle_openai::metadata::Metadata;

/// How many entries are deleted at once.
const DELETED_ENTRIES_MAX: u64 = 100;

/// A conversation that its viewer sees: the way to its items.
#[derive(Debug, Clone)]
pub struct Conversation {
    nonce: Nonce,
    owner: Owner,
    record: ConversationRecord,
    /// The record as it was read.
    bytes: Vec<u8>,
}

impl Conversation {
    pub(crate) fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Whose a response is that will be made in it.
    pub fn belonging(&self) -> Belonging {
        Belonging { owner: self.owner.clone(), lineage: Lineage::default() }
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Whose it is; `None` for the services'.
    pub fn user(&self) -> Option<&str> {
        self.owner.user()
    }

    /// What is kept of the conversation itself.
    pub fn record(&self) -> &ConversationRecord {
        &self.record
    }
}

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

/// Makes a record of what a client sent, to be written at `used_at`.
///
/// # Errors
/// None in practice: metadata always serialises.
pub fn record(created_at: u64, used_at: u64, metadata: &Metadata) -> Result<ConversationRecord, StoreError> {
    let metadata = to_raw_value(metadata)
        .map_err(|error| StoreError::Failed { operation: "write metadata", reason: error.to_string() })?;
    Ok(ConversationRecord {
        created_at,
        used_at,
        metadata,
        session: false,
        listed: None,
        pinned: Vec::new(),
        handover: None,
    })
}

/// Creates a conversation, which is the viewer's, with its first items if there are any.
///
/// # Errors
/// The store's.
pub async fn create<S: Store>(
    store: &S,
    viewer: &Viewer,
    conversation: Nonce,
    record: &ConversationRecord,
    first: NewItems<'_>,
) -> Result<(), StoreError> {
    let owner = viewer.owner();
    let mut pairs = Vec::with_capacity(5);
    let listed =
        owned::list(store, &owner, &Listed::conversation(conversation, record.session), &mut pairs).await?;
    let record = ConversationRecord { listed, ..record.clone() };
    pairs.push((key::conversation(conversation), write_conversation(&record, &owner)));
    if !first.items.is_empty() {
        add_entry(store, conversation, first, &mut pairs).await?;
    }
    store.set_many(pairs).await
}

/// Opens a conversation; `None` when there is none that the viewer sees.
///
/// # Errors
/// The store's.
pub async fn open<S: Store>(
    store: &S,
    viewer: &Viewer,
    nonce: Nonce,
) -> Result<Option<Conversation>, StoreError> {
    let key = key::conversation(nonce);
    let Some(value) = store.get(&key).await? else { return Ok(None) };
    let opened = read_conversation(&key, &value)?.open(viewer);
    Ok(opened.map(|(record, owner)| Conversation { nonce, owner, record, bytes: value }))
}

/// Replaces a conversation's metadata and the time of its last use. Its owner stays, and so does what it is.
///
/// # Errors
/// The store's; others changed the record again and again.
pub async fn put<S: Store>(
    store: &S,
    conversation: &Conversation,
    record: &ConversationRecord,
) -> Result<(), StoreError> {
    let changed = |known: &mut ConversationRecord| {
        known.used_at = record.used_at;
        known.metadata.clone_from(&record.metadata);
    };
    change(store, conversation, changed).await.map(drop)
}

/// Changes the record of a conversation, by compare-and-set, so that what others change meanwhile stays. `false`: the
/// conversation was deleted.
///
/// # Errors
/// The store's; others changed the record again and again.
pub(crate) async fn change<S: Store>(
    store: &S,
    conversation: &Conversation,
    mut change: impl FnMut(&mut ConversationRecord),
) -> Result<bool, StoreError> {
    let key = key::conversation(conversation.nonce);
    let (mut record, mut bytes) = (conversation.record.clone(), conversation.bytes.clone());
    for _ in 0..SWAPS_MAX {
        change(&mut record);
        let changed = write_conversation(&record, &conversation.owner);
        if store.swap(&key, Some(&bytes), changed).await? {
            return Ok(true);
        }
        let Some(value) = store.get(&key).await? else { return Ok(false) };
        let opened = read_conversation(&key, &value)?.open(&Viewer::service());
        let Some((found, _)) = opened else { return Ok(false) };
        (record, bytes) = (found, value);
    }
    Err(StoreError::Contended(key))
}

/// Adds items as one entry, at once: also between the turns that are under way, whose order they do not change.
///
/// # Errors
/// The store's.
pub async fn add<S: Store>(
    store: &S,
    conversation: &Conversation,
    new: NewItems<'_>,
) -> Result<(), StoreError> {
    let mut pairs = Vec::with_capacity(2);
    add_entry(store, conversation.nonce, new, &mut pairs).await?;
    store.set_many(pairs).await
}

/// Draws a number for items that are added by hand, and adds their entry to `pairs`.
async fn add_entry<S: Store>(
    store: &S,
    conversation: Nonce,
    new: NewItems<'_>,
    pairs: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), StoreError> {
    let NewItems { nonce, items, tokens } = new;
    let sequence = draw(store, conversation).await?;
    let before = Run::read(store, conversation, sequence.saturating_sub(1), 1).await?;
    let standing = standing_after(sequence, before.at(sequence.saturating_sub(1)).flatten());
    let entry = write_entry(nonce, items.iter().map(|item| item.get()), tokens, standing);
    pairs.push((key::entry(conversation, sequence), entry));
    pairs.push(way(conversation, nonce, sequence));
    Ok(())
}

/// Deletes a conversation with its entries, in bounded batches; `false` when there is none that the viewer sees. Responses
/// stay, as OpenAI documents it, and are from then on listed under their owner's name by themselves.
///
/// The record goes first, so that from then on nobody finds the conversation, even if this is interrupted.
///
/// # Errors
/// The store's.
pub async fn delete<S: Store>(store: &S, viewer: &Viewer, conversation: Nonce) -> Result<bool, StoreError> {
    let (key, sequence_key) = (key::conversation(conversation), key::sequence(conversation));
    let mut values = store.get_many(vec![key.clone(), sequence_key.clone()]).await?.into_iter();
    let Some(record) = values.next().flatten() else { return Ok(false) };
    if !is_seen(&key, &record, viewer)? {
        return Ok(false);
    }
    let newest = read_counter(&sequence_key, values.next().flatten().as_deref())?;
    // A service deletes even what cannot be read.
    let (owner, listed) = owned::place_of(&key, &record).unwrap_or_default();
    store.delete_many(vec![key, key::summary(conversation)]).await?;
    let mut next = newest;
    while next > 0 {
        let oldest = next.saturating_sub(DELETED_ENTRIES_MAX) + 1;
        delete_entries(store, &owner, conversation, (oldest, next)).await?;
        next = oldest - 1;
    }
    let listed = listed.and_then(|number| owned::entry_key(&owner, number));
    // The summary last: one that was being made meanwhile goes with it.
    let last = [sequence_key, key::summary(conversation), key::intent(conversation)];
    store.delete_many(listed.into_iter().chain(last).collect()).await?;
    Ok(true)
}

async fn delete_entries<S: Store>(
    store: &S,
    owner: &Owner,
    conversation: Nonce,
    (oldest, newest): (u64, u64),
) -> Result<(), StoreError> {
    let mut keys: Vec<String> =
        (oldest..=newest).map(|sequence| key::entry(conversation, sequence)).collect();
    let values = store.get_many(keys.clone()).await?;
    let mut nonces = Vec::new();
    for (key, value) in keys.iter().zip(values) {
        // An entry that cannot be read must not keep the others from being deleted.
        nonces.extend(value.and_then(|value| read_entry(key, value).ok()).map(|entry| entry.nonce));
    }
    if !nonces.is_empty() && !owner.is_services() {
        let mut pairs = Vec::with_capacity(1);
        owned::list(store, owner, &Listed::responses(nonces.iter().copied()), &mut pairs).await?;
        store.set_many(pairs).await?;
    }
    keys.extend(nonces.into_iter().map(|nonce| key::turn(conversation, nonce)));
    store.delete_many(keys).await
}
