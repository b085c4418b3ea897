//! Indexes of chunks of text behind one trait, searched by words, by vectors, or both: what `waggle:vector@0.1.0` stands on.
//!
//! An index holds groups of chunks. A group's chunks are staged under a version and published together; a search finds all
//! of a published version or none. What a call has returned success for is found after a crash.
//!
//! [`VectorIndexes`] is what a backend does; each operation names a tenant, and none reaches across tenants.
//! [`TenantIndexes`] is what a function has: one tenant's, with every bound of the interface checked once for all backends.
//! [`Embedded`] keeps indexes in a folder of this machine. This crate knows neither components nor who the tenants are.

mod analysis;
pub mod backend;
mod bounds;
mod config;
mod embedded;
mod error;
mod filter;
mod fusion;
mod indexes;
mod metrics;
mod tenant;
mod types;

pub use bounds::{
    ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTE_TEXT_BYTES_MAX, ATTRIBUTES_MAX, CANDIDATES_MAX, CHUNKS_PER_CALL_MAX,
    CHUNKS_PER_GROUP_MAX, DIMENSIONS_MAX, FILTER_NODES_MAX, FILTER_VALUES_MAX, GROUP_NAME_BYTES_MAX,
    GROUPS_PER_REMOVAL_MAX, HEADING_BYTES_MAX, INDEX_NAME_BYTES_MAX, LIMIT_MAX, NOTE_BYTES_MAX, PAGE_MAX,
    QUERY_TEXT_BYTES_MAX, READ_CHUNKS_MAX, SEARCHED_INDEXES_MAX, STAGED_BYTES_PER_CALL_MAX, TENANT_BYTES_MAX,
    TEXT_BYTES_MAX,
};
pub use config::{Backend, EmbeddedConfig, PostgresConfig, Prewarm, Quantization, VectorConfig};
pub use embedded::Embedded;
pub use error::{OpenError, VectorError};
pub use indexes::{Usage, VectorIndexes};
pub use metrics::{Operation, OperationSnapshot, VectorSnapshot};
pub use tenant::{TenantBounds, TenantIndexes};
pub use types::{
    Attribute, Chunk, Compare, Comparison, Description, FilterNode, Fusion, Group, Hit, IndexName, Query,
    Settings, Value,
};
