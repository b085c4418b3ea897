//! The trait that every backend satisfies.

use crate::{
    Attribute, Chunk, Description, Group, Hit, IndexName, Query, Settings, VectorError, VectorSnapshot,
};
use async_trait::async_trait;

/// What a tenant has in all its indexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Indexes.
    pub indexes: u64,
    /// Published chunks.
    pub chunks: u64,
    /// About how much is stored, staged chunks included, bytes.
    pub bytes: u64,
}

/// Indexes of all tenants. Each method of the first part is the function of `waggle:vector@0.1.0` of the same name, for
/// one tenant; that file says what each does.
///
/// A backend is called within the bounds of the interface ([`TenantIndexes`](crate::TenantIndexes) sees to that), and
/// keeps them from causing harm where it is not. A method that returned success for a change has made it durable.
#[async_trait]
pub trait VectorIndexes: Send + Sync + 'static {
    /// Makes an index. Where there is one of the same settings, nothing happens; of other settings:
    /// [`VectorError::Invalid`].
    async fn create(&self, tenant: &str, index: &IndexName, settings: Settings) -> Result<(), VectorError>;

    /// What an index holds.
    async fn describe(&self, tenant: &str, index: &IndexName) -> Result<Description, VectorError>;

    /// Names of indexes in the order of their bytes, after `after`; at most `limit`.
    async fn list_indexes(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, VectorError>;

    /// Removes an index with all it holds, if it is there.
    async fn drop_index(&self, tenant: &str, index: &IndexName) -> Result<(), VectorError>;

    /// Adds chunks to a version of a group that is not published yet.
    async fn stage(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), VectorError>;

    /// How many chunks of the version are staged, to the first that is missing.
    async fn staged(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
    ) -> Result<u32, VectorError>;

    /// Makes the version the one that is found.
    async fn publish(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
        chunks: u32,
        attributes: Vec<Attribute>,
    ) -> Result<(), VectorError>;

    /// Forgets what was staged of the version.
    async fn discard(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
    ) -> Result<(), VectorError>;

    /// Removes groups, published and staged.
    async fn remove(&self, tenant: &str, index: &IndexName, groups: Vec<String>) -> Result<(), VectorError>;

    /// Gives a published group other attributes.
    async fn set_attributes(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        attributes: Vec<Attribute>,
    ) -> Result<(), VectorError>;

    /// Published groups in the order of their names' bytes, after `after`; at most `limit`.
    async fn list_groups(
        &self,
        tenant: &str,
        index: &IndexName,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Group>, VectorError>;

    /// Chunks of a published group without their vectors, `count` from number `start` on.
    async fn read(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        start: u32,
        count: u32,
    ) -> Result<Vec<Chunk>, VectorError>;

    /// Searches indexes as if they were one.
    async fn search(
        &self,
        tenant: &str,
        indexes: &[IndexName],
        query: Query,
    ) -> Result<Vec<Hit>, VectorError>;

    /// Removes all that a tenant has.
    async fn erase(&self, tenant: &str) -> Result<(), VectorError>;

    /// What a tenant has.
    async fn usage(&self, tenant: &str) -> Result<Usage, VectorError>;

    /// Whether the backend can be used: the reason why not, for the operator.
    async fn check(&self) -> Result<(), String>;

    /// What it counts.
    fn metrics(&self) -> VectorSnapshot;
}
