//! The family `approval/`: which turn has answered which question whether a call may be made.
//!
//! All questions of one response share a record, which is changed by compare-and-set only: of two turns that answer the same
//! question, one does, wherever they run. A turn that was interrupted and goes on is the same turn.

use crate::key;
use crate::store::{SWAPS_MAX, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use waggle_openai::json;
use waggle_openai::{ItemId, Nonce};

/// An answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// The question: an `mcp_approval_request`.
    pub request: ItemId,
    /// Whether the call may be made.
    pub approve: bool,
}

/// What became of a turn's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// They are this turn's, all of them.
    Ours,
    /// This question was answered by that turn; none of the answers counts.
    AlreadyBy(ItemId, Nonce),
}

/// The answers to the questions of one response, by their places in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    claims: BTreeMap<usize, Claim>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    /// The nonce of the turn's response.
    by: String,
    approve: bool,
    /// In seconds since 1970.
    at: u64,
}

impl Record {
    fn read(key: &str, value: Option<&[u8]>) -> Result<Self, StoreError> {
        let Some(value) = value else { return Ok(Self::default()) };
        serde_json::from_slice(value)
            .map_err(|error| StoreError::Unreadable { key: key.to_owned(), reason: error.to_string() })
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        json::push(&mut out, self);
        out
    }

    /// The first of these questions that another turn has answered.
    fn taken(&self, key: &str, decided: &[Decided], by: Nonce) -> Result<Option<Claimed>, StoreError> {
        for Decided { request, .. } in decided {
            let Some(claim) = self.claims.get(&request.index) else { continue };
            let other = Nonce::parse(&claim.by).ok_or_else(|| StoreError::Unreadable {
                key: key.to_owned(),
                reason: "a turn's nonce is none".to_owned(),
            })?;
            if other != by {
                return Ok(Some(Claimed::AlreadyBy(*request, other)));
            }
        }
        Ok(None)
    }
}

/// Answers questions on behalf of the turn `by`, all of them or none. The same turn may answer them again.
///
/// Where the questions are of several responses and another turn answers one at the same moment, what was claimed of the
/// others is let go again; a crash just there leaves them claimed by this turn.
///
/// # Errors
/// The store's.
pub async fn claim<S: Store>(
    store: &S,
    decided: &[Decided],
    by: Nonce,
    now_s: u64,
) -> Result<Claimed, StoreError> {
    let mut by_response: BTreeMap<Nonce, Vec<Decided>> = BTreeMap::new();
    for decision in decided {
        by_response.entry(decision.request.nonce).or_default().push(*decision);
    }
    if by_response.is_empty() {
        return Ok(Claimed::Ours);
    }
    let keys: Vec<String> = by_response.keys().map(|nonce| key::approvals(*nonce)).collect();
    let values = store.get_many(keys.clone()).await?;
    for ((key, value), decided) in keys.iter().zip(&values).zip(by_response.values()) {
        if let Some(taken) = Record::read(key, value.as_deref())?.taken(key, decided, by)? {
            return Ok(taken);
        }
    }
    for (place, ((key, seen), decided)) in keys.iter().zip(values).zip(by_response.values()).enumerate() {
        let taken = claim_one(store, key, seen, decided, (by, now_s)).await?;
        if let Some(taken) = taken {
            let before = keys.iter().zip(by_response.values()).take(place);
            for (key, decided) in before {
                release(store, key, decided, by).await?;
            }
            return Ok(taken);
        }
    }
    Ok(Claimed::Ours)
}

/// Answers the questions of one response, whose record was `seen`.
async fn claim_one<S: Store>(
    store: &S,
    key: &str,
    mut seen: Option<Vec<u8>>,
    decided: &[Decided],
    (by, now_s): (Nonce, u64),
) -> Result<Option<Claimed>, StoreError> {
    for _ in 0..SWAPS_MAX {
        let mut record = Record::read(key, seen.as_deref())?;
        if let Some(taken) = record.taken(key, decided, by)? {
            return Ok(Some(taken));
        }
        for Decided { request, approve } in decided {
            let claim = Claim { by: by.as_str().to_owned(), approve: *approve, at: now_s };
            record.claims.entry(request.index).or_insert(claim);
        }
        if store.swap(key, seen.as_deref(), record.write()).await? {
            return Ok(None);
        }
        seen = store.get(key).await?;
    }
    Err(StoreError::Contended(key.to_owned()))
}

