//! Stored responses: read and delete. Writing one is a part of committing its turn.

use crate::key;
use crate::store::{Store, StoreError};
use waggle_openai::Nonce;

/// Reads a response record's bytes; [`crate::record::ResponseObject`] is the view of them.
///
/// # Errors
/// The store's.
pub async fn get<S: Store>(store: &S, response: Nonce) -> Result<Option<Vec<u8>>, StoreError> {
    store.get(&key::response(response)).await
}

/// Deletes a response; `false` when there is none.
///
/// # Errors
/// The store's.
pub async fn delete<S: Store>(store: &S, response: Nonce) -> Result<bool, StoreError> {
    let key = key::response(response);
    if store.get(&key).await?.is_none() {
        return Ok(false);
    }
    store.delete_many(vec![key]).await?;
    Ok(true)
}
