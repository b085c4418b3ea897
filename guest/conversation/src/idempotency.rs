//! The family `idempotency/`: who has claimed a key, and what was answered under it.
//!
//! A key is claimed before anything is done for it, by a record that is created only if there is none. The record names
//! the response the claim is for, so a turn that was committed is found even if its host died right after.

use crate::hex::hex;
use crate::key;
use crate::owned::{self, Listed};
use crate::record::is_seen;
use crate::store::{SWAPS_MAX, Store, StoreError};
use crate::viewer::{Owner, Viewer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use waggle_openai::Nonce;
use waggle_openai::json;

/// For how long a key is kept, in seconds.
pub const KEPT_S: u64 = 24 * 3600;
/// For how long a claim holds without a beat, in milliseconds.
const LEASE_MS: u64 = 12_000;
/// How often what was begun under a key is taken up again.
const TAKE_UPS_MAX: u32 = 5;

/// What a caller wants done once.
#[derive(Debug, Clone, Copy)]
pub struct Once<'a> {
    /// Which route was called.
    pub route: &'a str,
    /// The caller's key.
    pub key: &'a [u8],
    /// The body that came with it.
    pub body: &'a [u8],
    /// Whose data the answer is going to hold: with all of theirs it is erased.
    pub of: &'a Owner,
    /// The nonce for the response, if it is done now.
    pub nonce: Nonce,
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
}

/// What became of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// It is to be done now.
    Ours(Claim),
    /// It was answered.
    Answered(Kept),
    /// It was answered by this response, which is stored.
    Stored(Nonce),
    /// It is being done.
    Running,
    /// It was begun, and nobody will ever know how it ended.
    Interrupted,
    /// The key was used with another body.
    OtherRequest,
}

/// An answer that is kept with its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Box<RawValue>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    #[serde(default, skip_serializing_if = "Owner::is_services")]
    user: Owner,
    /// SHA-256 of the body.
    request: String,
    response: String,
    /// In seconds since 1970.
    created_at: u64,
    /// Until when the claim holds, in milliseconds since 1970.
    until_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Kept>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    /// How often it was taken up again.
    #[serde(default, skip_serializing_if = "is_zero")]
    taken_up: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Record {
    fn read(key: &str, value: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(value)
            .map_err(|error| StoreError::Unreadable { key: key.to_owned(), reason: error.to_string() })
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        json::push(&mut out, self);
        out
    }
}

