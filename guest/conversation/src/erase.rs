//! Erasing: a conversation with its responses, and all that a user owns.
//!
//! Everything goes in bounded batches and in an order that lets whoever is interrupted go on: first what is reached, then
//! the way to it. An entry that cannot be read keeps nothing else from being erased.

use crate::background;
use crate::idempotency;
use crate::key;
use crate::owned::{self, Index, Kind, Listed, PAGE_ENTRIES_MAX};
use crate::record::read_entry;
use crate::run;
use crate::store::{Store, StoreError, read_counter};
use crate::viewer::Owner;
use waggle_openai::Nonce;

/// How many entries of a conversation are erased at once, each with its response.
const BATCH_ENTRIES_MAX: u64 = 20;
/// How often what has come up meanwhile is looked for.
const ROUNDS_MAX: usize = 8;

/// How many of the newest numbers of a list may be drawn and not written yet. They stay above the floor, so that what is
/// written under one after an erasure is found by the next, and by its owner until then.
const UNWRITTEN_NUMBERS_MAX: u64 = 64;

/// How much was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// Conversations, sessions among them.
    pub conversations: u64,
    /// Items in conversations.
    pub items: u64,
    /// Stored responses.
    pub responses: u64,
}

/// Erases all that is listed of a user. `None` where nothing of theirs was ever listed.
///
/// What is written meanwhile is erased as well, as long as it is listed before the end. Called again after it was
/// interrupted, it goes on where it was.
///
/// # Errors
/// The store's.
pub async fn erase<S: Store>(store: &S, owner: &Owner) -> Result<Option<Erased>, StoreError> {
    let Some(mut index) = Index::open(store, owner).await? else { return Ok(None) };
    let floor = index.floor;
    let mut erased = Erased::default();
    for _ in 0..ROUNDS_MAX {
        if index.floor >= index.newest {
            break;
        }
        while index.floor < index.newest {
            let oldest = index.floor + 1;
            let newest = index.newest.min(index.floor + PAGE_ENTRIES_MAX);
            let page = index.page(store, oldest, newest).await?;
            for (_, listed) in &page {
                if let Some(listed) = listed {
                    erase_listed(store, listed, &mut erased).await?;
                }
            }
            let numbers: Vec<u64> = page.iter().map(|(number, _)| *number).collect();
            index.remove(store, &numbers).await?;
            index.floor = newest;
        }
        // A number that was drawn stays drawn: two things must never be listed under one.
        let raised = index.floor.saturating_sub(UNWRITTEN_NUMBERS_MAX);
        if raised > floor {
            index.raise_floor(store, raised).await?;
        }
        index.look_again(store).await?;
    }
    Ok(Some(erased))
}

async fn erase_listed<S: Store>(store: &S, listed: &Listed, erased: &mut Erased) -> Result<(), StoreError> {
    match listed.kind {
        Kind::Conversation | Kind::Session => {
            for nonce in &listed.ids {
                erase_conversation(store, *nonce, erased).await?;
            }
        }
        Kind::Answer => {
            if let Some(hash) = &listed.hash {
                // A run that was interrupted has no response yet: it is found by the claim it was begun for.
                let claimed = idempotency::response_of(store, hash).await?;
                run::remove(store, claimed.as_slice()).await?;
                store.delete_many(vec![key::idempotency(hash)]).await?;
            }
        }
        Kind::Background => {
            for nonce in &listed.ids {
                erased.responses += delete_those_there(store, vec![key::response(*nonce)]).await?;
                background::remove(store, *nonce).await?;
            }
        }
        kind => {
            for ids in listed.ids.chunks(BATCH_ENTRIES_MAX as usize) {
                let keys: Vec<String> = ids.iter().flat_map(|id| owned::keys(kind, *id)).collect();
                erased.responses += delete_those_there(store, keys).await?;
                run::remove(store, ids).await?;
            }
        }
    }
    Ok(())
}

/// Deletes records and returns how many there were.
async fn delete_those_there<S: Store>(store: &S, keys: Vec<String>) -> Result<u64, StoreError> {
    let values = store.get_many(keys.clone()).await?;
    let found: Vec<String> =
        keys.into_iter().zip(values).filter_map(|(key, value)| value.map(|_| key)).collect();
    let count = found.len() as u64;
    if count > 0 {
        store.delete_many(found).await?;
    }
    Ok(count)
}

/// Erases a conversation, its entries, and the responses of its turns; also what is left of one that was being deleted.
///
/// # Errors
/// The store's.
pub(crate) async fn erase_conversation<S: Store>(
    store: &S,
    conversation: Nonce,
    erased: &mut Erased,
) -> Result<(), StoreError> {
    let (key, sequence_key) = (key::conversation(conversation), key::sequence(conversation));
    let mut values = store.get_many(vec![key.clone(), sequence_key.clone()]).await?.into_iter();
    if values.next().flatten().is_some() {
        // From here on nobody finds it, and no turn joins it.
        store.delete_many(vec![key, key::summary(conversation)]).await?;
        erased.conversations += 1;
    }
    let mut counter = values.next().flatten();
    let mut done = 0;
    loop {
        let newest = read_counter(&sequence_key, counter.as_deref())?;
        if newest <= done {
            break;
        }
        erase_entries(store, conversation, (done + 1, newest), erased).await?;
        done = newest;
        // A turn that had seen the record has perhaps drawn a number meanwhile.
        counter = store.get(&sequence_key).await?;
    }
    // The summary once more: one was perhaps being made meanwhile.
    store.delete_many(vec![sequence_key, key::summary(conversation), key::intent(conversation)]).await
}

/// Erases the entries from `oldest` to `newest`, newest first, with the ways to them and their responses.
///
/// # Errors
/// The store's.
pub(crate) async fn erase_entries<S: Store>(
    store: &S,
    conversation: Nonce,
    (oldest, newest): (u64, u64),
    erased: &mut Erased,
) -> Result<(), StoreError> {
    let mut next = newest;
    while next >= oldest && next > 0 {
        let first = oldest.max(next.saturating_sub(BATCH_ENTRIES_MAX - 1)).max(1);
        let mut keys: Vec<String> = (first..=next).map(|number| key::entry(conversation, number)).collect();
        let values = store.get_many(keys.clone()).await?;
        let mut nonces = Vec::new();
        for (key, value) in keys.iter().zip(values) {
            if let Some(entry) = value.and_then(|value| read_entry(key, value).ok()) {
                erased.items += entry.turn.len() as u64;
                nonces.push(entry.nonce);
            }
        }
        if !nonces.is_empty() {
            // Before their entries, by which alone they are found.
            let responses = nonces.iter().map(|nonce| key::response(*nonce)).collect();
            erased.responses += delete_those_there(store, responses).await?;
            remove_background(store, &nonces).await?;
            run::remove(store, &nonces).await?;
        }
        keys.extend(nonces.into_iter().map(|nonce| key::turn(conversation, nonce)));
        store.delete_many(keys).await?;
        next = first - 1;
    }
    Ok(())
}

/// Removes what else there is of those responses that were made in the background.
async fn remove_background<S: Store>(store: &S, responses: &[Nonce]) -> Result<(), StoreError> {
    let states = store.get_many(responses.iter().map(|nonce| key::state(*nonce)).collect()).await?;
    for (nonce, state) in responses.iter().zip(states) {
        if state.is_some() {
            background::remove(store, *nonce).await?;
        }
    }
    Ok(())
}