/// Takes the answers of the turn `by` back.
async fn release<S: Store>(store: &S, key: &str, decided: &[Decided], by: Nonce) -> Result<(), StoreError> {
    for _ in 0..SWAPS_MAX {
        let seen = store.get(key).await?;
        let mut record = Record::read(key, seen.as_deref())?;
        for Decided { request, .. } in decided {
            if record.claims.get(&request.index).is_some_and(|claim| claim.by == by.as_str()) {
                record.claims.remove(&request.index);
            }
        }
        if store.swap(key, seen.as_deref(), record.write()).await? {
            return Ok(());
        }
    }
    Err(StoreError::Contended(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use futures::executor::block_on;
    use waggle_openai::id::ItemKind;
    use waggle_openai::item::HostedKind;

    fn decided(response: u128, index: usize, approve: bool) -> Decided {
        let kind = ItemKind::Hosted(HostedKind::McpApproval);
        Decided { request: ItemId { kind, nonce: Nonce::mint(1, response), index }, approve }
    }

    fn turn(number: u128) -> Nonce {
        Nonce::mint(2, number)
    }

    #[test]
    fn a_question_is_answered_by_one_turn_and_by_that_one_as_often_as_it_runs() {
        block_on(async {
            let store = MemoryStore::default();
            let both = [decided(1, 3, true), decided(1, 4, false)];
            assert_eq!(claim(&store, &both, turn(1), 7).await, Ok(Claimed::Ours));
            assert_eq!(claim(&store, &both, turn(1), 8).await, Ok(Claimed::Ours));
            let taken = Claimed::AlreadyBy(both[1].request, turn(1));
            assert_eq!(claim(&store, &both[1..], turn(2), 9).await, Ok(taken));
            let other = [decided(1, 5, true)];
            assert_eq!(claim(&store, &other, turn(2), 9).await, Ok(Claimed::Ours));
            assert_eq!(claim(&store, &[], turn(3), 9).await, Ok(Claimed::Ours));
            let record = store.dump().into_values().map(|value| String::from_utf8(value).unwrap());
            let expected = format!(
                r#"{{"claims":{{"3":{{"by":"{0}","approve":true,"at":7}},"4":{{"by":"{0}","approve":false,"at":7}},"5":{{"by":"{1}","approve":true,"at":9}}}}}}"#,
                turn(1),
                turn(2)
            );
            assert_eq!(record.collect::<Vec<_>>(), [expected]);
        });
    }

    #[test]
    fn where_one_question_was_answered_none_of_the_answers_counts() {
        block_on(async {
            let store = MemoryStore::default();
            claim(&store, &[decided(2, 1, true)], turn(1), 7).await.unwrap();
            let before = store.dump();
            let all = [decided(1, 1, true), decided(2, 1, true), decided(3, 1, true)];
            let taken = Claimed::AlreadyBy(all[1].request, turn(1));
            assert_eq!(claim(&store, &all, turn(2), 8).await, Ok(taken));
            assert_eq!(store.dump(), before);
        });
    }

    #[test]
    fn what_was_claimed_before_another_was_faster_is_let_go() {
        block_on(async {
            let store = MemoryStore::default();
            let (mine, theirs) = (decided(1, 1, true), decided(2, 1, true));
            let (first, second) = (key::approvals(mine.request.nonce), key::approvals(theirs.request.nonce));
            claim_one(&store, &first, None, &[mine], (turn(1), 7)).await.unwrap();
            claim_one(&store, &second, None, &[theirs], (turn(2), 7)).await.unwrap();
            // As it goes on when the second record has changed since it was read.
            let taken = claim_one(&store, &second, None, &[theirs], (turn(1), 7)).await.unwrap();
            assert_eq!(taken, Some(Claimed::AlreadyBy(theirs.request, turn(2))));
            release(&store, &first, &[mine], turn(1)).await.unwrap();
            release(&store, &second, &[theirs], turn(1)).await.unwrap();
            assert_eq!(claim(&store, &[mine], turn(3), 8).await, Ok(Claimed::Ours));
            let taken = Claimed::AlreadyBy(theirs.request, turn(2));
            assert_eq!(claim(&store, &[theirs], turn(3), 8).await, Ok(taken));
        });
    }
}
