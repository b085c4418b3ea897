//! What a function needs of its surroundings besides a store and a model.

use crate::neighbour::{NeighbourAnswer, NeighbourCall};
use std::future::{Future, ready};
use waggle_model::transport::TransportFailure;

/// The clock, randomness, variables and the log.
pub trait Platform: Clone + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Returns after `ms` milliseconds, not before.
    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + 'static;

    /// Random bits nobody can guess.
    fn random(&self) -> u128;

    /// The component variable `name`; `None` when it is not defined.
    ///
    /// # Errors
    /// Why it cannot be read, for the operator. It must not be taken for one that is not defined: variables restrict.
    fn variable(&self, name: &str) -> impl Future<Output = Result<Option<String>, String>>;

    /// A number that is another one whenever a variable may be, so that what was made of variables can be kept; `None`:
    /// that is not known.
    fn variables_version(&self) -> Option<u64> {
        None
    }

    /// Writes one line for the operator.
    fn log(&self, line: &str);

    /// How many tokens the model of this name counts in each of `texts`, in their order. Each call costs something, so
    /// whoever has several texts gives all of them at once.
    fn count_tokens(&self, model: &str, texts: &[&str]) -> Vec<TokenCount>;

    /// Hands the host work to be done later: it will call this function at `path`, for the same tenant and caller, until
    /// it answers with a 2xx. When this returns, the work outlives the host.
    ///
    /// # Errors
    /// Nobody has taken it.
    fn enqueue(&self, path: &str) -> impl Future<Output = Result<(), QueueFailure>>;

    /// Calls another function of the application, for the same tenant and caller, and reads its answer whole. Whoever has
    /// no neighbours may leave this out: then there are none.
    ///
    /// # Errors
    /// It was not reached, gave no answer in time, or none that is whole.
    fn call_neighbour(
        &self,
        call: NeighbourCall<'_>,
    ) -> impl Future<Output = Result<NeighbourAnswer, TransportFailure>> {
        ready(Err(TransportFailure::Denied(format!("there is no function '{}'", call.function))))
    }

    /// The same under an idempotency key: what was done under it once, the other function does no second time.
    ///
    /// # Errors
    /// As [`call_neighbour`](Self::call_neighbour).
    fn call_neighbour_once(
        &self,
        call: NeighbourCall<'_>,
        idempotency_key: &str,
    ) -> impl Future<Output = Result<NeighbourAnswer, TransportFailure>> {
        let told = format!("there is no function '{}' to be called under '{idempotency_key}'", call.function);
        ready(Err(TransportFailure::Denied(told)))
    }
}

/// The tokens of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCount {
    /// How many.
    pub tokens: u64,
    /// Whether that is an estimate.
    pub is_estimate: bool,
}

/// Why work was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueFailure {
    /// As much of the tenant's is waiting as may; there may be room after so many seconds.
    Full(u32),
    /// It is busy; it may not be after so many seconds.
    Busy(u32),
    /// There is nobody here who takes work.
    Absent,
    /// It failed, for this reason.
    Failed(String),
}
