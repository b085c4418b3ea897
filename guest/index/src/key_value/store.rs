//! The key-value store as the index uses it: what its errors mean here, and pages of one index read and deleted a few at a
//! time.

use super::record::{Page, Waste};
use crate::{IndexError, key};
use waggle_conversation::{Store, StoreError};

/// How many values are read at once.
const VALUES_PER_READ: usize = 32;
/// How many keys are deleted at once.
const KEYS_PER_DELETION: usize = 600;

/// What a failure of the store is to who uses the index.
pub(super) fn failed(error: StoreError) -> IndexError {
    match error {
        StoreError::Full { .. } => IndexError::Full(error.to_string()),
        StoreError::Failed { .. } | StoreError::Contended(_) => IndexError::Unavailable(error.to_string()),
        StoreError::Unreadable { .. } => IndexError::Damaged(error.to_string()),
    }
}

/// Why pages were not read.
#[derive(Debug)]
pub(super) enum Fault {
    /// A page that a record names is not there: another call has replaced its group meanwhile, or it is lost.
    Missing(String),
    /// Another reason.
    Failed(IndexError),
}

impl From<IndexError> for Fault {
    fn from(error: IndexError) -> Self {
        Self::Failed(error)
    }
}

/// Hands the values of keys on, each with its key's place. `take` answers `None` for a value it cannot read.
pub(super) async fn each<S: Store>(
    store: &S,
    keys: &[String],
    mut take: impl FnMut(usize, &[u8]) -> Option<()>,
) -> Result<(), Fault> {
    let mut place = 0;
    for some in keys.chunks(VALUES_PER_READ) {
        let values = store.get_many(some.to_vec()).await.map_err(failed)?;
        for (key, value) in some.iter().zip(values) {
            let value = value.ok_or_else(|| Fault::Missing(key.clone()))?;
            take(place, &value)
                .ok_or_else(|| IndexError::Damaged(format!("the page at '{key}' cannot be read")))?;
            place += 1;
        }
    }
    Ok(())
}

/// Which of a page's values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Words,
    Vectors,
    Texts,
}

/// The key of a page's value.
pub(super) fn key_of(index: u64, page: &Page, kind: Kind) -> String {
    let key = match kind {
        Kind::Words => key::words,
        Kind::Vectors => key::vectors,
        Kind::Texts => key::texts,
    };
    key(index, page.batch, page.part)
}

/// Deletes pages with all their values.
pub(super) async fn delete<S: Store>(store: &S, index: u64, waste: &[Waste]) -> Result<(), IndexError> {
    let keys = waste.iter().flat_map(|waste| {
        let parts = waste.part..waste.part.saturating_add(waste.count);
        parts.flat_map(|part| [key::words, key::vectors, key::texts].map(|key| key(index, waste.batch, part)))
    });
    delete_keys(store, keys.collect()).await
}

/// Deletes keys.
pub(super) async fn delete_keys<S: Store>(store: &S, keys: Vec<String>) -> Result<(), IndexError> {
    for some in keys.chunks(KEYS_PER_DELETION) {
        store.delete_many(some.to_vec()).await.map_err(failed)?;
    }
    Ok(())
}
