//! What all clients of a run share: whose request is next, and the conversations in which turns are asked. Preparing
//! them is never in a latency.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::client::{Client, Failure};
use crate::run::RunConfig;
use crate::scenario::{Call, Scenario, create_conversation, fill_conversation};

/// Connections over which conversations are prepared before a run.
const PREPARERS_MAX: usize = 64;

/// A conversation that exists, and whose it is.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) id: String,
    pub(crate) turns: u32,
    pub(crate) key: Option<HeaderValue>,
}

/// Shared by the clients of one run.
pub(crate) struct Supply {
    pub(crate) config: RunConfig,
    ready: Mutex<VecDeque<Conversation>>,
    setup_requests: AtomicU64,
}

/// The identifier in the answer to what was created.
#[derive(Deserialize)]
struct Created {
    id: String,
}

impl Supply {
    pub(crate) fn new(config: RunConfig) -> Self {
        Self { config, ready: Mutex::default(), setup_requests: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Conversation>> {
        // Nothing in here panics half-way.
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The conversation that has rested longest, if one is ready.
    pub(crate) fn take(&self) -> Option<Conversation> {
        self.lock().pop_front()
    }

    /// Takes a conversation back after a turn, unless it has had as many as it may have.
    pub(crate) fn put(&self, conversation: Conversation) {
        if conversation.turns < self.config.turns_per_conversation {
            self.lock().push_back(conversation);
        }
    }

    /// Conversations that are ready.
    pub(crate) fn ready(&self) -> usize {
        self.lock().len()
    }

    /// Requests so far that prepared something.
    pub(crate) fn setup_requests(&self) -> u64 {
        self.setup_requests.load(Relaxed)
    }

    /// The key of the next request that belongs to no conversation.
    ///
    /// # Errors
    /// All tenants have been asked once, and no more than that was wanted.
    pub(crate) fn key(&self) -> Result<Option<HeaderValue>, Failure> {
        match &self.config.keys {
            None => Ok(None),
            Some(keys) => keys.next().cloned().map(Some).ok_or(Failure::NoTenantLeft),
        }
    }

    /// Makes a conversation with as much history as the scenario wants.
    pub(crate) async fn create(&self, client: &mut Client) -> Result<Conversation, Failure> {
        let key = self.key()?;
        let body = self.prepare(client, create_conversation(), key.as_ref()).await?;
        let id = serde_json::from_slice::<Created>(&body).map_err(|_| Failure::Shape)?.id;
        if self.config.scenario == Scenario::TurnHistory {
            for call in fill_conversation(&id, self.config.history) {
                self.prepare(client, call, key.as_ref()).await?;
            }
        }
        Ok(Conversation { id, turns: 0, key })
    }

    async fn prepare(
        &self,
        client: &mut Client,
        mut call: Call,
        key: Option<&HeaderValue>,
    ) -> Result<Bytes, Failure> {
        put_key(&mut call, key);
        let body = client.whole(call, self.config.request_timeout()).await?;
        self.setup_requests.fetch_add(1, Relaxed);
        Ok(body)
    }

    /// Prepares the conversations that a run begins with. What fails here fails again in the run, and is counted there.
    pub(crate) async fn fill(self: &Arc<Self>, client: impl Fn() -> Option<Client>) {
        let wanted = self.config.conversations_at_start();
        let begun = Arc::new(AtomicUsize::new(0));
        let mut preparers = JoinSet::new();
        for _ in 0..PREPARERS_MAX.min(wanted) {
            let Some(mut client) = client() else { return };
            let (supply, begun) = (Arc::clone(self), Arc::clone(&begun));
            preparers.spawn(async move {
                while begun.fetch_add(1, Relaxed) < wanted {
                    match supply.create(&mut client).await {
                        Ok(conversation) => supply.put(conversation),
                        Err(_) => return,
                    }
                }
            });
        }
        preparers.join_all().await;
    }
}

/// Makes a call that of the tenant with this key.
pub(crate) fn put_key(call: &mut Call, key: Option<&HeaderValue>) {
    if let Some(key) = key {
        call.headers.insert(AUTHORIZATION, key.clone());
    }
}