/// A key that was claimed, until it is settled.
#[derive(Debug)]
pub struct Claim {
    key: String,
    record: RefCell<Record>,
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        // With its length, so that no two lists of parts read the same.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

/// Claims a key, or finds out what became of it. Keys of different viewers and routes have nothing to do with each other.
///
/// # Errors
/// The store's.
pub async fn claim<S: Store>(store: &S, viewer: &Viewer, once: Once<'_>) -> Result<Claimed, StoreError> {
    let hash = hash_of(viewer, &once);
    let key = key::idempotency(&hash);
    let Once { body, of, nonce, now_ms, .. } = once;
    let fresh = Record {
        user: viewer.owner(),
        request: digest(&[body]),
        response: nonce.as_str().to_owned(),
        created_at: now_ms / 1000,
        until_ms: now_ms + LEASE_MS,
        answer: None,
        interrupted: false,
        taken_up: 0,
    };
    let mut seen: Option<Vec<u8>> = None;
    for _ in 0..SWAPS_MAX {
        if store.swap(&key, seen.as_deref(), fresh.write()).await? {
            let mut pairs = Vec::new();
            let listed = owned::list(store, of, &Listed::answer(hash.clone()), &mut pairs).await;
            let written = match listed {
                Ok(Some(_)) => store.set_many(pairs).await,
                listed => listed.map(|_| ()),
            };
            if let Err(error) = written {
                // Nothing was done under the key, which can be claimed again.
                let _held_until_its_lease_ends = store.delete_many(vec![key]).await;
                return Err(error);
            }
            return Ok(Claimed::Ours(Claim { key, record: RefCell::new(fresh) }));
        }
        seen = store.get(&key).await?;
        let Some(value) = &seen else { continue };
        let known = Record::read(&key, value)?;
        // A clock that has gone back must not make a key new.
        if now_ms / 1000 >= known.created_at.saturating_add(KEPT_S) {
            continue;
        }
        if let Some(claimed) = judge(store, viewer, &key, (value, known), &fresh.request, now_ms).await? {
            return Ok(claimed);
        }
        // Changed meanwhile: from the start.
        seen = None;
    }
    Err(StoreError::Contended(key))
}

/// What became of a claim that is there; `None` when it has changed meanwhile.
async fn judge<S: Store>(
    store: &S,
    viewer: &Viewer,
    key: &str,
    (value, mut known): (&[u8], Record),
    request: &str,
    now_ms: u64,
) -> Result<Option<Claimed>, StoreError> {
    if known.request != request {
        return Ok(Some(Claimed::OtherRequest));
    }
    if let Some(answer) = known.answer {
        return Ok(Some(Claimed::Answered(answer)));
    }
    let unreadable = || StoreError::Unreadable { key: key.to_owned(), reason: "its response is none".into() };
    let response = Nonce::parse(&known.response).ok_or_else(unreadable)?;
    let response_key = key::response(response);
    if let Some(stored) = store.get(&response_key).await?
        && is_seen(&response_key, &stored, viewer)?
    {
        return Ok(Some(Claimed::Stored(response)));
    }
    if known.interrupted {
        return Ok(Some(Claimed::Interrupted));
    }
    if now_ms < known.until_ms {
        return Ok(Some(Claimed::Running));
    }
    known.interrupted = true;
    Ok(store.swap(key, Some(value), known.write()).await?.then_some(Claimed::Interrupted))
}

/// Takes up what was begun under a key and was interrupted, where there is a journal to go on from: the claim, which is the
/// caller's from here on, and the nonce of the response it was begun for. To be asked when [`claim`] says
/// [`Claimed::Interrupted`]; the `nonce` of `once` means nothing here.
///
/// `None` where nothing was journalled, the body is another, it was taken up too often, or somebody else has just done so.
///
/// # Errors
/// The store's.
pub async fn take_up<S: Store>(
    store: &S,
    viewer: &Viewer,
    once: Once<'_>,
) -> Result<Option<(Claim, Nonce)>, StoreError> {
    let hash = hash_of(viewer, &once);
    let key = key::idempotency(&hash);
    let Some(seen) = store.get(&key).await? else { return Ok(None) };
    let known = Record::read(&key, &seen)?;
    let is_over = known.answer.is_some() || (!known.interrupted && once.now_ms < known.until_ms);
    let is_old = once.now_ms / 1000 >= known.created_at.saturating_add(KEPT_S);
    let is_other = known.request != digest(&[once.body]);
    if is_over || is_old || is_other || known.taken_up >= TAKE_UPS_MAX {
        return Ok(None);
    }
    let Some(response) = Nonce::parse(&known.response) else { return Ok(None) };
    let begun = store.get_many(vec![key::run(response, 0), key::response(response)]).await?;
    if !matches!(begun.as_slice(), [Some(_), None]) {
        return Ok(None);
    }
    let taken_up = known.taken_up + 1;
    let renewed = Record { interrupted: false, until_ms: once.now_ms + LEASE_MS, taken_up, ..known };
    let is_ours = store.swap(&key, Some(&seen), renewed.write()).await?;
    Ok(is_ours.then(|| (Claim { key, record: RefCell::new(renewed) }, response)))
}

/// The response that a key was claimed for, by the key's hash.
///
/// # Errors
/// The store's. A record that cannot be read claims none.
pub(crate) async fn response_of<S: Store>(store: &S, hash: &str) -> Result<Option<Nonce>, StoreError> {
    let key = key::idempotency(hash);
    let Some(value) = store.get(&key).await? else { return Ok(None) };
    Ok(Record::read(&key, &value).ok().and_then(|record| Nonce::parse(&record.response)))
}

fn hash_of(viewer: &Viewer, once: &Once<'_>) -> String {
    let user = viewer.owner();
    let owner = user.user().map_or(String::new(), |user| format!("user {user}"));
    digest(&[owner.as_bytes(), once.route.as_bytes(), once.key])
}

impl Claim {
    /// Shows that it is still being done; to be called every [`crate::ticket::BEAT_MS`].
    ///
    /// # Errors
    /// The store's.
    pub async fn beat<S: Store>(&self, store: &S, now_ms: u64) -> Result<(), StoreError> {
        let seen = self.record.borrow().write();
        let renewed = Record { until_ms: now_ms + LEASE_MS, ..self.record.borrow().clone() };
        if store.swap(&self.key, Some(&seen), renewed.write()).await? {
            self.record.replace(renewed);
        }
        Ok(())
    }

    /// Keeps the answer, for good. One whose claim was erased with its user's data meanwhile is not kept.
    ///
    /// # Errors
    /// The body is not JSON; the store's.
    pub async fn keep<S: Store>(&self, store: &S, status: u16, body: &[u8]) -> Result<(), StoreError> {
        let body: Box<RawValue> = serde_json::from_slice(body)
            .map_err(|error| StoreError::Failed { operation: "keep an answer", reason: error.to_string() })?;
        let record = Record { answer: Some(Kept { status, body }), ..self.record.borrow().clone() };
        for _ in 0..SWAPS_MAX {
            let Some(seen) = self.own(store).await? else { return Ok(()) };
            if store.swap(&self.key, Some(&seen), record.write()).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended(self.key.clone()))
    }

    /// Lets the key go: nothing was done that must not be done again. One that was erased, and perhaps claimed by another
    /// since, is not this claim's to let go.
    ///
    /// # Errors
    /// The store's.
    pub async fn release<S: Store>(&self, store: &S) -> Result<(), StoreError> {
        match self.own(store).await? {
            Some(_) => store.delete_many(vec![self.key.clone()]).await,
            None => Ok(()),
        }
    }

