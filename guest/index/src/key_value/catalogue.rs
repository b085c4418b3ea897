//! Which indexes there are. Their names are spread over a few values, each changed by a swap: an index is there when its
//! name is, and gone when that is gone. What an index that is gone has left is deleted afterwards; until then the value
//! says so, and the next change of it goes on.

use super::groups::Groups;
use super::record::Shard;
use super::store::failed;
use crate::bounds::{INDEXES_MAX, invalid};
use crate::key::{self, CATALOGUE_BUCKETS};
use crate::{IndexError, Settings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use waggle_conversation::Store;
use waggle_conversation::store::SWAPS_MAX;

/// Some of the indexes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bucket {
    /// By name.
    indexes: BTreeMap<String, Entry>,
    /// The numbers of indexes that are gone and not deleted yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<u64>,
}

/// An index: its number, by which its keys begin, and what is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    number: u64,
    dimensions: u32,
}

impl Bucket {
    fn read(key: &str, value: Option<&[u8]>) -> Result<Self, IndexError> {
        let Some(value) = value else { return Ok(Self::default()) };
        serde_json::from_slice(value)
            .map_err(|error| IndexError::Damaged(format!("the record at '{key}' cannot be read: {error}")))
    }
}

/// The index of this name.
pub(super) async fn open<'a, S: Store>(store: &'a S, index: &str) -> Result<Groups<'a, S>, IndexError> {
    let key = key::catalogue_of(index);
    let value = store.get(&key).await.map_err(failed)?;
    let bucket = Bucket::read(&key, value.as_deref())?;
    let entry = bucket.indexes.get(index).ok_or(IndexError::NoSuchIndex)?;
    Ok(groups(store, entry))
}

/// The indexes of these names, in their order.
pub(super) async fn open_all<'a, S: Store>(
    store: &'a S,
    indexes: &[&str],
) -> Result<Vec<Groups<'a, S>>, IndexError> {
    let keys: Vec<String> = indexes.iter().map(|index| key::catalogue_of(index)).collect();
    // A store need not answer twice to a key that is asked for twice.
    let mut different = keys.clone();
    different.sort_unstable();
    different.dedup();
    let values = store.get_many(different.clone()).await.map_err(failed)?;
    let buckets = different.into_iter().zip(values).map(|(key, value)| {
        let bucket = Bucket::read(&key, value.as_deref())?;
        Ok((key, bucket))
    });
    let buckets: BTreeMap<String, Bucket> = buckets.collect::<Result<_, IndexError>>()?;
    let opened = indexes.iter().zip(&keys).map(|(index, key)| {
        let entry = buckets.get(key).and_then(|bucket| bucket.indexes.get(*index));
        entry.map(|entry| groups(store, entry)).ok_or(IndexError::NoSuchIndex)
    });
    opened.collect()
}

/// An index with all its records, and what those take together.
pub(super) struct Opened<'a, S> {
    pub(super) groups: Groups<'a, S>,
    pub(super) shards: Vec<Shard>,
    pub(super) bytes: u64,
}

/// The indexes of these names with all their records, as they were while there were these indexes: none is half deleted.
pub(super) async fn read_all<'a, S: Store>(
    store: &'a S,
    indexes: &[&str],
) -> Result<Vec<Opened<'a, S>>, IndexError> {
    let numbers = |all: &[Groups<'_, S>]| all.iter().map(|groups| groups.index).collect::<Vec<u64>>();
    for _ in 0..SWAPS_MAX {
        let all = open_all(store, indexes).await?;
        let before = numbers(&all);
        let mut opened = Vec::with_capacity(all.len());
        for groups in all {
            let (shards, bytes) = groups.all().await?;
            opened.push(Opened { groups, shards, bytes });
        }
        // What an index has is deleted when its name is gone.
        if numbers(&open_all(store, indexes).await?) == before {
            return Ok(opened);
        }
    }
    Err(IndexError::Unavailable(format!("others dropped and made an index {SWAPS_MAX} times in a row")))
}

fn groups<'a, S>(store: &'a S, entry: &Entry) -> Groups<'a, S> {
    Groups { store, index: entry.number, settings: Settings { dimensions: entry.dimensions } }
}

