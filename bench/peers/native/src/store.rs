//! Conversations in Redis: `conv:{id}` holds the conversation, `conv:{id}:items` the list of its items, and
//! `resp:{id}` a response. One multiplexed connection is shared by all requests.

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};

use crate::error::PeerError;

#[derive(Clone)]
pub(crate) struct Store {
    connection: MultiplexedConnection,
    window_items: isize,
}

/// One message of a conversation as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredItem {
    pub(crate) id: String,
    pub(crate) role: String,
    pub(crate) text: String,
}

impl Store {
    pub(crate) async fn connect(url: &str, window_items: u32) -> redis::RedisResult<Self> {
        let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        Ok(Self { connection, window_items: isize::try_from(window_items).unwrap_or(isize::MAX) })
    }

    pub(crate) async fn create(&self, id: &str, conversation: &str) -> Result<(), PeerError> {
        Ok(self.connection.clone().set(conversation_key(id), conversation).await?)
    }

    /// The newest items of a conversation, oldest first.
    pub(crate) async fn window(&self, id: &str) -> Result<Vec<StoredItem>, PeerError> {
        let (exists, items): (bool, Vec<Vec<u8>>) = redis::pipe()
            .exists(conversation_key(id))
            .lrange(items_key(id), -self.window_items, -1)
            .query_async(&mut self.connection.clone())
            .await?;
        if !exists {
            return Err(PeerError::UnknownConversation(id.to_owned()));
        }
        items.iter().map(|item| Ok(serde_json::from_slice(item)?)).collect()
    }

    pub(crate) async fn append(&self, id: &str, items: &[StoredItem]) -> Result<(), PeerError> {
        let exists: bool = self.connection.clone().exists(conversation_key(id)).await?;
        if !exists {
            return Err(PeerError::UnknownConversation(id.to_owned()));
        }
        Ok(self.connection.clone().rpush(items_key(id), encoded(items)?).await?)
    }

    /// Appends the items of a turn and writes its response, in one transaction.
    pub(crate) async fn finish_turn(
        &self,
        conversation: Option<&str>,
        items: &[StoredItem],
        response_id: &str,
        response: &[u8],
    ) -> Result<(), PeerError> {
        let mut transaction = redis::pipe();
        transaction.atomic();
        if let Some(id) = conversation {
            transaction.rpush(items_key(id), encoded(items)?).ignore();
        }
        transaction.set(format!("resp:{response_id}"), response).ignore();
        Ok(transaction.query_async(&mut self.connection.clone()).await?)
    }
}

fn conversation_key(id: &str) -> String {
    format!("conv:{id}")
}

fn items_key(id: &str) -> String {
    format!("conv:{id}:items")
}

fn encoded(items: &[StoredItem]) -> Result<Vec<Vec<u8>>, PeerError> {
    items.iter().map(|item| Ok(serde_json::to_vec(item)?)).collect()
}
