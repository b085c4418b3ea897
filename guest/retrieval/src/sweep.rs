//! Deleting a vector store: nobody sees it from the moment its record says so; what it had goes in steps.

use crate::ingest::{index_name, or_gone};
use crate::key;
use crate::plan::LANES;
use crate::problem::Problem;
use crate::record::{BatchEntry, MemberEntry, StoreEntry, StoreRecord};
use crate::recorded::{self, Recorded};
use crate::roster::Roster;
use crate::route::WorkRoute;
use crate::service::{Beside, Service};
use waggle_conversation::{Store, Viewer};
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::VectorStoreId;
use waggle_platform::Platform;

/// How many files go in one delivery.
const FILES_MAX: usize = 256;

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// Serves a delivery: a part of what is left of a vector store goes, and the rest is called for.
    ///
    /// # Errors
    /// The host is to deliver the work again.
    pub(crate) async fn deliver_sweep(&self, viewer: &Viewer, store: VectorStoreId) -> Result<(), Problem> {
        self.sweep(viewer, store, &mut Beside::new()).await
    }

    /// Deletes a part of a vector store that is to go.
    ///
    /// # Errors
    /// Store or index failed; nobody takes the rest.
    pub(crate) async fn sweep(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        beside: &mut Beside,
    ) -> Result<(), Problem> {
        let key = key::store(store.0);
        let record: Option<Recorded<StoreRecord>> = recorded::read(&self.store, &key).await?;
        let Some(record) = record.map(|record| record.value) else { return Ok(()) };
        if !record.deleting || !viewer.sees(&record.user) {
            return Ok(());
        }
        self.drop_indexes(store, &record).await?;
        let members = Roster::new(&self.store, key::members(store.0));
        let entries: Vec<(u32, MemberEntry)> = members.all().await?;
        for (page, entry) in entries.iter().take(FILES_MAX) {
            self.erase_pages(store, entry).await?;
            self.leave(store, entry.id).await?;
            self.store.delete_many(vec![key::member(store.0, entry.id)]).await?;
            members
                .update(*page, |entries: &mut Vec<MemberEntry>| {
                    entries.retain(|other| other.id != entry.id || other.version != entry.version);
                    true
                })
                .await?;
        }
        if entries.len() > FILES_MAX {
            return self.hand_over(WorkRoute::Sweep(store), beside).await;
        }
        members.delete().await?;
        let batches = Roster::new(&self.store, key::batches(store.0));
        let batch_keys: Vec<(u32, BatchEntry)> = batches.all().await?;
        let batch_keys = batch_keys.into_iter().map(|(_, entry)| key::batch(store.0, entry.id));
        let lane_keys = (0..LANES).map(|lane| key::lane(store.0, lane));
        self.store.delete_many(batch_keys.chain(lane_keys).collect()).await?;
        batches.delete().await?;
        // Somebody may have been about to make one while the first were dropped.
        self.drop_indexes(store, &record).await?;
        self.unlist(&record, store).await?;
        self.store.delete_many(vec![key]).await?;
        Ok(())
    }

    async fn drop_indexes(&self, store: VectorStoreId, record: &StoreRecord) -> Result<(), Problem> {
        let newest = record.target().map_or(0, |target| target.generation).max(record.generation());
        let used = record.retired.iter().copied().chain(record.embedding.as_ref().map(|old| old.generation));
        let mut generations: Vec<u32> =
            used.chain([newest, newest + 1]).filter(|number| *number > 0).collect();
        generations.sort_unstable();
        generations.dedup();
        for generation in generations {
            or_gone(self.index.drop_index(&index_name(store, generation)).await)?;
        }
        Ok(())
    }

    async fn unlist(&self, record: &StoreRecord, store: VectorStoreId) -> Result<(), Problem> {
        let roster = Roster::new(&self.store, key::stores(&key::owner(&record.user)));
        roster
            .update(record.page, |entries: &mut Vec<StoreEntry>| {
                entries.retain(|entry| entry.id != store.0);
                true
            })
            .await?;
        Ok(())
    }
}
