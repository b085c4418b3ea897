//! Key-value stores behind one trait: embedded, Redis or Valkey.
//!
//! A write returns as soon as it is applied and ordered, with a [`Commit`] that resolves when the write survives a
//! power cut. Whoever lets something leave the machine because of that write (a response, a call) waits for the
//! commit first; nobody else does. Concurrent commits share one flush of the device.
//!
//! Every operation of a guest names a [`Partition`]: one tenant's part of one named store. What the host does with all
//! that a tenant has, counting and erasing, names a [`TenantPart`]. There is no operation that reaches across tenants,
//! and this crate knows nothing of who they are.

mod budget_records;
mod checked;
mod clock;
mod commit;
mod config;
mod counters;
mod duration;
mod embedded;
mod error;
mod host_records;
mod limits;
mod metrics;
mod partition;
mod quota;
mod quota_store;
mod redis_store;
mod redis_url;
mod store;

pub use budget_records::BudgetRecords;
pub use clock::{Clock, SystemClock};
pub use commit::Commit;
pub use config::{Backend, Opener, StoreConfig, StoreSettings, open};
pub use counters::{COUNTER_MAX, COUNTERS_PER_STEP_MAX, Counted, CounterChange};
pub use embedded::{Embedded, EmbeddedOptions, FlushHook};
pub use error::Error;
pub use host_records::{HostRecords, Put, RECORD_ID_BYTES_MAX, Record};
pub use limits::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, KEY_BYTES_MAX, KEYS_PAGE_MAX, LABEL_BYTES_MAX, TENANT_BYTES_MAX,
    TIME_TO_LIVE_DAYS_MAX, VALUE_BYTES_MAX,
};
pub use metrics::{Operation, OperationMetrics, StoreMetrics};
pub use partition::{Partition, TenantPart};
pub use quota::StorageQuota;
pub use quota_store::QuotaStore;
pub use redis_store::RedisStore;
pub use redis_url::RedisUrl;
pub use store::{Erased, KeyPage, Place, Store, StoreOptions, Swap, Usage};
