//! Background responses: how far each has come, its request, and its events, until they are read or deleted.
//!
//! Beside the record of the response there are three families: its state, changed by compare-and-set only, so that of
//! all who run, cancel and delete it each knows what the others did; the body of its request, until it is over; and its
//! events in batches, which nobody changes once they are written.

use crate::key;
use crate::owned::{self, Listed};
use crate::record::{Lineage, write_response};
use crate::run;
use crate::store::{Store, StoreError};
use crate::viewer::Owner;
use serde::{Deserialize, Serialize};
use waggle_openai::Nonce;
use waggle_openai::item::RawItem;
use waggle_openai::json;
use waggle_openai::members::Members;

/// How many batches of events are deleted at once.
const DELETED_BATCHES_MAX: u64 = 100;

/// How far a background response has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nobody runs it yet.
    Queued,
    /// Somebody runs it, or did until the lease ended.
    Running,
    /// The same, and it is to end.
    Cancelling,
    /// It is over.
    Finished,
}

/// The state of a background response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far it has come.
    pub state: Phase,
    /// How often it was begun.
    pub attempt: u32,
    /// Until when its runner is taken to be alive, in milliseconds since 1970; 0 while nobody runs it.
    pub until_ms: u64,
    /// When it was created, in seconds since 1970.
    pub created_at: u64,
    /// The language of our own texts in it.
    pub language: String,
    /// Whether nobody is called to run it again: if its runner dies, it is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

impl State {
    /// Whether its runner has died and nobody will run it again, so that whoever finds it has to end it.
    pub fn is_abandoned(&self, now_ms: u64) -> bool {
        let begun = matches!(self.state, Phase::Running | Phase::Cancelling);
        self.last && begun && self.until_ms <= now_ms
    }
}

/// A state as it was read or written, so that it can be changed if it still is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The state.
    pub state: State,
    bytes: Vec<u8>,
}

/// A key and its value, for a commit.
#[derive(Debug, Clone)]
pub struct Pair(String, Vec<u8>);

impl Pair {
    pub(crate) fn into_inner(self) -> (String, Vec<u8>) {
        (self.0, self.1)
    }
}

/// Whose a response is, and what it comes after.
#[derive(Debug, Clone)]
pub struct Belonging {
    pub(crate) owner: Owner,
    pub(crate) lineage: Lineage,
}

/// Events that were written together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The number of the first.
    pub first: u64,
    /// How many there are.
    pub count: u64,
    /// The events as they are sent.
    pub text: String,
    /// Whether none come after them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

impl Batch {
    /// The number after that of the last.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }

    /// The batch as number `number` of the response's.
    pub fn pair(&self, response: Nonce, number: u64) -> Pair {
        Pair(key::events(response, number), written(self))
    }
}

/// A response that is to be made in the background.
#[derive(Debug)]
pub struct Queued<'a> {
    /// Its nonce.
    pub nonce: Nonce,
    /// Whose it is.
    pub belonging: Belonging,
    /// Its object.
    pub object: &'a [u8],
    /// What is said in it.
    pub input: &'a [RawItem],
    /// An estimate of the tokens of that.
    pub tokens: u64,
    /// The body of the request.
    pub request: &'a [u8],
    /// Its state.
    pub state: State,
    /// Its first events.
    pub events: Batch,
}

impl Queued<'_> {
    /// Writes all of it, in one commit.
    ///
    /// # Errors
    /// The store's; then nothing was written.
    pub async fn create<S: Store>(self, store: &S) -> Result<(), StoreError> {
        let Belonging { owner, lineage } = &self.belonging;
        let record = write_response(self.object, self.input, self.tokens, lineage, owner, None);
        let events = self.events.pair(self.nonce, 0).into_inner();
        let mut pairs = vec![
            (key::response(self.nonce), record),
            (key::request(self.nonce), self.request.to_vec()),
            (key::state(self.nonce), written(&self.state)),
            events,
        ];
        owned::list(store, owner, &Listed::background(self.nonce), &mut pairs).await?;
        store.set_many(pairs).await
    }
}

fn written<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    json::push(&mut out, value);
    out
}

fn read<'a, T: Deserialize<'a>>(key: &str, value: &'a [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value)
        .map_err(|error| StoreError::Unreadable { key: key.to_owned(), reason: error.to_string() })
}

/// The state of a response; `None` when it is none of the background, or was deleted.
///
/// # Errors
/// The store's.
pub async fn state<S: Store>(store: &S, response: Nonce) -> Result<Option<Recorded>, StoreError> {
    let key = key::state(response);
    let Some(bytes) = store.get(&key).await? else { return Ok(None) };
    Ok(Some(Recorded { state: read(&key, &bytes)?, bytes }))
}

/// Changes the state, if it still is `from`; `None` when it is not.
///
/// # Errors
/// The store's.
pub async fn change<S: Store>(
    store: &S,
    response: Nonce,
    from: &Recorded,
    to: State,
) -> Result<Option<Recorded>, StoreError> {
    let bytes = written(&to);
    let changed = store.swap(&key::state(response), Some(&from.bytes), bytes.clone()).await?;
    Ok(changed.then_some(Recorded { state: to, bytes }))
}

/// The body of the request.
///
/// # Errors
/// The store's.
pub async fn request<S: Store>(store: &S, response: Nonce) -> Result<Option<Vec<u8>>, StoreError> {
    store.get(&key::request(response)).await
}

/// A batch of events; `None` where there is none yet.
///
/// # Errors
/// The store's.
pub async fn batch<S: Store>(store: &S, response: Nonce, number: u64) -> Result<Option<Batch>, StoreError> {
    let key = key::events(response, number);
    let Some(value) = store.get(&key).await? else { return Ok(None) };
    read(&key, &value).map(Some)
}

