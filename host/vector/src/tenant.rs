//! The indexes of one tenant, within the bounds of the interface and the tenant's own.

use crate::{
    Attribute, Chunk, Description, Group, Hit, IndexName, PAGE_MAX, Query, Settings, Usage, VectorError,
    VectorIndexes,
    bounds::{
        check_attributes, check_chunks, check_group_name, check_group_names, check_query, check_read_count,
        check_searched, check_settings, text_bytes,
    },
};
use std::{fmt, sync::Arc};

/// What a tenant may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantBounds {
    /// Bytes of all its indexes, as [`Usage::bytes`] counts them; `None`: no bound. Concurrent calls may exceed it by what
    /// each brings.
    pub bytes_max: Option<u64>,
    /// Indexes.
    pub indexes_max: u32,
}

/// The indexes of one tenant. There is no method by which another's could be reached.
///
/// Each method is the function of `waggle:vector@0.1.0` of the same name, and holds what it is given against every bound
/// that stands there before a backend is asked.
pub struct TenantIndexes {
    indexes: Arc<dyn VectorIndexes>,
    tenant: Arc<str>,
    bounds: TenantBounds,
}

impl fmt::Debug for TenantIndexes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("TenantIndexes");
        shown.field("tenant", &self.tenant).field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl TenantIndexes {
    /// Those of `tenant`, wherever they are kept.
    #[must_use]
    pub fn new(indexes: Arc<dyn VectorIndexes>, tenant: &str, bounds: TenantBounds) -> Self {
        Self { indexes, tenant: tenant.into(), bounds }
    }

    /// Makes an index.
    ///
    /// # Errors
    /// [`VectorError::Invalid`] if there is one of other settings; [`VectorError::Full`] if there are as many as may be.
    pub async fn create(&self, index: &str, settings: Settings) -> Result<(), VectorError> {
        let index = IndexName::parse(index)?;
        check_settings(settings)?;
        let used = self.usage().await?.indexes;
        if used >= u64::from(self.bounds.indexes_max) {
            // One that is there may be made again.
            return match self.indexes.describe(&self.tenant, &index).await {
                Err(VectorError::NoSuchIndex) => Err(VectorError::Full(format!(
                    "there are {used} indexes; there may be {}",
                    self.bounds.indexes_max
                ))),
                Err(error) => Err(error),
                Ok(_there) => self.indexes.create(&self.tenant, &index, settings).await,
            };
        }
        self.indexes.create(&self.tenant, &index, settings).await
    }

    /// What an index holds.
    ///
    /// # Errors
    /// [`VectorError::NoSuchIndex`].
    pub async fn describe(&self, index: &str) -> Result<Description, VectorError> {
        self.indexes.describe(&self.tenant, &IndexName::parse(index)?).await
    }

    /// Names of indexes in the order of their bytes, after `after`; at most `limit`, and at most 1,000.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn list_indexes(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, VectorError> {
        self.indexes.list_indexes(&self.tenant, after, limit.min(PAGE_MAX)).await
    }

    /// Removes an index with all it holds. Where there is none, nothing happens.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn drop_index(&self, index: &str) -> Result<(), VectorError> {
        self.indexes.drop_index(&self.tenant, &IndexName::parse(index)?).await
    }

    /// Adds chunks to a version of a group that is not published yet.
    ///
    /// # Errors
    /// [`VectorError::Full`] if the tenant's bytes are used up; [`VectorError::Invalid`] if a newer version is published.
    pub async fn stage(
        &self,
        index: &str,
        group: &str,
        version: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), VectorError> {
        let index = IndexName::parse(index)?;
        check_group_name(group)?;
        check_chunks(&chunks)?;
        self.check_room(&chunks).await?;
        self.indexes.stage(&self.tenant, &index, group, version, chunks).await
    }

    async fn check_room(&self, chunks: &[Chunk]) -> Result<(), VectorError> {
        let Some(most) = self.bounds.bytes_max else { return Ok(()) };
        let vectors = chunks.iter().filter_map(|chunk| chunk.vector.as_deref());
        let vector_bytes: usize = vectors.map(size_of_val).sum();
        let more = (chunks.iter().map(text_bytes).sum::<usize>() + vector_bytes) as u64;
        let used = self.usage().await?.bytes;
        if used.saturating_add(more) <= most {
            return Ok(());
        }
        Err(VectorError::Full(format!(
            "{used} bytes are stored, and this would add {more}; there may be {most}"
        )))
    }

    /// How many chunks of the version are staged, counted from 0 to the first that is missing.
    ///
    /// # Errors
    /// [`VectorError::NoSuchIndex`].
    pub async fn staged(&self, index: &str, group: &str, version: u64) -> Result<u32, VectorError> {
        let index = IndexName::parse(index)?;
        check_group_name(group)?;
        self.indexes.staged(&self.tenant, &index, group, version).await
    }

    /// Makes the version the one that is found.
    ///
    /// # Errors
    /// [`VectorError::Invalid`] if it has not exactly the chunks from 0 to `chunks` - 1.
    pub async fn publish(
        &self,
        index: &str,
        group: &str,
        version: u64,
        chunks: u32,
        attributes: Vec<Attribute>,
    ) -> Result<(), VectorError> {
        let index = IndexName::parse(index)?;
        check_group_name(group)?;
        check_attributes(&attributes)?;
        self.indexes.publish(&self.tenant, &index, group, version, chunks, attributes).await
    }

    /// Forgets what was staged of the version.
    ///
    /// # Errors
    /// [`VectorError::NoSuchIndex`].
    pub async fn discard(&self, index: &str, group: &str, version: u64) -> Result<(), VectorError> {
        let index = IndexName::parse(index)?;
        check_group_name(group)?;
        self.indexes.discard(&self.tenant, &index, group, version).await
    }

    /// Removes groups, published and staged. Those that are not there are skipped.
    ///
    /// # Errors
    /// [`VectorError::NoSuchIndex`].
    pub async fn remove(&self, index: &str, groups: Vec<String>) -> Result<(), VectorError> {
        let index = IndexName::parse(index)?;
        check_group_names(&groups)?;
        self.indexes.remove(&self.tenant, &index, groups).await
    }

    /// Gives a published group other attributes, in place of all it has.
    ///
    /// # Errors
    /// [`VectorError::NoSuchGroup`].
    pub async fn set_attributes(
        &self,
        index: &str,
        group: &str,
        attributes: Vec<Attribute>,
    ) -> Result<(), VectorError> {
        let index = IndexName::parse(index)?;
        check_group_name(group)?;
        check_attributes(&attributes)?;
        self.indexes.set_attributes(&self.tenant, &index, group, attributes).await
    }

    /// Published groups in the order of their names' bytes, after `after`; at most `limit`, and at most 1,000.
    ///
    /// # Errors
    /// [`VectorError::NoSuchIndex`].
    pub async fn list_groups(
        &self,
        index: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Group>, VectorError> {
        let index = IndexName::parse(index)?;
        self.indexes.list_groups(&self.tenant, &index, after, limit.min(PAGE_MAX)).await
    }

    /// Chunks of a published group, without their vectors.
    ///
    /// # Errors
    /// [`VectorError::NoSuchGroup`]; [`VectorError::Invalid`] if `count` is over 256.
    pub async fn read(
        &self,
        index: &str,
        group: &str,
        start: u32,
        count: u32,
    ) -> Result<Vec<Chunk>, VectorError> {
        let index = IndexName::parse(index)?;
        check_group_name(group)?;
        check_read_count(count)?;
        self.indexes.read(&self.tenant, &index, group, start, count).await
    }

    /// Searches up to 16 indexes as if they were one.
    ///
    /// # Errors
    /// [`VectorError::NoSuchIndex`] if one is not there; [`VectorError::Invalid`] if one has other dimensions than the
    /// query's vector.
    pub async fn search<Name: AsRef<str>>(
        &self,
        indexes: &[Name],
        query: Query,
    ) -> Result<Vec<Hit>, VectorError> {
        check_searched(indexes.len())?;
        check_query(&query)?;
        let names: Result<Vec<_>, _> = indexes.iter().map(|name| IndexName::parse(name.as_ref())).collect();
        self.indexes.search(&self.tenant, &names?, query).await
    }

    /// What the tenant has.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn usage(&self) -> Result<Usage, VectorError> {
        self.indexes.usage(&self.tenant).await
    }
}
