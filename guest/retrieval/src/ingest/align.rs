//! A vector store and the embedding model that is configured: its first index, and a new one when the model is another.
//!
//! The new index is filled from the old one while that is still searched, and takes its place by one change of the record.
//! A file that was taken into the old one in that moment is noticed by its entry, which says in which generations it is.

use super::forget::or_gone;
use super::work::index_name;
use crate::key;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::record::{Embedding, StoreRecord};
use crate::recorded;
use crate::roster::Roster;
use crate::service::{Beside, Service, report};
use waggle_conversation::Store;
use waggle_index::{Index, IndexError, Settings};
use waggle_model::transport::Upstream;
use waggle_openai::VectorStoreId;
use waggle_platform::Platform;
use waggle_search::SearchSettings;

/// Whether an index is of the model that is configured.
pub(crate) fn is_of(embedding: &Embedding, settings: &SearchSettings) -> bool {
    match &settings.models.embedding {
        Some(model) => embedding.model == model.name && embedding.asked == model.dimensions,
        None => embedding.dimensions == 0,
    }
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// Makes sure that the vector store has an index of the configured model, or one that is being filled; its record then.
    /// A model that does not answer keeps nobody from going on with the one before.
    ///
    /// # Errors
    /// Store or index failed; there is no index yet and the model does not answer.
    pub(super) async fn align(
        &self,
        store: VectorStoreId,
        record: StoreRecord,
        settings: &SearchSettings,
        beside: &mut Beside,
    ) -> Result<Option<StoreRecord>, Problem> {
        let record = self.drop_retired(store, record).await?;
        let is_aligned = record.target().is_some_and(|target| is_of(target, settings));
        let record = if is_aligned {
            Some(record)
        } else {
            match self.dimensions(settings).await {
                Ok(dimensions) => {
                    if record.embedding.is_none() {
                        self.create_first(store, dimensions).await?;
                    }
                    self.change_model(store, &record, settings, dimensions, beside).await?
                }
                Err(problem) if record.embedding.is_none() => return Err(problem),
                Err(problem) => {
                    let _logged = report(&self.platform, &problem);
                    Some(record)
                }
            }
        };
        if let Some(target) = record.as_ref().and_then(StoreRecord::target) {
            let settings = Settings { dimensions: target.dimensions };
            self.index.create(&index_name(store, target.generation), settings).await?;
        }
        Ok(record)
    }

    /// Makes the first index of a vector store, before its record names it: from then on it is searched.
    async fn create_first(&self, store: VectorStoreId, dimensions: u32) -> Result<(), Problem> {
        let name = index_name(store, 1);
        let created = self.index.create(&name, Settings { dimensions }).await;
        if matches!(created, Err(IndexError::Invalid(_))) {
            // Somebody died who had made it for another model.
            self.index.drop_index(&name).await?;
            return Ok(self.index.create(&name, Settings { dimensions }).await?);
        }
        Ok(created?)
    }

    async fn change_model(
        &self,
        store: VectorStoreId,
        record: &StoreRecord,
        settings: &SearchSettings,
        dimensions: u32,
        beside: &mut Beside,
    ) -> Result<Option<StoreRecord>, Problem> {
        let model = settings.models.embedding.as_ref();
        let begins = record.embedding.is_some();
        let changed = recorded::change(&self.store, key::store(store.0), |record: &mut StoreRecord| {
            if record.deleting || record.target().is_some_and(|target| is_of(target, settings)) {
                return false;
            }
            let newest = record.target().map_or(0, |target| target.generation).max(record.generation());
            let next = Embedding {
                model: model.map(|model| model.name.clone()).unwrap_or_default(),
                asked: model.and_then(|model| model.dimensions),
                dimensions,
                generation: newest + 1,
            };
            record.retired.extend(record.next.take().map(|next| next.generation));
            match &record.embedding {
                None => record.embedding = Some(next),
                // The model is again the one of the index that is searched.
                Some(current) if is_of(current, settings) => {}
                Some(_) => record.next = Some(next),
            }
            true
        });
        let changed = changed.await?;
        if changed.is_stored() && begins {
            self.platform.log(&format!("vector_store={store} its embedding model is another one now"));
            self.call_lanes(store, &(0..crate::plan::LANES).collect::<Vec<_>>(), beside).await?;
        }
        Ok(changed.value().filter(|record| !record.deleting))
    }

    /// Drops indexes whose place another has taken.
    async fn drop_retired(&self, store: VectorStoreId, record: StoreRecord) -> Result<StoreRecord, Problem> {
        if record.retired.is_empty() {
            return Ok(record);
        }
        for generation in &record.retired {
            or_gone(self.index.drop_index(&index_name(store, *generation)).await)?;
        }
        let gone = record.retired.clone();
        let changed = recorded::change(&self.store, key::store(store.0), |record: &mut StoreRecord| {
            let count = record.retired.len();
            record.retired.retain(|generation| !gone.contains(generation));
            record.retired.len() < count
        });
        Ok(changed.await?.value().unwrap_or(record))
    }

    /// Has the index that is coming take its place, if all files are in it.
    ///
    /// # Errors
    /// Store or index failed.
    pub(super) async fn switch(&self, store: VectorStoreId) -> Result<(), Problem> {
        let Some(record) = self.living(store).await? else { return Ok(()) };
        let Some(next) = record.next.clone() else { return Ok(()) };
        let entries = Roster::new(&self.store, key::members(store.0)).all().await?;
        if !Plan::new(entries).is_whole(next.generation) {
            return Ok(());
        }
        let changed = recorded::change(&self.store, key::store(store.0), |record: &mut StoreRecord| {
            let is_same = record.next.as_ref() == Some(&next);
            if is_same {
                record.retired.extend(record.embedding.as_ref().map(|old| old.generation));
                record.embedding = record.next.take();
            }
            is_same
        });
        if let recorded::Changed::Stored(record) = changed.await? {
            self.drop_retired(store, record).await?;
        }
        Ok(())
    }
}
