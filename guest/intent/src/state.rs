//! What a conversation remembers of its last intent: what was asked, and what is known.

use crate::wire::TurnRecognition;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use waggle_conversation::{Store, StoreError, intent};
use waggle_openai::{Nonce, json};

/// After so many seconds nobody answers a question any more.
const OPEN_S_MAX: u64 = 86_400;

/// The record (`kv-schemas/intent.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The intent.
    pub(crate) intent: String,
    /// How sure that was.
    pub(crate) confidence: f64,
    /// The values that are known.
    pub(crate) slots: Map<String, Value>,
    /// The slot that was asked for.
    pub(crate) asked: Option<String>,
    /// How often in a row.
    pub(crate) times: u32,
    /// The name of the turn that wrote this, and what it was answered.
    pub(crate) turn: Option<String>,
    pub(crate) answer: Option<TurnRecognition>,
    /// When, in seconds since 1970.
    pub(crate) at: u64,
}

impl Record {
    /// The record of a conversation. One that cannot be read is none: an intent is only begun anew then.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn load<S: Store>(store: &S, conversation: Nonce) -> Result<Option<Self>, StoreError> {
        let value = intent::load(store, conversation).await?;
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    /// # Errors
    /// The store's.
    pub(crate) async fn save<S: Store>(&self, store: &S, conversation: Nonce) -> Result<(), StoreError> {
        let mut value = Vec::with_capacity(512);
        json::push(&mut value, self);
        intent::save(store, conversation, value).await
    }

    /// The slot that an answer is waited for.
    pub(crate) fn open(&self, now_s: u64) -> Option<&str> {
        let is_open = now_s.saturating_sub(self.at) < OPEN_S_MAX;
        self.asked.as_deref().filter(|_| is_open)
    }

    /// What was answered to the turn of that name.
    pub(crate) fn answer_to(&self, turn: Option<&str>) -> Option<&TurnRecognition> {
        let is_same = turn.is_some() && self.turn.as_deref() == turn;
        self.answer.as_ref().filter(|_| is_same)
    }
}