    /// The claim's record as it stands there now; `None` when it was erased, or is another's: also that of one who has taken
    /// it up since.
    async fn own<S: Store>(&self, store: &S) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(seen) = store.get(&self.key).await? else { return Ok(None) };
        let known = Record::read(&self.key, &seen)?;
        let ours = self.record.borrow();
        let is_ours = known.response == ours.response && known.taken_up == ours.taken_up;
        Ok(is_ours.then_some(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erase::erase;
    use crate::memory::MemoryStore;
    use futures::executor::block_on;

    const NOW_MS: u64 = 1_700_000_000_000;

    async fn claimed(store: &MemoryStore, ada: &Viewer, random: u128) -> Claim {
        let (of, nonce) = (ada.owner(), Nonce::mint(NOW_MS, random));
        let once = Once { route: "POST /x", key: b"k", body: b"{}", of: &of, nonce, now_ms: NOW_MS };
        match claim(store, ada, once).await.unwrap() {
            Claimed::Ours(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    fn records(store: &MemoryStore) -> Vec<String> {
        let records = store.dump().into_iter().filter(|(key, _)| key.starts_with("idempotency/"));
        records.map(|(_, value)| String::from_utf8(value).unwrap()).collect()
    }

    #[test]
    fn what_was_interrupted_is_taken_up_where_it_was_journalled_and_not_for_ever() {
        block_on(async {
            let (store, ada) = (MemoryStore::default(), Viewer::user("ada").unwrap());
            let (of, nonce) = (ada.owner(), Nonce::mint(NOW_MS, 1));
            let once = |body: &'static [u8], later_ms: u64| Once {
                route: "POST /x",
                key: b"k",
                body,
                of: &of,
                nonce: Nonce::mint(NOW_MS, 9),
                now_ms: NOW_MS + later_ms,
            };
            let first = claimed(&store, &ada, 1).await;
            assert!(take_up(&store, &ada, once(b"{}", LEASE_MS)).await.unwrap().is_none(), "no journal");
            crate::run::append(&store, nonce, 0, b"{}".to_vec()).await.unwrap();
            assert!(take_up(&store, &ada, once(b"{}", LEASE_MS - 1)).await.unwrap().is_none(), "it runs");
            assert!(take_up(&store, &ada, once(b"[]", LEASE_MS)).await.unwrap().is_none(), "another body");
            let other = Viewer::user("bob").unwrap();
            assert!(take_up(&store, &other, once(b"{}", LEASE_MS)).await.unwrap().is_none(), "another's key");
            let mut later_ms = 0;
            for _ in 0..TAKE_UPS_MAX {
                later_ms += LEASE_MS;
                let interrupted = claim(&store, &ada, once(b"{}", later_ms)).await.unwrap();
                assert!(matches!(interrupted, Claimed::Interrupted), "{interrupted:?}");
                let (_, response) = take_up(&store, &ada, once(b"{}", later_ms)).await.unwrap().unwrap();
                assert_eq!(response, nonce);
                let running = claim(&store, &ada, once(b"{}", later_ms)).await.unwrap();
                assert!(matches!(running, Claimed::Running), "{running:?}");
                assert!(take_up(&store, &ada, once(b"{}", later_ms)).await.unwrap().is_none());
            }
            first.keep(&store, 409, b"{}").await.unwrap();
            assert!(!records(&store)[0].contains("409"), "whoever was taken for dead keeps no answer");
            let next = once(b"{}", later_ms + LEASE_MS);
            assert!(take_up(&store, &ada, next).await.unwrap().is_none(), "too often");
            erase(&store, &of).await.unwrap();
            let left: Vec<String> = store.dump().into_keys().filter(|key| key.starts_with("run/")).collect();
            assert_eq!(left, Vec::<String>::new(), "the run is found by its claim");
        });
    }

    #[test]
    fn a_claim_that_was_erased_keeps_nothing_and_lets_no_others_go() {
        block_on(async {
            let (store, ada) = (MemoryStore::default(), Viewer::user("ada").unwrap());
            let first = claimed(&store, &ada, 1).await;
            erase(&store, &ada.owner()).await.unwrap();
            first.keep(&store, 200, b"\"secret\"").await.unwrap();
            assert_eq!(records(&store), Vec::<String>::new());
            let second = claimed(&store, &ada, 2).await;
            first.keep(&store, 200, b"\"secret\"").await.unwrap();
            first.release(&store).await.unwrap();
            assert!(!records(&store)[0].contains("secret"));
            second.keep(&store, 200, b"\"hello\"").await.unwrap();
            assert!(records(&store)[0].contains("hello"));
            second.release(&store).await.unwrap();
            assert_eq!(records(&store), Vec::<String>::new());
        });
    }
}
