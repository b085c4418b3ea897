//! Keeping a turn: everything it leaves behind goes into one commit.

use crate::history::Continuation;
use crate::key;
use crate::owned::{self, Listed};
use crate::record::{Lineage, Origin, renewed, write_entry, write_response};
use crate::store::{Store, StoreError};
use waggle_openai::Nonce;
use waggle_openai::item::RawItem;

/// A turn that is over.
#[derive(Debug)]
pub struct FinishedTurn<'a> {
    /// The nonce of its response, which its items' ids carry.
    pub nonce: Nonce,
    /// What was said to the model.
    pub input: &'a [RawItem],
    /// What it answered.
    pub output: &'a [RawItem],
    /// An estimate of the tokens of both.
    pub tokens: u64,
    /// What it continues.
    pub continuation: &'a Continuation,
    /// Whether it becomes a part of its conversation, if it is in one; one that failed leaves it as it was.
    pub joins: bool,
    /// The response object, when it is to be kept.
    pub response: Option<&'a [u8]>,
    /// Now, in seconds since 1970.
    pub now_s: u64,
    /// How old a conversation's record may become before a turn writes it anew; 0: each turn does.
    pub renewal_s: u64,
}

impl FinishedTurn<'_> {
    /// Commits the turn. When this returns, it may be reported complete. Returns the turn's number in its conversation;
    /// `None` for one that has joined none.
    ///
    /// A conversation that was deleted while the model answered stays deleted.
    ///
    /// # Errors
    /// The store's; then nothing of the turn is to be reported complete.
    pub async fn commit<S: Store>(self, store: &S) -> Result<Option<u64>, StoreError> {
        let Continuation { owner, conversation, lineage } = self.continuation;
        let (mut in_conversation, mut turn) = (None, None);
        let mut pairs = Vec::with_capacity(3);
        if let Some(conversation) = conversation.filter(|_| self.joins)
            && let record_key = key::conversation(conversation)
            && let Some(record) = store.get(&record_key).await?
        {
            // Written anew, the record of a conversation in use does not reach the end of the store's time to live. By
            // swap, so that a change made in between stays; it has had the same effect.
            if let Some(renewed) = renewed(&record_key, &record, self.now_s, self.renewal_s)? {
                store.swap(&record_key, &record, renewed).await?;
                owned::renew(store, &record_key, &record, conversation, &mut pairs).await?;
            }
            let items = self.input.iter().chain(self.output).map(|item| item.get());
            let value = write_entry(self.nonce, items, self.tokens);
            let sequence = append(store, conversation, self.nonce, value, &mut pairs).await?;
            turn = Some(sequence);
            let origin = Some(Origin { conversation, sequence });
            in_conversation = Some(Lineage { ancestors: Vec::new(), origin });
        }
        if let Some(response) = self.response {
            let lineage = in_conversation.as_ref().unwrap_or(lineage);
            let value = write_response(response, self.input, self.tokens, lineage, owner);
            pairs.push((key::response(self.nonce), value));
            // One that stands in a conversation is found through its entry.
            if in_conversation.is_none() {
                owned::list(store, owner, &Listed::responses([self.nonce]), &mut pairs).await?;
            }
        }
        if !pairs.is_empty() {
            store.set_many(pairs).await?;
        }
        Ok(turn)
    }
}

/// Draws the next number of the conversation and adds the entry, and the way to it, to `pairs`.
pub(crate) async fn append<S: Store>(
    store: &S,
    conversation: Nonce,
    nonce: Nonce,
    entry: Vec<u8>,
    pairs: &mut Vec<(String, Vec<u8>)>,
) -> Result<u64, StoreError> {
    let key = key::sequence(conversation);
    let sequence = u64::try_from(store.increment(&key).await?)
        .map_err(|_| StoreError::Unreadable { key, reason: "the counter is negative".to_owned() })?;
    pairs.push((key::entry(conversation, sequence), entry));
    pairs.push((key::turn(conversation, nonce), sequence.to_string().into_bytes()));
    Ok(sequence)
}
