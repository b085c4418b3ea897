//! Indexes in a folder of this machine. How they are made, and why so, stands in docs/decisions/0021-indexes.md.
//!
//! Calls wait here for a place among those that compute or write, and run on threads that may block.

mod best;
mod catalog;
mod checkpoint;
mod codec;
mod codes;
mod durable;
mod graph;
mod graph_build;
mod keeper;
mod lexical;
mod loaded;
mod log;
mod merging;
mod names;
mod opening;
mod operation;
mod pages;
mod part;
mod pool;
mod scoring;
mod search;
mod segment;
mod snapshot;
mod state;
mod upkeep;

use crate::bounds::{
    check_attributes, check_chunks, check_group_name, check_group_names, check_query, check_read_count,
    check_searched, check_settings,
};
use crate::{
    Attribute, Chunk, Description, EmbeddedConfig, Group, Hit, IndexName, OpenError, Operation, PAGE_MAX,
    Query, Settings, Usage, VectorError, VectorIndexes, VectorSnapshot,
};
use async_trait::async_trait;
use catalog::{Catalog, blocking};
use keeper::{Keeper, Queue};
use loaded::Loaded;
use pool::Pool;
use std::{
    fs::{self, File, TryLockError},
    path::Path,
    sync::Arc,
};

const LOCK_NAME: &str = "lock";
/// Changes that are under way at once: most of their time they wait for the device, together.
const CHANGES_MAX: usize = 64;

/// Indexes in a folder of this machine, which no other process has open. Dropping it ends what is done in the background.
pub struct Embedded {
    catalog: Arc<Catalog>,
    config: Arc<EmbeddedConfig>,
    /// For what computes: searches, and the segmenting of texts.
    computing: Pool,
    /// For what appends to logs and waits for the device.
    changing: Pool,
    _keeper: Keeper,
}

impl Embedded {
    /// Opens the folder, which is made if it is not there. No index is read yet.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if another process has it open; [`OpenError::Io`].
    pub fn open(folder: &Path, config: EmbeddedConfig) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::create(folder.join(LOCK_NAME)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        catalog::clean(folder).map_err(failed)?;
        let config = Arc::new(config);
        let queue = Arc::new(Queue::default());
        let catalog = Arc::new(Catalog::new(folder, lock, Arc::clone(&config), queue));
        let keeper = Keeper::start(&catalog).map_err(failed)?;
        Ok(Self {
            catalog,
            computing: Pool::new(config.search_threads),
            changing: Pool::new(CHANGES_MAX),
            config,
            _keeper: keeper,
        })
    }

    /// Does at once what is otherwise done in the background when an index rests: merges its parts, builds its graph, writes
    /// it, and gives back the space of what is gone.
    ///
    /// # Errors
    /// [`VectorError::NoSuchIndex`], and those of the files.
    pub async fn settle(&self, tenant: &str, index: &IndexName) -> Result<(), VectorError> {
        let loaded = self.catalog.loaded(tenant, index).await?;
        blocking(move || loaded.settle()).await
    }

    async fn changed(
        &self,
        tenant: &str,
        index: &IndexName,
        change: impl FnOnce(&Loaded) -> Result<u64, VectorError> + Send + 'static,
    ) -> Result<(), VectorError> {
        let loaded = self.catalog.loaded(tenant, index).await?;
        self.change(loaded, change).await
    }

    async fn change(
        &self,
        loaded: Arc<Loaded>,
        change: impl FnOnce(&Loaded) -> Result<u64, VectorError> + Send + 'static,
    ) -> Result<(), VectorError> {
        let queue = Arc::clone(&self.catalog.queue);
        let work = move || {
            let sequence = change(&loaded)?;
            queue.look_at(&loaded);
            loaded.durability.wait(sequence)
        };
        self.changing.run(work).await
    }

    async fn stage_chunks(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), VectorError> {
        check_group_name(group)?;
        check_chunks(&chunks)?;
        let loaded = self.catalog.loaded(tenant, index).await?;
        let preparing = Arc::clone(&loaded);
        let prepared = self.computing.run(move || preparing.prepare(&chunks)).await?;
        let group = group.to_owned();
        self.change(loaded, move |loaded| loaded.stage(&group, version, prepared)).await
    }

    async fn search_indexes(
        &self,
        tenant: &str,
        indexes: &[IndexName],
        query: Query,
    ) -> Result<Vec<Hit>, VectorError> {
        check_searched(indexes.len())?;
        check_query(&query)?;
        let mut loaded = Vec::with_capacity(indexes.len());
        for index in indexes {
            loaded.push(self.catalog.loaded(tenant, index).await?);
        }
        let config = Arc::clone(&self.config);
        let work = move || {
            let snapshots: Vec<_> = loaded.iter().map(|loaded| loaded.snapshot.load_full()).collect();
            search::search(&snapshots, &query, &config)
        };
        self.computing.run(work).await
    }
}

