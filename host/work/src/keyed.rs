//! Work in a key-value store with an atomic swap, which several hosts may share.
//!
//! A tenant's records lie in its own part of the store; a list outside it says which tenants may have work, so that a
//! host that starts need not look at all of them. No swap spans both, so they are kept in step by an order: a tenant
//! is put on the list before its index is opened, and its index is closed before it is taken off. What takes it off
//! names the revision that it saw before it closed the index; who puts it on moves the revision on. So an open index
//! always has its tenant on the list.

use crate::record::{
    INDEX_KEY, Index, Lease, State, Turn, decode, decode_work, encode, encode_work, state_key, work_key,
};
use crate::store::{Added, Claim, Claimed, Held, Listed, Pending, Settle, StoreFailure, Terms, WorkStore};
use crate::work::{Work, WorkId};
use async_trait::async_trait;
use bytes::Bytes;

/// Times a change is worked out anew because another one came in between: each time that one has succeeded.
const CHANGE_ATTEMPTS_MAX: usize = 1_000;

/// Some keys with their values; `None`: the key has none.
pub type Listing = Vec<(String, Option<Bytes>)>;

/// What this needs of a key-value store.
#[async_trait]
pub trait WorkKeys: Send + Sync + 'static {
    /// The values of a tenant's keys, in their order, all seen at one moment.
    async fn get(&self, tenant: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, StoreFailure>;

    /// Makes all changes to a tenant's keys if all of `expected` are so, else none: false. Durable when it returns.
    async fn swap(&self, tenant: &str, expected: Listing, changes: Listing) -> Result<bool, StoreFailure>;

    /// The list of tenants.
    async fn tenants(&self) -> Result<Vec<Listed>, StoreFailure>;

    /// Puts a tenant on the list, or moves its revision on. Durable when it returns.
    async fn enlist(&self, tenant: &str) -> Result<(), StoreFailure>;

    /// Takes a tenant off the list if it has this revision.
    async fn delist(&self, listed: &Listed) -> Result<(), StoreFailure>;

    /// Whether other hosts may use it.
    fn is_shared(&self) -> bool;
}

/// A [`WorkStore`] over [`WorkKeys`].
pub struct KeyedWork<K> {
    keys: K,
    /// This run of this host, as leases name it.
    owner: String,
}

impl<K: WorkKeys> KeyedWork<K> {
    /// `owner` is like that of no other host, and of no earlier run of this one.
    #[must_use]
    pub fn new(keys: K, owner: String) -> Self {
        Self { keys, owner }
    }

    /// The index as it is read and as it is written.
    async fn index(&self, tenant: &str) -> Result<(Option<Bytes>, Option<Index>), StoreFailure> {
        let found = self.keys.get(tenant, &[INDEX_KEY.to_owned()]).await?.pop().flatten();
        let index = found.as_ref().map(|value| decode(INDEX_KEY, value)).transpose()?;
        Ok((found, index))
    }

    /// Changes work of whose state `is_ours` says that it may be: into another state, or, for none, into nothing. Returns
    /// the state as it was written; none if it was not ours, and nothing was changed.
    async fn change(
        &self,
        tenant: &str,
        id: &WorkId,
        is_ours: impl Fn(&State) -> bool + Send + Sync,
        new: Option<State>,
    ) -> Result<Option<Bytes>, StoreFailure> {
        let keys = [INDEX_KEY.to_owned(), state_key(id)];
        let written = new.as_ref().map(encode).transpose()?;
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let mut found = self.keys.get(tenant, &keys).await?.into_iter();
            let mut next = || found.next().flatten();
            let (Some(index), Some(old)) = (next(), next()) else { return Ok(None) };
            if !is_ours(&decode(&keys[1], &old)?) {
                return Ok(None);
            }
            let mut expected = vec![(keys[1].clone(), Some(old))];
            let mut changes = vec![(keys[1].clone(), written.clone())];
            if written.is_none() {
                let mut entries = decode::<Index>(INDEX_KEY, &index)?.entries();
                entries.retain(|(other, _arrived)| other != id);
                expected.push((keys[0].clone(), Some(index)));
                changes.push((keys[0].clone(), Some(encode(&Index::Open(entries))?)));
                changes.push((work_key(id), None));
            }
            if self.keys.swap(tenant, expected, changes).await? {
                return Ok(Some(written.unwrap_or_default()));
            }
            tokio::task::yield_now().await;
        }
        Err(contended())
    }

    /// Whether a state is that of work as it is held, whenever its lease was last renewed: of a renewal that was cut short,
    /// nobody knows whether it was made.
    fn holds(&self, held: &State) -> impl Fn(&State) -> bool + Send + Sync {
        let is_mine = |state: &State| state.lease.as_ref().map(|lease| lease.owner.clone());
        let (attempts, owner) = (held.attempts, is_mine(held));
        move |state| state.attempts == attempts && is_mine(state) == owner
    }
}

