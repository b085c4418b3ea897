//! What a user owns, listed under their name: a row of numbered entries for each owner, by which it is shown, exported
//! and erased. Stores find nothing by a part of its key, so what is not listed here is found by nobody who lacks its id.
//!
//! The name stands in no key, only a hash of it. Services own nothing of a person's, so nothing of theirs is listed and
//! their turns pay nothing. A conversation is listed when it is made, and again when its record is renewed, so that a
//! store's time to live ends both at once. A response in a conversation is found through its entry there; any other is
//! listed by itself.

use crate::hex::hex;
use crate::key;
use crate::record::{ConversationRecord, read_conversation};
use crate::store::{Store, StoreError, read_counter};
use crate::viewer::{Owner, Viewer};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use waggle_openai::{Nonce, json};

/// How many numbers of a list are read at once.
pub const PAGE_ENTRIES_MAX: u64 = 50;
/// How many bytes of the hash of a name are used: 128 bits, which nobody makes collide with a name that they are given.
const HASH_BYTES: usize = 16;

/// What can be owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A conversation.
    Conversation,
    /// A conversation that is a session.
    Session,
    /// Responses that stand in no conversation.
    Response,
    /// Responses that are made in the background, listed before they are. One that has joined a conversation is found
    /// there as well.
    Background,
    /// What was answered under an idempotency key.
    Answer,
}

/// The keys of what is erased with a thing of that kind. A conversation is more than its keys: it is taken apart by
/// [`crate::erase`]. A new kind of record that a user can own gets its kind above and its line here.
pub(crate) fn keys(kind: Kind, id: Nonce) -> Vec<String> {
    match kind {
        Kind::Conversation | Kind::Session => {
            vec![key::conversation(id), key::sequence(id), key::summary(id)]
        }
        Kind::Response => vec![key::response(id)],
        // Its events are many: it is taken apart by [`crate::background`].
        Kind::Background => vec![key::response(id), key::state(id), key::request(id)],
        // Found by their hashes.
        Kind::Answer => Vec::new(),
    }
}

/// An entry of an owner's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What they are.
    pub kind: Kind,
    /// Their nonces.
    pub ids: Vec<Nonce>,
    /// The hash of the idempotency key, where it is an answer.
    pub(crate) hash: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ListedView {
    kind: Kind,
    ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

impl Listed {
    /// A conversation.
    pub(crate) fn conversation(nonce: Nonce, session: bool) -> Self {
        let kind = if session { Kind::Session } else { Kind::Conversation };
        Self { kind, ids: vec![nonce], hash: None }
    }

    /// Responses that stand in no conversation, or no more.
    pub(crate) fn responses(nonces: impl IntoIterator<Item = Nonce>) -> Self {
        Self { kind: Kind::Response, ids: nonces.into_iter().collect(), hash: None }
    }

    /// A response that is going to be made.
    pub(crate) fn background(nonce: Nonce) -> Self {
        Self { kind: Kind::Background, ids: vec![nonce], hash: None }
    }

    /// What is answered under the idempotency key of this hash.
    pub(crate) fn answer(hash: String) -> Self {
        Self { kind: Kind::Answer, ids: Vec::new(), hash: Some(hash) }
    }

    fn write(&self) -> Vec<u8> {
        let ids = self.ids.iter().map(Nonce::to_string).collect();
        let mut out = Vec::with_capacity(64 + 28 * self.ids.len());
        json::push(&mut out, &ListedView { kind: self.kind, ids, hash: self.hash.clone() });
        out
    }

    fn read(value: &[u8]) -> Option<Self> {
        let ListedView { kind, ids, hash } = serde_json::from_slice(value).ok()?;
        Some(Self { kind, ids: ids.iter().map(|id| Nonce::parse(id)).collect::<Option<_>>()?, hash })
    }
}

/// What stands for a user in keys; `None` for the services.
fn hash(owner: &Owner) -> Option<String> {
    let digest = Sha256::digest(owner.user()?.as_bytes());
    digest.get(..HASH_BYTES).map(hex)
}

/// The key of an entry; `None` for the services, who have no list.
pub(crate) fn entry_key(owner: &Owner, number: u64) -> Option<String> {
    hash(owner).map(|hash| key::owner_entry(&hash, number))
}

/// Draws the next number of an owner and adds the entry to `pairs`. Returns the number; `None` for the services, for whom
/// nothing is done.
///
/// # Errors
/// The store's.
pub(crate) async fn list<S: Store>(
    store: &S,
    owner: &Owner,
    listed: &Listed,
    pairs: &mut Vec<(String, Vec<u8>)>,
) -> Result<Option<u64>, StoreError> {
    let Some(hash) = hash(owner) else { return Ok(None) };
    let key = key::owner_sequence(&hash);
    let number = u64::try_from(store.increment(&key).await?)
        .map_err(|_| StoreError::Unreadable { key, reason: "the counter is negative".to_owned() })?;
    pairs.push((key::owner_entry(&hash, number), listed.write()));
    Ok(Some(number))
}

/// Whose a conversation's record is and under which number it is listed.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn place_of(key: &str, record: &[u8]) -> Result<(Owner, Option<u64>), StoreError> {
    let (record, owner) = open(key, record)?;
    Ok((owner, record.listed))
}

