//! Stored responses: read and delete. Writing one is a part of committing its turn.

use crate::items::raw;
use crate::key;
use crate::record::{is_seen, read_input, read_object, read_response, read_streamed};
use crate::run;
use crate::store::{Store, StoreError};
use crate::viewer::{Owned, Viewer};
use serde_json::value::RawValue;
use waggle_openai::Nonce;
use waggle_openai::item::RawItem;

async fn read<S: Store, T>(
    store: &S,
    viewer: &Viewer,
    response: Nonce,
    read: impl Fn(&str, &[u8]) -> Result<Owned<T>, StoreError>,
) -> Result<Option<T>, StoreError> {
    let key = key::response(response);
    let Some(value) = store.get(&key).await? else { return Ok(None) };
    Ok(read(&key, &value)?.open(viewer).map(|(content, _)| content))
}

/// A response object; `None` when there is none that the viewer sees.
///
/// # Errors
/// The store's.
pub async fn object<S: Store>(
    store: &S,
    viewer: &Viewer,
    response: Nonce,
) -> Result<Option<Box<RawValue>>, StoreError> {
    read(store, viewer, response, read_object).await
}

/// A response, and how it grew when it was streamed.
#[derive(Debug, Clone)]
pub struct Streamed {
    /// Its object.
    pub object: Box<RawValue>,
    /// How it grew, as it was committed; `None` when it was not streamed.
    pub stream: Option<Box<RawValue>>,
}

/// A response object with how it grew; `None` when there is none that the viewer sees.
///
/// # Errors
/// The store's.
pub async fn streamed<S: Store>(
    store: &S,
    viewer: &Viewer,
    response: Nonce,
) -> Result<Option<Streamed>, StoreError> {
    read(store, viewer, response, read_streamed).await
}

/// The input items of a response, oldest first; `None` when there is none that the viewer sees.
///
/// # Errors
/// The store's.
pub async fn input<S: Store>(
    store: &S,
    viewer: &Viewer,
    response: Nonce,
) -> Result<Option<Vec<RawItem>>, StoreError> {
    read(store, viewer, response, read_input).await
}

/// All items of a response, what was said and what was answered, oldest first; none when there is none that the viewer
/// sees.
///
/// # Errors
/// The store's.
pub async fn items<S: Store>(
    store: &S,
    viewer: &Viewer,
    response: Nonce,
) -> Result<Vec<RawItem>, StoreError> {
    let key = key::response(response);
    let Some(value) = store.get(&key).await? else { return Ok(Vec::new()) };
    let Some(((turn, ..), _)) = read_response(&key, value)?.open(viewer) else { return Ok(Vec::new()) };
    turn.items().map(|item| raw(&key, item)).collect()
}

/// Deletes a response, with what is left of its run; `false` when there is none that the viewer sees.
///
/// # Errors
/// The store's.
pub async fn delete<S: Store>(store: &S, viewer: &Viewer, response: Nonce) -> Result<bool, StoreError> {
    let key = key::response(response);
    let Some(value) = store.get(&key).await? else { return Ok(false) };
    if !is_seen(&key, &value, viewer)? {
        return Ok(false);
    }
    store.delete_many(vec![key]).await?;
    run::remove(store, &[response]).await?;
    Ok(true)
}