#[async_trait]
impl<K: WorkKeys> WorkStore for KeyedWork<K> {
    async fn tenants(&self) -> Result<Vec<Listed>, StoreFailure> {
        self.keys.tenants().await
    }

    async fn pending(&self, tenant: &str) -> Result<Vec<Pending>, StoreFailure> {
        Ok(self.index(tenant).await?.1.map(Index::pending).unwrap_or_default())
    }

    async fn add(
        &self,
        tenant: &str,
        pending: Pending,
        work: &Work,
        pending_max: usize,
    ) -> Result<Added, StoreFailure> {
        let (state, record) = (encode(&State::default())?, encode_work(work)?);
        let Pending { id, arrived_ms } = pending;
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let (old, index) = self.index(tenant).await?;
            let mut entries = match index {
                Some(Index::Open(entries)) => entries,
                None | Some(Index::Closed(_)) => {
                    self.keys.enlist(tenant).await?;
                    Vec::new()
                }
            };
            if entries.len() >= pending_max {
                return Ok(Added::Full);
            }
            entries.push((id.clone(), arrived_ms));
            let changes = vec![
                (INDEX_KEY.to_owned(), Some(encode(&Index::Open(entries))?)),
                (state_key(&id), Some(state.clone())),
                (work_key(&id), Some(record.clone())),
            ];
            if self.keys.swap(tenant, vec![(INDEX_KEY.to_owned(), old)], changes).await? {
                return Ok(Added::Kept);
            }
            tokio::task::yield_now().await;
        }
        Err(contended())
    }

    async fn claim(&self, tenant: &str, id: &WorkId, terms: Terms) -> Result<Claim, StoreFailure> {
        let keys = [state_key(id), work_key(id)];
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let mut found = self.keys.get(tenant, &keys).await?.into_iter();
            let mut next = || found.next().flatten();
            let (Some(old), Some(record)) = (next(), next()) else { return Ok(Claim::Gone) };
            let state: State = decode(&keys[0], &old)?;
            match state.turn(&self.owner, self.keys.is_shared(), &terms) {
                Turn::Later(due_ms) => return Ok(Claim::Later(due_ms)),
                Turn::Spent => {
                    let work = decode_work(&keys[1], &record)?;
                    if self.change(tenant, id, |current| *current == state, None).await?.is_some() {
                        return Ok(Claim::Spent(Box::new(work)));
                    }
                }
                Turn::Now(new) => {
                    let work = decode_work(&keys[1], &record)?;
                    let attempt = new.attempts;
                    let changed = self.change(tenant, id, |current| *current == state, Some(new)).await?;
                    if let Some(held) = changed.map(Held) {
                        return Ok(Claim::Claimed(Box::new(Claimed { work, attempt, held })));
                    }
                }
            }
        }
        Err(contended())
    }

    async fn renew(
        &self,
        tenant: &str,
        id: &WorkId,
        held: &Held,
        until_ms: u64,
    ) -> Result<Option<Held>, StoreFailure> {
        let state: State = decode(&state_key(id), &held.0)?;
        let lease = Some(Lease { owner: self.owner.clone(), until_ms });
        let renewed = State { lease, ..state.clone() };
        Ok(self.change(tenant, id, self.holds(&state), Some(renewed)).await?.map(Held))
    }

    async fn settle(
        &self,
        tenant: &str,
        id: &WorkId,
        held: &Held,
        outcome: Settle,
    ) -> Result<bool, StoreFailure> {
        let state: State = decode(&state_key(id), &held.0)?;
        let new = match outcome {
            Settle::Remove => None,
            Settle::Again(not_before_ms) => Some(State { not_before_ms, lease: None, ..state }),
            Settle::GiveBack => {
                Some(State { attempts: state.attempts.saturating_sub(1), lease: None, ..state })
            }
        };
        Ok(self.change(tenant, id, self.holds(&state), new).await?.is_some())
    }

    async fn release(&self, listed: &Listed, is_gone: bool) -> Result<(), StoreFailure> {
        let (old, index) = self.index(&listed.tenant).await?;
        let is_closed = match index {
            Some(Index::Open(entries)) if !entries.is_empty() => false,
            // Nobody can hand over work for a tenant that is gone, and an erased part stays empty.
            None if is_gone => true,
            // A closed one is closed anew: somebody may have put the tenant on the list since, and is about to open it.
            None | Some(Index::Open(_) | Index::Closed(_)) => {
                let key = INDEX_KEY.to_owned();
                let new = vec![(key.clone(), Some(encode(&Index::closed())?))];
                self.keys.swap(&listed.tenant, vec![(key, old)], new).await?
            }
        };
        if is_closed { self.keys.delist(listed).await } else { Ok(()) }
    }

    fn is_shared(&self) -> bool {
        self.keys.is_shared()
    }
}

fn contended() -> StoreFailure {
    StoreFailure::new(format!("other changes came in between {CHANGE_ATTEMPTS_MAX} times"))
}