/// A record as the tenant's services see it, which is whole.
fn open(key: &str, record: &[u8]) -> Result<(ConversationRecord, Owner), StoreError> {
    let unseen = || StoreError::Unreadable { key: key.to_owned(), reason: "it is not seen".to_owned() };
    read_conversation(key, record)?.open(&Viewer::service()).ok_or_else(unseen)
}

/// Adds the entry of a conversation to `pairs` when its record is written anew, and keeps the counter from expiring before
/// it.
///
/// # Errors
/// The store's.
pub(crate) async fn renew<S: Store>(
    store: &S,
    key: &str,
    record: &[u8],
    conversation: Nonce,
    pairs: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), StoreError> {
    let (record, owner) = open(key, record)?;
    let (Some(hash), Some(number)) = (hash(&owner), record.listed) else { return Ok(()) };
    pairs.push((key::owner_entry(&hash, number), Listed::conversation(conversation, record.session).write()));
    let key = key::owner_sequence(&hash);
    if let Some(value) = store.get(&key).await? {
        // Another number that is drawn meanwhile renews it as well.
        store.swap(&key, Some(&value), value.clone()).await?;
    }
    Ok(())
}

/// An owner's list.
#[derive(Debug)]
pub struct Index {
    hash: String,
    /// All up to this number is gone.
    pub floor: u64,
    /// The newest number.
    pub newest: u64,
}

impl Index {
    /// Opens the list of a user; `None` where nothing of theirs was ever listed, and for the services.
    ///
    /// # Errors
    /// The store's.
    pub async fn open<S: Store>(store: &S, owner: &Owner) -> Result<Option<Self>, StoreError> {
        let Some(hash) = hash(owner) else { return Ok(None) };
        let keys = [key::owner_sequence(&hash), key::owner_floor(&hash)];
        let mut values = store.get_many(keys.to_vec()).await?.into_iter();
        let Some(newest) = values.next().flatten() else { return Ok(None) };
        let newest = read_counter(&keys[0], Some(&newest))?;
        let floor = read_counter(&keys[1], values.next().flatten().as_deref())?;
        Ok(Some(Self { hash, floor, newest }))
    }

    /// What stands under the numbers from `oldest` to `newest`, of which there are [`PAGE_ENTRIES_MAX`] at most, oldest
    /// first. One that cannot be read has nothing in it.
    ///
    /// # Errors
    /// The store's.
    pub async fn page<S: Store>(
        &self,
        store: &S,
        oldest: u64,
        newest: u64,
    ) -> Result<Vec<(u64, Option<Listed>)>, StoreError> {
        let newest = newest.min(oldest.saturating_add(PAGE_ENTRIES_MAX - 1));
        if oldest > newest {
            return Ok(Vec::new());
        }
        let keys = (oldest..=newest).map(|number| key::owner_entry(&self.hash, number)).collect();
        let values = store.get_many(keys).await?;
        let found = (oldest..=newest).zip(values);
        Ok(found.filter_map(|(number, value)| Some((number, Listed::read(&value?)))).collect())
    }

    pub(crate) async fn remove<S: Store>(&self, store: &S, numbers: &[u64]) -> Result<(), StoreError> {
        let keys: Vec<String> = numbers.iter().map(|number| key::owner_entry(&self.hash, *number)).collect();
        if keys.is_empty() { Ok(()) } else { store.delete_many(keys).await }
    }

    /// Learns of what was listed meanwhile.
    pub(crate) async fn look_again<S: Store>(&mut self, store: &S) -> Result<(), StoreError> {
        let key = key::owner_sequence(&self.hash);
        self.newest = read_counter(&key, store.get(&key).await?.as_deref())?;
        Ok(())
    }

    /// Notes that all up to `floor` is gone.
    pub(crate) async fn raise_floor<S: Store>(&self, store: &S, floor: u64) -> Result<(), StoreError> {
        store.set_many(vec![(key::owner_floor(&self.hash), floor.to_string().into_bytes())]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_no_key() {
        let owner = |name: &str| Viewer::user(name).unwrap().owner();
        let hash_of = |name: &str| hash(&owner(name)).unwrap();
        assert_eq!(hash_of("ada").len(), 2 * HASH_BYTES);
        // The first half of SHA-256("abc"), FIPS 180-4's example.
        assert_eq!(hash_of("abc"), "ba7816bf8f01cfea414140de5dae2223");
        assert_ne!(hash_of("ada"), hash_of("Ada"));
        assert!(!entry_key(&owner("ada"), 1).unwrap().contains("ada"));
        assert_eq!(entry_key(&Owner::default(), 1), None);
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let nonces = [Nonce::mint(1, 1), Nonce::mint(2, 2)];
        for listed in [
            Listed::conversation(nonces[0], false),
            Listed::conversation(nonces[0], true),
            Listed::responses(nonces),
            Listed::answer("ab".repeat(32)),
        ] {
            assert_eq!(Listed::read(&listed.write()), Some(listed));
        }
        for broken in ["", "{}", r#"{"kind":"response","ids":["x"]}"#, r#"{"kind":"other","ids":[]}"#] {
            assert_eq!(Listed::read(broken.as_bytes()), None, "{broken}");
        }
    }
}
