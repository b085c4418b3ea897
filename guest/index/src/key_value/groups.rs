//! The groups of one index in the store: their records read, and changed by a swap.

use super::record::{Shard, Waste};
use super::store::{delete, delete_keys, failed};
use crate::key::{self, GROUP_SHARDS};
use crate::{IndexError, Settings};
use waggle_conversation::Store;
use waggle_conversation::store::SWAPS_MAX;

/// A record takes no change that lets it grow beyond this: some key-value stores under Spin take a megabyte.
pub(crate) const SHARD_BYTES_MAX: usize = 900 * 1_000;

/// An index that there is.
pub(super) struct Groups<'a, S> {
    pub(super) store: &'a S,
    /// Its number.
    pub(super) index: u64,
    pub(super) settings: Settings,
}

impl<S: Store> Groups<'_, S> {
    /// All records, and what they take together.
    pub(super) async fn all(&self) -> Result<(Vec<Shard>, u64), IndexError> {
        let keys: Vec<String> = (0..GROUP_SHARDS).map(|shard| key::groups(self.index, shard)).collect();
        let values = self.store.get_many(keys.clone()).await.map_err(failed)?;
        let bytes = values.iter().flatten().map(|value| value.len() as u64).sum();
        let read = keys.iter().zip(&values).map(|(key, value)| Shard::read(key, value.as_deref()));
        Ok((read.collect::<Result<_, _>>()?, bytes))
    }

    /// The record that a group stands in, if there is that group.
    pub(super) async fn of(&self, group: &str) -> Result<Shard, IndexError> {
        let key = key::groups_of(self.index, group);
        let value = self.store.get(&key).await.map_err(failed)?;
        Shard::read(&key, value.as_deref())
    }

    /// Changes the record of a group, all at once or not at all, and deletes the pages that nothing leads to any more.
    ///
    /// # Errors
    /// Those of `change`; [`IndexError::Full`]: the record would be too large; the store's.
    pub(super) async fn change(
        &self,
        group: &str,
        change: impl FnMut(&mut Shard) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let key = key::groups_of(self.index, group);
        let waste = self.swap(&key, change).await?;
        // What was changed is changed, whether the waste goes now or with the next change.
        let _kept_for_later = self.clean(&key, waste).await;
        Ok(())
    }

    /// Returns what is to be deleted.
    async fn swap(
        &self,
        key: &str,
        mut change: impl FnMut(&mut Shard) -> Result<(), IndexError>,
    ) -> Result<Vec<Waste>, IndexError> {
        for _ in 0..SWAPS_MAX {
            let before = self.store.get(key).await.map_err(failed)?;
            let old = Shard::read(key, before.as_deref())?;
            let mut new = old.clone();
            change(&mut new)?;
            if new == old {
                return Ok(new.waste);
            }
            let after = serde_json::to_vec(&new).map_err(|error| IndexError::Other(error.to_string()))?;
            if after.len() > SHARD_BYTES_MAX
                && before.as_ref().is_none_or(|before| after.len() > before.len())
            {
                return Err(IndexError::Full(format!(
                    "the groups beside this one take {SHARD_BYTES_MAX} bytes, without their chunks"
                )));
            }
            if self.store.swap(key, before.as_deref(), after).await.map_err(failed)? {
                return Ok(new.waste);
            }
        }
        Err(IndexError::Unavailable(format!("others changed '{key}' {SWAPS_MAX} times in a row")))
    }

    async fn clean(&self, key: &str, waste: Vec<Waste>) -> Result<(), IndexError> {
        if waste.is_empty() {
            return Ok(());
        }
        delete(self.store, self.index, &waste).await?;
        let deleted = |shard: &mut Shard| {
            shard.waste.retain(|kept| !waste.contains(kept));
            Ok(())
        };
        self.swap(key, deleted).await.map(drop)
    }

    /// Deletes all that the index has.
    pub(super) async fn erase(&self) -> Result<(), IndexError> {
        for number in 0..GROUP_SHARDS {
            let key = key::groups(self.index, number);
            let Some(value) = self.store.get(&key).await.map_err(failed)? else { continue };
            // Of a record that cannot be read, the pages stay: nothing says which they are.
            if let Ok(mut shard) = Shard::read(&key, Some(&value)) {
                let groups: Vec<String> = shard.groups.keys().cloned().collect();
                groups.iter().for_each(|group| shard.remove(group));
                delete(self.store, self.index, &shard.waste).await?;
            }
            delete_keys(self.store, vec![key]).await?;
        }
        Ok(())
    }
}
