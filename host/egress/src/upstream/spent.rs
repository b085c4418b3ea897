//! What attempts have used of which nobody gets an answer: an upstream that had taken a call computes, and bills its prompt,
//! whether somebody still waits or not.

use super::config::Prices;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The prompts that the attempts of one call have spent without an answer. Made before the call, given to it in
/// [`super::CallOptions::spent`], and right as soon as the call has returned or was dropped.
///
/// A prompt is spent when the upstream had the request and was left, by a time-out, a deadline, a faster hedge or a client
/// that went away, or when its answer had begun with a status of success and then nothing came. It is not when the upstream
/// refused the call or failed at it (a status of 4xx or 5xx, no connection, a connection that ended before the head). Both
/// are what providers commonly bill, and no more than a guess at it.
#[derive(Debug, Default)]
pub struct PromptsSpent {
    prompts: AtomicU32,
    tokens: AtomicU64,
    cost_micros: AtomicU64,
}

impl PromptsSpent {
    /// How many prompts.
    #[must_use]
    pub fn prompts(&self) -> u32 {
        self.prompts.load(Relaxed)
    }

    /// Their tokens, as [`crate::usage::estimated_tokens`] counts them.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Relaxed)
    }

    /// What these cost where each was sent, in millionths of the operator's currency.
    #[must_use]
    pub fn cost_micros(&self) -> u64 {
        self.cost_micros.load(Relaxed)
    }

    /// One prompt more, of `tokens`, at these prices.
    pub(super) fn add(&self, tokens: u64, prices: &Prices) {
        let add = |sum: &AtomicU64, more: u64| {
            // A call has 32 attempts at most; sums of a few estimates end far below the bound, costs may reach it.
            let _ = sum.fetch_update(Relaxed, Relaxed, |sum| Some(sum.saturating_add(more)));
        };
        self.prompts.fetch_add(1, Relaxed);
        add(&self.tokens, tokens);
        add(&self.cost_micros, prices.cost_micros(tokens, 0, 0));
    }
}
