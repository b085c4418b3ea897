//! What came before a turn: read newest first, in pages, until the window is full.

use crate::key;
use crate::record::{Lineage, Origin, read_entry, read_response};
use crate::store::{Store, StoreError, read_counter};
use crate::window::{Window, WindowLimits};
use waggle_openai::Nonce;

/// The most records asked for at once.
const PAGE_RECORDS_MAX: usize = 20;
/// How many numbers without an entry (commits that failed, entries whose items were deleted) are passed over in one
/// read. What lies behind so long a gap is out of the window.
const GAP_RECORDS_MAX: usize = 200;

/// What a turn continues, as read from the store.
#[derive(Debug)]
pub struct History {
    /// The turns the model gets to see.
    pub window: Window,
    /// The lineage for the record of the new response.
    pub lineage: Lineage,
}

/// The history of a turn in a conversation; `None` when there is no such conversation.
///
/// # Errors
/// The store's.
pub async fn of_conversation<S: Store>(
    store: &S,
    conversation: Nonce,
    limits: WindowLimits,
) -> Result<Option<History>, StoreError> {
    let keys = vec![key::conversation(conversation), key::sequence(conversation)];
    let mut values = store.get_many(keys).await?.into_iter();
    if values.next().flatten().is_none() {
        return Ok(None);
    }
    let newest = read_counter(&key::sequence(conversation), values.next().flatten().as_deref())?;
    let mut window = Window::new(limits);
    fill_from_entries(store, conversation, newest, &mut window).await?;
    Ok(Some(History { window, lineage: Lineage::default() }))
}

/// The history of a turn that continues the response `parent`; `None` when there is no such response.
///
/// # Errors
/// The store's.
pub async fn of_response<S: Store>(
    store: &S,
    parent: Nonce,
    limits: WindowLimits,
) -> Result<Option<History>, StoreError> {
    let key = key::response(parent);
    let Some(value) = store.get(&key).await? else { return Ok(None) };
    let (turn, lineage) = read_response(&key, value)?;
    let mut window = Window::new(limits);
    window.offer(turn);
    for ancestors in lineage.ancestors.chunks(PAGE_RECORDS_MAX) {
        let ancestors = ancestors.get(..window.items_left().min(ancestors.len())).unwrap_or_default();
        if ancestors.is_empty() {
            break;
        }
        let keys: Vec<String> = ancestors.iter().map(|nonce| key::response(*nonce)).collect();
        let values = store.get_many(keys.clone()).await?;
        for (key, value) in keys.iter().zip(values) {
            // An ancestor that was deleted is left out; those before it are still there.
            if let Some(value) = value {
                window.offer(read_response(key, value)?.0);
            }
        }
    }
    if let Some(Origin { conversation, sequence }) = lineage.origin {
        fill_from_entries(store, conversation, sequence.saturating_sub(1), &mut window).await?;
    }
    Ok(Some(History { window, lineage: Lineage::continuing(parent, lineage) }))
}

async fn fill_from_entries<S: Store>(
    store: &S,
    conversation: Nonce,
    newest: u64,
    window: &mut Window,
) -> Result<(), StoreError> {
    let mut next = newest;
    let mut gap = 0;
    while next > 0 && !window.is_full() && gap < GAP_RECORDS_MAX {
        // An entry has at least one item, so more entries than that cannot be of use.
        let page = window.items_left().min(PAGE_RECORDS_MAX) as u64;
        let oldest = next.saturating_sub(page) + 1;
        let keys: Vec<String> =
            (oldest..=next).rev().map(|sequence| key::entry(conversation, sequence)).collect();
        let values = store.get_many(keys.clone()).await?;
        for (key, value) in keys.iter().zip(values) {
            let Some(value) = value else {
                gap += 1;
                continue;
            };
            let entry = read_entry(key, value)?;
            gap = if entry.turn.is_empty() { gap + 1 } else { 0 };
            window.offer(entry.turn);
        }
        next = oldest - 1;
    }
    Ok(())
}
