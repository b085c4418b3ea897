//! The family `intent/`: what a conversation remembers of its last intent. What the record says is its writer's own, which is
//! `waggle-intent`; here is how it is kept. It goes with its conversation.

use crate::key;
use crate::store::{Store, StoreError};
use waggle_openai::Nonce;

/// The record of a conversation, if it has one.
///
/// # Errors
/// The store's.
pub async fn load<S: Store>(store: &S, conversation: Nonce) -> Result<Option<Vec<u8>>, StoreError> {
    store.get(&key::intent(conversation)).await
}

/// Writes it.
///
/// # Errors
/// The store's.
pub async fn save<S: Store>(store: &S, conversation: Nonce, record: Vec<u8>) -> Result<(), StoreError> {
    store.set_many(vec![(key::intent(conversation), record)]).await
}