#[async_trait]
impl VectorIndexes for Embedded {
    async fn create(&self, tenant: &str, index: &IndexName, settings: Settings) -> Result<(), VectorError> {
        let work = async {
            check_settings(settings)?;
            self.catalog.create(tenant, index, settings).await
        };
        self.catalog.metrics.measured(Operation::Create, work).await
    }

    async fn describe(&self, tenant: &str, index: &IndexName) -> Result<Description, VectorError> {
        let work = async { Ok(self.catalog.loaded(tenant, index).await?.describe()) };
        self.catalog.metrics.measured(Operation::Describe, work).await
    }

    async fn list_indexes(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, VectorError> {
        let work = self.catalog.names(tenant, after, limit.min(PAGE_MAX) as usize);
        self.catalog.metrics.measured(Operation::ListIndexes, work).await
    }

    async fn drop_index(&self, tenant: &str, index: &IndexName) -> Result<(), VectorError> {
        let work = self.catalog.drop_index(tenant, index);
        self.catalog.metrics.measured(Operation::DropIndex, work).await
    }

    async fn stage(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), VectorError> {
        let work = self.stage_chunks(tenant, index, group, version, chunks);
        self.catalog.metrics.measured(Operation::Stage, work).await
    }

    async fn staged(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
    ) -> Result<u32, VectorError> {
        let group = group.to_owned();
        let work = async {
            let loaded = self.catalog.loaded(tenant, index).await?;
            blocking(move || Ok(loaded.staged(&group, version))).await
        };
        self.catalog.metrics.measured(Operation::Staged, work).await
    }

    async fn publish(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
        chunks: u32,
        attributes: Vec<Attribute>,
    ) -> Result<(), VectorError> {
        let name = group.to_owned();
        let work = async {
            check_group_name(group)?;
            check_attributes(&attributes)?;
            let publish = move |loaded: &Loaded| loaded.publish(&name, version, chunks, &attributes);
            self.changed(tenant, index, publish).await
        };
        self.catalog.metrics.measured(Operation::Publish, work).await
    }

    async fn discard(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
    ) -> Result<(), VectorError> {
        let group = group.to_owned();
        let work = self.changed(tenant, index, move |loaded| loaded.discard(&group, version));
        self.catalog.metrics.measured(Operation::Discard, work).await
    }

    async fn remove(&self, tenant: &str, index: &IndexName, groups: Vec<String>) -> Result<(), VectorError> {
        let work = async {
            check_group_names(&groups)?;
            self.changed(tenant, index, move |loaded| loaded.remove(&groups)).await
        };
        self.catalog.metrics.measured(Operation::Remove, work).await
    }

    async fn set_attributes(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        attributes: Vec<Attribute>,
    ) -> Result<(), VectorError> {
        let group = group.to_owned();
        let work = async {
            check_attributes(&attributes)?;
            self.changed(tenant, index, move |loaded| loaded.set_attributes(&group, &attributes)).await
        };
        self.catalog.metrics.measured(Operation::SetAttributes, work).await
    }

    async fn list_groups(
        &self,
        tenant: &str,
        index: &IndexName,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Group>, VectorError> {
        let after = after.map(str::to_owned);
        let work = async {
            let loaded = self.catalog.loaded(tenant, index).await?;
            blocking(move || Ok(loaded.list_groups(after.as_deref(), limit.min(PAGE_MAX)))).await
        };
        self.catalog.metrics.measured(Operation::ListGroups, work).await
    }

    async fn read(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        start: u32,
        count: u32,
    ) -> Result<Vec<Chunk>, VectorError> {
        let group = group.to_owned();
        let work = async {
            check_read_count(count)?;
            let loaded = self.catalog.loaded(tenant, index).await?;
            blocking(move || loaded.read(&group, start, count)).await
        };
        self.catalog.metrics.measured(Operation::Read, work).await
    }

    async fn search(
        &self,
        tenant: &str,
        indexes: &[IndexName],
        query: Query,
    ) -> Result<Vec<Hit>, VectorError> {
        let work = self.search_indexes(tenant, indexes, query);
        self.catalog.metrics.measured(Operation::Search, work).await
    }

    async fn erase(&self, tenant: &str) -> Result<(), VectorError> {
        self.catalog.erase(tenant).await
    }

    async fn usage(&self, tenant: &str) -> Result<Usage, VectorError> {
        self.catalog.usage(tenant).await
    }

    async fn check(&self) -> Result<(), String> {
        let catalog = Arc::clone(&self.catalog);
        let checked = blocking(move || catalog.check().map_err(VectorError::Other)).await;
        checked.map_err(|error| error.to_string())
    }

    fn metrics(&self) -> VectorSnapshot {
        let (chunks, bytes) = self.catalog.in_memory();
        self.catalog.metrics.snapshot(chunks, bytes)
    }
}
