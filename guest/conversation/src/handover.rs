//! Conversations that are handed over to people: the mark in their record, how it is set, noted and taken off.
//!
//! The mark stands in the conversation's own record, which every turn reads anyway: a turn in a conversation that is not
//! handed over pays nothing for it. Whoever sets it while it stands changes nothing; each hand-over has a name of its own, so
//! that what is done for one of them is never taken for done for the next.

use crate::conversation::{Conversation, change};
use crate::key;
use crate::record::marked;
use crate::store::{SWAPS_MAX, Store, StoreError};
use crate::ticket::Ticket;
use serde::{Deserialize, Serialize};
use waggle_openai::Nonce;

/// The longest reason, in characters.
pub const REASON_CHARACTERS_MAX: usize = 1_000;
/// The longest reference, in characters.
pub const REFERENCE_CHARACTERS_MAX: usize = 256;

/// A conversation is with people: since when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// The nonce that names this hand-over.
    pub id: String,
    /// In seconds since 1970.
    pub since: u64,
    /// Why, for the people who take over; at most [`REASON_CHARACTERS_MAX`] characters, may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who handed it over.
    pub by: By,
    /// What it is called where people read it, such as a ticket; at most [`REFERENCE_CHARACTERS_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// When people were told of it, in seconds since 1970; absent as long as they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<u64>,
}

/// Who hands a conversation over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The model, by a tool.
    Model,
    /// A turn whose question nothing was found for.
    Knowledge,
    /// The user.
    User,
    /// A service of the tenant.
    Service,
}

impl Handover {
    /// One that begins now and that nobody has been told of.
    pub fn new(id: Nonce, now_s: u64, by: By, reason: &str) -> Self {
        let reason = clipped(reason, REASON_CHARACTERS_MAX).to_owned();
        Self { id: id.to_string(), since: now_s, reason, by, reference: None, told_at: None }
    }

    /// The same, as it is called where people read it.
    #[must_use]
    pub fn with_reference(self, reference: Option<&str>) -> Self {
        let reference = reference.filter(|text| !text.is_empty());
        let reference = reference.map(|text| clipped(text, REFERENCE_CHARACTERS_MAX).to_owned());
        Self { reference: reference.or(self.reference), ..self }
    }
}

