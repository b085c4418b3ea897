//! Keeping a turn: everything it leaves behind goes into one commit.

use crate::background::Pair;
use crate::handover::{Handover, mark};
use crate::history::Continuation;
use crate::key;
use crate::owned::{self, Listed};
use crate::record::{Lineage, Origin, renewed, write_entry, write_response};
use crate::store::{Store, StoreError};
use crate::ticket::{BEAT_MS, Place, Ticket};
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
    /// Whether the response is in its owner's list already.
    pub listed: bool,
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// How old a conversation's record may become before a turn writes it anew; 0: each turn does.
    pub renewal_s: u64,
    /// Set where the conversation is handed over with the turn.
    pub handover: Option<&'a Handover>,
    /// How the response grew when it was streamed, as JSON of the caller's own.
    pub stream: Option<&'a [u8]>,
    /// What else belongs into the same commit: keys and values that this crate has made.
    pub also: Vec<Pair>,
}

/// Why a turn was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// It was silent for so long that it was taken for dead, and others went on in its conversation.
    #[error("the turn has lost its place in the conversation")]
    Lost,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Room in a conversation for the entry of a turn.
struct Joined {
    origin: Origin,
    turns: Option<u64>,
}

impl FinishedTurn<'_> {
    /// Commits the turn. When this returns, it may be reported complete. A turn in a conversation settles its place by it,
    /// whether it joins or not. Returns how many turns have joined the conversation, this one included: a number that is
    /// neither given twice nor passed over; `None` for a turn that joined none.
    ///
    /// A conversation that was deleted while the model answered stays deleted.
    ///
    /// # Errors
    /// The place in the conversation is lost; the store's. Then nothing of the turn is to be reported complete.
    pub async fn commit<S: Store>(mut self, store: &S) -> Result<Option<u64>, CommitError> {
        let ticket = self.continuation.ticket.as_ref();
        let also = std::mem::take(&mut self.also).into_iter().map(Pair::into_inner).collect();
        let committed = self.write(store, ticket, also).await;
        if let (Err(_), Some(ticket)) = (&committed, ticket) {
            // Best effort: what the store does not take now is found to be dead later.
            let _unsettled = ticket.give_up(store).await;
        }
        committed
    }

    async fn write<S: Store>(
        &self,
        store: &S,
        ticket: Option<&Ticket>,
        mut pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<Option<u64>, CommitError> {
        let joined = match ticket {
            Some(ticket) => self.settle(store, ticket, &mut pairs).await?,
            None => None,
        };
        if let Some(response) = self.response {
            let Continuation { owner, lineage, .. } = self.continuation;
            let in_conversation =
                joined.as_ref().map(|joined| Lineage { ancestors: Vec::new(), origin: Some(joined.origin) });
            let lineage = in_conversation.as_ref().unwrap_or(lineage);
            let value = write_response(response, self.input, self.tokens, lineage, owner, self.stream);
            pairs.push((key::response(self.nonce), value));
            // One that stands in a conversation is found through its entry.
            if in_conversation.is_none() && !self.listed {
                owned::list(store, owner, &Listed::responses([self.nonce]), &mut pairs).await?;
            }
        }
        if !pairs.is_empty() {
            store.set_many(pairs).await?;
        }
        Ok(joined.and_then(|joined| joined.turns))
    }

    /// Adds what settles the turn's place to `pairs`.
    async fn settle<S: Store>(
        &self,
        store: &S,
        ticket: &Ticket,
        pairs: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<Option<Joined>, CommitError> {
        let &Ticket { conversation, sequence, .. } = ticket;
        let record = match ticket.place(store, self.now_ms, BEAT_MS).await? {
            Place::Held(record) => record,
            Place::Lost if self.joins => return Err(CommitError::Lost),
            Place::Lost | Place::Gone => return Ok(None),
        };
        let entry_key = key::entry(conversation, sequence);
        if !self.joins {
            pairs.push((entry_key, ticket.tombstone()));
            return Ok(None);
        }
        // Written anew, the record of a conversation in use does not reach the end of the store's time to live. By
        // swap, so that a change made in between stays; it has had the same effect.
        let record_key = key::conversation(conversation);
        if let Some(renewed) = renewed(&record_key, &record, self.now_ms / 1000, self.renewal_s)? {
            store.swap(&record_key, Some(&record), renewed).await?;
            owned::renew(store, &record_key, &record, conversation, pairs).await?;
        }
        // Before the turn's own commit: a conversation that is silent too early is better than one that is answered by
        // nobody and by the model.
        if let Some(handover) = self.handover {
            mark(store, ticket, handover).await?;
        }
        let items = self.input.iter().chain(self.output).map(|item| item.get());
        let standing = ticket.standing(true);
        pairs.push((entry_key, write_entry(self.nonce, items, self.tokens, standing)));
        pairs.push(way(conversation, self.nonce, sequence));
        Ok(Some(Joined { origin: Origin { conversation, sequence }, turns: standing.turns }))
    }
}

/// The way from a commit's nonce to its entry.
pub(crate) fn way(conversation: Nonce, nonce: Nonce, sequence: u64) -> (String, Vec<u8>) {
    (key::turn(conversation, nonce), sequence.to_string().into_bytes())
}
