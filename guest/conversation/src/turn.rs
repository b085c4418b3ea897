//! Keeping a turn: everything it leaves behind goes into one commit.

use crate::background::Pair;
use crate::history::Continuation;
use crate::key;
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
    /// How the response grew when it was streamed, as JSON of the caller's own.
    pub stream: Option<&'a [u8]>,
    /// What else belongs into the same commit: keys and values that this crate has made.
    pub also: Vec<Pair>,
}

impl FinishedTurn<'_> {
    /// Commits the turn. When this returns, it may be reported complete.
    ///
    /// A conversation that was deleted while the model answered stays deleted.
    ///
    /// # Errors
    /// The store's; then nothing of the turn is to be reported complete.
    pub async fn commit<S: Store>(self, store: &S) -> Result<(), StoreError> {
        let Continuation { owner, conversation, lineage } = self.continuation;
        let mut in_conversation = None;
        let mut pairs: Vec<(String, Vec<u8>)> = self.also.into_iter().map(Pair::into_inner).collect();
        if let Some(conversation) = conversation.filter(|_| self.joins)
            && let record_key = key::conversation(conversation)
            && let Some(record) = store.get(&record_key).await?
        {
            // Written anew, the record of a conversation in use does not reach the end of the store's time to live. By
            // swap, so that a change made in between stays; it has had the same effect.
            if let Some(renewed) = renewed(&record_key, &record, self.now_s, self.renewal_s)? {
                store.swap(&record_key, &record, renewed).await?;
            }
            let items = self.input.iter().chain(self.output).map(|item| item.get());
            let value = write_entry(self.nonce, items, self.tokens);
            let sequence = append(store, conversation, self.nonce, value, &mut pairs).await?;
            let origin = Some(Origin { conversation, sequence });
            in_conversation = Some(Lineage { ancestors: Vec::new(), origin });
        }
        if let Some(response) = self.response {
            let lineage = in_conversation.as_ref().unwrap_or(lineage);
            let value = write_response(response, self.input, self.tokens, lineage, owner, self.stream);
            pairs.push((key::response(self.nonce), value));
        }
        if pairs.is_empty() { Ok(()) } else { store.set_many(pairs).await }
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
