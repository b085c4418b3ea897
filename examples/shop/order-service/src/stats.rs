//! What was asked of the service, and what it has really done.

use serde::Serialize;
use std::collections::BTreeSet;

/// What is counted since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    /// Requests about orders.
    pub(crate) requests: u64,
    /// Requests that were answered with what was done before under their key.
    pub(crate) replayed: u64,
}

/// One change of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// Which order.
    pub order: String,
    /// `cancel` or `note`.
    pub deed: &'static str,
    /// Under which idempotency key; absent: under none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What was asked, and what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests about orders since the start.
    pub requests: u64,
    /// Of these, those that were answered with what was done before under their key.
    pub replayed: u64,
    /// All changes of orders there ever were, oldest first.
    pub effects: Vec<Effect>,
    /// How many of them were made under a key under which one was made before. It is always 0: the service sees to it.
    pub doubled: usize,
}

impl Stats {
    pub(crate) fn new(counters: Counters, effects: Vec<Effect>) -> Self {
        let keys: Vec<&String> = effects.iter().filter_map(|effect| effect.key.as_ref()).collect();
        let doubled = keys.len() - keys.iter().collect::<BTreeSet<_>>().len();
        Self { requests: counters.requests, replayed: counters.replayed, effects, doubled }
    }
}
