//! Taking a file out of a vector store: out of its indexes, then out of the store, and last out of the list.

use super::work::{Step, index_name};
use crate::blob::erase_row;
use crate::key;
use crate::problem::Problem;
use crate::record::{File, Member, MemberEntry, Wish};
use crate::recorded::{self, Recorded};
use crate::roster::Roster;
use crate::service::Service;
use waggle_conversation::{Store, StoreError};
use waggle_index::{Index, IndexError};
use waggle_model::transport::Upstream;
use waggle_openai::{FileId, Nonce, VectorStoreId};
use waggle_platform::Platform;

/// What is not there is gone.
pub(crate) fn or_gone(done: Result<(), IndexError>) -> Result<(), IndexError> {
    match done {
        Err(IndexError::NoSuchIndex | IndexError::NoSuchGroup) => Ok(()),
        done => done,
    }
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// Does what is left to do about a file that is not to be found any more.
    ///
    /// # Errors
    /// Store or index failed.
    pub(super) async fn forget(
        &self,
        store: VectorStoreId,
        generations: &[u32],
        page: u32,
        entry: &MemberEntry,
    ) -> Result<Step, Problem> {
        let key = key::member(store.0, entry.id);
        let record: Option<Recorded<Member>> = recorded::read(&self.store, &key).await?;
        let is_newer = record.is_some_and(|record| record.value.version != entry.version);
        let group = FileId(entry.id).to_string();
        for generation in generations {
            let index = index_name(store, *generation);
            // What was published of a later addition of the same file stays.
            let done = match is_newer {
                true => self.index.discard(&index, &group, entry.version).await,
                false => self.index.remove(&index, vec![group.clone()]).await,
            };
            or_gone(done)?;
        }
        self.erase_pages(store, entry).await?;
        let roster = Roster::new(&self.store, key::members(store.0));
        let same = |other: &MemberEntry| other.id == entry.id && other.version == entry.version;
        if entry.wish == Wish::Removing {
            if !is_newer {
                self.leave(store, entry.id).await?;
                self.store.delete_many(vec![key]).await?;
            }
            roster
                .update(page, |entries: &mut Vec<MemberEntry>| {
                    entries.retain(|other| !same(other));
                    true
                })
                .await?;
        } else {
            roster
                .update(page, |entries: &mut Vec<MemberEntry>| {
                    let Some(found) = entries.iter_mut().find(|other| same(other)) else { return false };
                    let is_cancelling = found.wish == Wish::Cancelling;
                    if is_cancelling {
                        found.wish = Wish::Cancelled;
                        found.published.clear();
                        found.bytes = 0;
                    }
                    is_cancelling
                })
                .await?;
        }
        Ok(Step::Done)
    }

    /// Deletes the chunks of a file that wait.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn erase_pages(
        &self,
        store: VectorStoreId,
        entry: &MemberEntry,
    ) -> Result<(), StoreError> {
        let page = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        erase_row(&self.store, |number| key::chunks(store.0, entry.id, entry.version, page(number))).await
    }

    /// Takes a vector store off the list of those that a file is in.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn leave(&self, store: VectorStoreId, file: Nonce) -> Result<(), StoreError> {
        recorded::change(&self.store, key::file(file), |file: &mut File| {
            let count = file.stores.len();
            file.stores.retain(|other| *other != store.0);
            file.stores.len() < count
        })
        .await?;
        Ok(())
    }
}