/// The beginning of a text, of at most so many characters.
fn clipped(text: &str, characters_max: usize) -> &str {
    text.char_indices().nth(characters_max).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// Hands a conversation over, unless it is; one that is keeps its mark, but for a reference it gets. Returns the mark that
/// stands then; `None`: the conversation was deleted.
///
/// # Errors
/// The store's; others changed the record again and again.
pub async fn hand_over<S: Store>(
    store: &S,
    conversation: &Conversation,
    new: Handover,
) -> Result<Option<Handover>, StoreError> {
    let mut stands = None;
    let exists = change(store, conversation, |record| {
        let mark = record.handover.get_or_insert_with(|| new.clone());
        if new.reference.is_some() {
            mark.reference.clone_from(&new.reference);
        }
        stands = Some(mark.clone());
    })
    .await?;
    Ok(stands.filter(|_| exists))
}

/// Hands a conversation back: its turns are answered again. Nothing happens to one that is not handed over.
///
/// # Errors
/// The store's; others changed the record again and again.
pub async fn hand_back<S: Store>(store: &S, conversation: &Conversation) -> Result<(), StoreError> {
    if conversation.record().handover.is_none() {
        return Ok(());
    }
    change(store, conversation, |record| record.handover = None).await.map(drop)
}

/// Notes that people were told of that hand-over, and what it is called there if that is known. One that was handed back
/// meanwhile stays so.
///
/// # Errors
/// The store's; others changed the record again and again.
pub async fn note_told<S: Store>(
    store: &S,
    conversation: &Conversation,
    id: &str,
    now_s: u64,
    reference: Option<&str>,
) -> Result<(), StoreError> {
    change(store, conversation, |record| {
        if let Some(mark) = record.handover.take_if(|mark| mark.id == id) {
            let mark = Handover { told_at: Some(now_s), ..mark };
            record.handover = Some(mark.with_reference(reference));
        }
    })
    .await
    .map(drop)
}

/// Sets the mark in the conversation of a turn that is about to be committed, unless it stands there already.
pub(crate) async fn mark<S: Store>(store: &S, ticket: &Ticket, new: &Handover) -> Result<(), StoreError> {
    let key = key::conversation(ticket.conversation);
    for _ in 0..SWAPS_MAX {
        let Some(seen) = store.get(&key).await? else { return Ok(()) };
        let Some(changed) = marked(&key, &seen, new)? else { return Ok(()) };
        if store.swap(&key, Some(&seen), changed).await? {
            return Ok(());
        }
    }
    Err(StoreError::Contended(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{NewItems, create, delete, open, record};
    use crate::memory::MemoryStore;
    use crate::viewer::Viewer;
    use futures::executor::block_on;
    use waggle_openai::metadata::Metadata;

    const CONVERSATION: u128 = 7;

    fn nonce(random: u128) -> Nonce {
        Nonce::mint(1, random)
    }

    async fn begun(store: &MemoryStore) -> Conversation {
        let fresh = record(1, 1, &Metadata::default()).unwrap();
        let nothing = NewItems { nonce: nonce(CONVERSATION), items: &[], tokens: 0 };
        create(store, &Viewer::service(), nonce(CONVERSATION), &fresh, nothing).await.unwrap();
        opened(store).await
    }

    async fn opened(store: &MemoryStore) -> Conversation {
        open(store, &Viewer::service(), nonce(CONVERSATION)).await.unwrap().unwrap()
    }

    fn new(id: u128, reason: &str) -> Handover {
        Handover::new(nonce(id), 5, By::Service, reason)
    }

    #[test]
    fn the_first_mark_stands_until_it_is_taken_off() {
        block_on(async {
            let store = MemoryStore::default();
            let conversation = begun(&store).await;
            let first = hand_over(&store, &conversation, new(1, "angry")).await.unwrap().unwrap();
            // By one who read the record before it was marked, and by one who read it after.
            for conversation in [conversation, opened(&store).await] {
                let later = new(2, "calm").with_reference(Some("T-1"));
                let stands = hand_over(&store, &conversation, later).await.unwrap().unwrap();
                assert_eq!(stands, first.clone().with_reference(Some("T-1")));
            }
            hand_back(&store, &opened(&store).await).await.unwrap();
            assert_eq!(opened(&store).await.record().handover, None);
            let second = hand_over(&store, &opened(&store).await, new(2, "calm")).await.unwrap();
            assert_eq!(second, Some(new(2, "calm")));
        });
    }

    #[test]
    fn people_are_told_of_the_hand_over_that_stands_and_of_no_other() {
        block_on(async {
            let store = MemoryStore::default();
            let conversation = begun(&store).await;
            hand_over(&store, &conversation, new(1, "")).await.unwrap();
            note_told(&store, &opened(&store).await, &nonce(9).to_string(), 8, None).await.unwrap();
            assert_eq!(opened(&store).await.record().handover, Some(new(1, "")));
            note_told(&store, &conversation, &nonce(1).to_string(), 8, Some("T-2")).await.unwrap();
            let told = opened(&store).await.record().handover.clone().unwrap();
            assert_eq!((told.told_at, told.reference.as_deref()), (Some(8), Some("T-2")));
        });
    }

    #[test]
    fn a_conversation_that_is_gone_is_not_handed_over() {
        block_on(async {
            let store = MemoryStore::default();
            let conversation = begun(&store).await;
            delete(&store, &Viewer::service(), nonce(CONVERSATION)).await.unwrap();
            assert_eq!(hand_over(&store, &conversation, new(1, "")).await.unwrap(), None);
            assert!(store.dump().keys().all(|key| !key.starts_with("conversation/")));
        });
    }

    #[test]
    fn a_reason_and_a_reference_are_cut_to_their_bounds() {
        let long = "好".repeat(REASON_CHARACTERS_MAX + 1);
        let mark = new(1, &long).with_reference(Some(&long)).with_reference(Some(""));
        assert_eq!(mark.reason.chars().count(), REASON_CHARACTERS_MAX);
        assert_eq!(mark.reference.unwrap().chars().count(), REFERENCE_CHARACTERS_MAX);
    }
}