/// Makes an index where there is none.
///
/// # Errors
/// [`IndexError::Invalid`]: there is one of other settings. [`IndexError::Full`]: there are too many.
pub(super) async fn create<S: Store>(store: &S, index: &str, settings: Settings) -> Result<(), IndexError> {
    match open(store, index).await {
        Ok(found) => return is_same(found.settings, settings),
        Err(IndexError::NoSuchIndex) => {}
        Err(error) => return Err(error),
    }
    if all(store).await?.len() >= INDEXES_MAX {
        return Err(IndexError::Full(format!("there are {INDEXES_MAX} indexes, which is all there may be")));
    }
    let number = draw(store).await?;
    let entry = Entry { number, dimensions: settings.dimensions };
    let add = |bucket: &mut Bucket| {
        let found = bucket.indexes.entry(index.to_owned()).or_insert(entry);
        is_same(Settings { dimensions: found.dimensions }, settings)
    };
    change(store, index, add).await
}

fn is_same(found: Settings, wanted: Settings) -> Result<(), IndexError> {
    if found == wanted {
        return Ok(());
    }
    Err(invalid(format!("there is an index of this name with {} dimensions", found.dimensions)))
}

/// The next number of the tenant's sequence, which no index and no call has had.
pub(super) async fn draw<S: Store>(store: &S) -> Result<u64, IndexError> {
    let number = store.increment(key::SEQUENCE).await.map_err(failed)?;
    u64::try_from(number)
        .map_err(|_| IndexError::Damaged(format!("the counter '{}' is negative", key::SEQUENCE)))
}

/// Removes an index.
pub(super) async fn drop_index<S: Store>(store: &S, index: &str) -> Result<(), IndexError> {
    let gone = |bucket: &mut Bucket| {
        let number = bucket.indexes.remove(index).map(|entry| entry.number);
        bucket.dropped.extend(number);
        Ok(())
    };
    change(store, index, gone).await
}

/// The names of all indexes, in order.
pub(super) async fn all<S: Store>(store: &S) -> Result<Vec<String>, IndexError> {
    let keys: Vec<String> = (0..CATALOGUE_BUCKETS).map(key::catalogue).collect();
    let values = store.get_many(keys.clone()).await.map_err(failed)?;
    let mut names = Vec::new();
    for (key, value) in keys.iter().zip(&values) {
        names.extend(Bucket::read(key, value.as_deref())?.indexes.into_keys());
    }
    names.sort_unstable();
    Ok(names)
}

/// Changes the value that an index stands in, and deletes what indexes that are gone have left.
async fn change<S: Store>(
    store: &S,
    index: &str,
    change: impl FnMut(&mut Bucket) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let key = key::catalogue_of(index);
    let dropped = swap(store, &key, change).await?;
    // The index is there, or gone, whether what others have left goes now or with the next change.
    let _kept_for_later = clean(store, &key, dropped).await;
    Ok(())
}

/// Returns the numbers of indexes that are to be deleted.
async fn swap<S: Store>(
    store: &S,
    key: &str,
    mut change: impl FnMut(&mut Bucket) -> Result<(), IndexError>,
) -> Result<Vec<u64>, IndexError> {
    for _ in 0..SWAPS_MAX {
        let before = store.get(key).await.map_err(failed)?;
        let old = Bucket::read(key, before.as_deref())?;
        let mut new = old.clone();
        change(&mut new)?;
        if new == old {
            return Ok(new.dropped);
        }
        let after = serde_json::to_vec(&new).map_err(|error| IndexError::Other(error.to_string()))?;
        if store.swap(key, before.as_deref(), after).await.map_err(failed)? {
            return Ok(new.dropped);
        }
    }
    Err(IndexError::Unavailable(format!("others changed '{key}' {SWAPS_MAX} times in a row")))
}

async fn clean<S: Store>(store: &S, key: &str, dropped: Vec<u64>) -> Result<(), IndexError> {
    if dropped.is_empty() {
        return Ok(());
    }
    for number in &dropped {
        groups(store, &Entry { number: *number, dimensions: 0 }).erase().await?;
    }
    let deleted = |bucket: &mut Bucket| {
        bucket.dropped.retain(|kept| !dropped.contains(kept));
        Ok(())
    };
    swap(store, key, deleted).await.map(drop)
}
