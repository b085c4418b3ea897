//! Values in the store as JSON, changed by compare-and-swap only.

use serde::Serialize;
use serde::de::DeserializeOwned;
use waggle_conversation::{Store, StoreError};
use waggle_openai::json;

/// How often a change is tried again when others were faster. A list's page is shared by all who add to it.
const CHANGES_MAX: usize = 64;

/// A value as it was read, so that it can be changed if it still is the same.
#[derive(Debug, Clone)]
pub(crate) struct Recorded<T> {
    pub(crate) value: T,
    bytes: Vec<u8>,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Changed<T> {
    /// It is stored.
    Stored(T),
    /// It was not wanted any more, once the value was seen.
    Unwanted(T),
    /// There is no such value.
    Missing,
}

impl<T> Changed<T> {
    /// The value as it is now, where there is one.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Stored(value) | Self::Unwanted(value) => Some(value),
            Self::Missing => None,
        }
    }

    /// Whether the change was made.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self, Self::Stored(_))
    }
}

/// The value as it is stored.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    json::push(&mut out, value);
    out
}

/// Reads what was stored at `key`.
///
/// # Errors
/// [`StoreError::Unreadable`].
pub(crate) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Unreadable { key: key.to_owned(), reason: error.to_string() })
}

/// The value at `key`.
///
/// # Errors
/// The store's.
pub(crate) async fn read<S: Store, T: DeserializeOwned>(
    store: &S,
    key: &str,
) -> Result<Option<Recorded<T>>, StoreError> {
    let Some(bytes) = store.get(key).await? else { return Ok(None) };
    Ok(Some(Recorded { value: decode(key, &bytes)?, bytes }))
}

/// The values at `keys`, in their order.
///
/// # Errors
/// The store's.
pub(crate) async fn read_many<S: Store, T: DeserializeOwned>(
    store: &S,
    keys: Vec<String>,
) -> Result<Vec<Option<T>>, StoreError> {
    /// How many values are read at once, so that no answer of the store is larger than some megabytes.
    const KEYS_MAX: usize = 256;
    let mut values = Vec::with_capacity(keys.len());
    for keys in keys.chunks(KEYS_MAX) {
        let found = store.get_many(keys.to_vec()).await?;
        for (key, bytes) in keys.iter().zip(found) {
            values.push(bytes.map(|bytes| decode(key, &bytes)).transpose()?);
        }
    }
    Ok(values)
}

/// Stores `value` where there is none; whether it did.
///
/// # Errors
/// The store's.
pub(crate) async fn create<S: Store, T: Serialize>(
    store: &S,
    key: &str,
    value: &T,
) -> Result<bool, StoreError> {
    store.swap(key, None, encode(value)).await
}

/// Stores `value` in place of what was read; `false` when that has changed.
///
/// # Errors
/// The store's.
pub(crate) async fn replace<S: Store, T: Serialize>(
    store: &S,
    key: &str,
    read: &Recorded<T>,
    value: &T,
) -> Result<bool, StoreError> {
    store.swap(key, Some(&read.bytes), encode(value)).await
}

/// Changes the value at `key`: `change` makes of it what is to be stored, or says with `false` that nothing is.
///
/// # Errors
/// The store's; [`StoreError::Contended`] when others were faster each time.
pub(crate) async fn change<S: Store, T: Serialize + DeserializeOwned>(
    store: &S,
    key: impl Into<String>,
    mut change: impl FnMut(&mut T) -> bool,
) -> Result<Changed<T>, StoreError> {
    let key = key.into();
    for _ in 0..CHANGES_MAX {
        let Some(bytes) = store.get(&key).await? else { return Ok(Changed::Missing) };
        let mut value: T = decode(&key, &bytes)?;
        if !change(&mut value) {
            return Ok(Changed::Unwanted(value));
        }
        if store.swap(&key, Some(&bytes), encode(&value)).await? {
            return Ok(Changed::Stored(value));
        }
    }
    Err(StoreError::Contended(key))
}

/// As [`change`], beginning with the default where there is no value.
///
/// # Errors
/// As [`change`].
pub(crate) async fn change_or_default<S: Store, T: Serialize + DeserializeOwned + Default>(
    store: &S,
    key: impl Into<String>,
    mut change: impl FnMut(&mut T) -> bool,
) -> Result<bool, StoreError> {
    let key = key.into();
    for _ in 0..CHANGES_MAX {
        let bytes = store.get(&key).await?;
        let mut value: T = bytes.as_ref().map_or_else(|| Ok(T::default()), |bytes| decode(&key, bytes))?;
        if !change(&mut value) {
            return Ok(false);
        }
        if store.swap(&key, bytes.as_deref(), encode(&value)).await? {
            return Ok(true);
        }
    }
    Err(StoreError::Contended(key))
}