/// The number of the first batch that holds, or will hold, events from number `sequence` on, and where that begins if
/// it is the next to be written.
///
/// It reads a number of batches that grows with the logarithm of how many there are.
///
/// # Errors
/// The store's.
pub async fn find<S: Store>(store: &S, response: Nonce, sequence: u64) -> Result<Found, StoreError> {
    let mut found = Found { number: 0, begins: 0 };
    let mut step = 1;
    // All batches before `found` end before the event; with growing steps until one does not.
    while let Some(batch) = batch(store, response, found.number + step - 1).await?
        && batch.end() <= sequence
    {
        found = Found { number: found.number + step, begins: batch.end() };
        step *= 2;
    }
    while step > 1 {
        let half = step / 2;
        match batch(store, response, found.number + half - 1).await? {
            Some(batch) if batch.end() <= sequence => {
                found = Found { number: found.number + half, begins: batch.end() };
                step -= half;
            }
            _ => step = half,
        }
    }
    Ok(found)
}

/// A place among the batches of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The number of the batch.
    pub number: u64,
    /// The number of the first event that is in it, or will be.
    pub begins: u64,
}

/// Where the next batch is to be written.
///
/// # Errors
/// The store's.
pub async fn end<S: Store>(store: &S, response: Nonce) -> Result<Found, StoreError> {
    find(store, response, u64::MAX).await
}

/// Writes a response's object anew, and leaves the rest of its record as it is, together with events; `false`, and
/// nothing is written, when there is no such response.
///
/// # Errors
/// The store's.
pub async fn put<S: Store>(
    store: &S,
    response: Nonce,
    object: &[u8],
    events: Pair,
) -> Result<bool, StoreError> {
    let key = key::response(response);
    let Some(record) = store.get(&key).await? else { return Ok(false) };
    let unreadable = |reason: String| StoreError::Unreadable { key: key.clone(), reason };
    let mut members = Members::read(&record).map_err(|error| unreadable(error.to_string()))?;
    let object = std::str::from_utf8(object).map_err(|error| unreadable(error.to_string()))?;
    members.set("response", object);
    let record = members.to_json();
    store.set_many(vec![(key, record), events.into_inner()]).await?;
    Ok(true)
}

/// Writes a batch of events.
///
/// # Errors
/// The store's.
pub async fn write<S: Store>(store: &S, pair: Pair) -> Result<(), StoreError> {
    store.set_many(vec![pair.into_inner()]).await
}

/// Deletes the body of the request: the response is over.
///
/// # Errors
/// The store's.
pub async fn forget_request<S: Store>(store: &S, response: Nonce) -> Result<(), StoreError> {
    store.delete_many(vec![key::request(response)]).await
}

/// Deletes a response with all that belongs to it, in bounded batches. Whoever runs it finds its state gone.
///
/// # Errors
/// The store's.
pub async fn remove<S: Store>(store: &S, response: Nonce) -> Result<(), StoreError> {
    let keys = vec![key::response(response), key::state(response), key::request(response)];
    store.delete_many(keys).await?;
    // The newest first: what is left when this is interrupted is a row from the beginning on, as it is looked for.
    let mut end = end(store, response).await?.number;
    while end > 0 {
        let first = end.saturating_sub(DELETED_BATCHES_MAX);
        store.delete_many((first..end).map(|number| key::events(response, number)).collect()).await?;
        end = first;
    }
    run::remove(store, &[response]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use futures::executor::block_on;

    fn filled(batches: u64) -> (MemoryStore, Nonce) {
        let (store, nonce) = (MemoryStore::default(), Nonce::mint(1, 1));
        for number in 0..batches {
            // Batches of 1, 2, 3 events, over and over.
            let count = number % 3 + 1;
            let before: u64 = (0..number).map(|number| number % 3 + 1).sum();
            let batch = Batch { first: before, count, text: String::new(), last: false };
            block_on(write(&store, batch.pair(nonce, number))).unwrap();
        }
        (store, nonce)
    }

    #[test]
    fn every_event_is_found_in_its_batch() {
        for batches in [0, 1, 2, 3, 7, 8, 9, 40] {
            let (store, nonce) = filled(batches);
            let mut sequence = 0;
            for number in 0..batches {
                let begins = sequence;
                for _ in 0..number % 3 + 1 {
                    let found = block_on(find(&store, nonce, sequence)).unwrap();
                    assert_eq!(found, Found { number, begins }, "event {sequence} of {batches} batches");
                    sequence += 1;
                }
            }
            let expected = Found { number: batches, begins: sequence };
            assert_eq!(block_on(find(&store, nonce, sequence)).unwrap(), expected);
            assert_eq!(block_on(end(&store, nonce)).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        for batches in [0, 1, 99, 100, 101, 250] {
            let (store, nonce) = filled(batches);
            block_on(remove(&store, nonce)).unwrap();
            assert!(store.dump().is_empty(), "{batches} batches");
        }
    }

    #[test]
    fn a_state_is_changed_by_one_of_those_who_saw_it() {
        let (store, nonce) = (MemoryStore::default(), Nonce::mint(1, 1));
        let first = State {
            state: Phase::Queued,
            attempt: 0,
            until_ms: 0,
            created_at: 1,
            language: "en".into(),
            last: false,
        };
        store.put(&key::state(nonce), &written(&first));
        let seen = block_on(state(&store, nonce)).unwrap().unwrap();
        let next = State { state: Phase::Running, attempt: 1, ..first };
        let mine = block_on(change(&store, nonce, &seen, next.clone())).unwrap().unwrap();
        assert_eq!(block_on(change(&store, nonce, &seen, next)).unwrap(), None);
        assert_eq!(block_on(state(&store, nonce)).unwrap(), Some(mine));
    }
}
