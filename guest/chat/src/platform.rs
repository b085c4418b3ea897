//! What the function needs of its surroundings besides a store and a model.

use std::future::{Future, ready};
use waggle_conversation::background::Pair;

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

/// The client is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Why a turn ends whose sink takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Nobody wants the answer any more.
    Left,
    /// There is more of it than may be kept.
    TooLong,
}

/// The body of a streamed answer. Dropping it ends the body.
///
/// A sink may be a record in the store, which has its last events in the same commit as the turn: the methods with a
/// default are for that one.
pub trait Sink {
    /// Hands `bytes` on; returns when there is room for more.
    ///
    /// # Errors
    /// [`Gone`] when nobody reads any more.
    fn write(&mut self, bytes: Vec<u8>) -> impl Future<Output = Result<(), Gone>>;

    /// Told when the turn that is being written about is committed, and as which of its conversation, before its last
    /// event is written.
    fn committed(&mut self, _turn: Option<u64>) {}

    /// Returns when the client has gone away, as far as that can be noticed without writing.
    fn gone(&mut self) -> impl Future<Output = ()>;

    /// Whether it is a record in the store.
    fn is_record(&self) -> bool {
        false
    }

    /// Why it takes no more.
    fn stopped(&self) -> Stopped {
        Stopped::Left
    }

    /// Asks whether the turn may still be committed: the record may have gone to another.
    fn may_commit(&mut self) -> impl Future<Output = bool> {
        ready(true)
    }

    /// What belongs into the turn's commit so that its last events, `events`, are kept with all before them.
    fn last(&mut self, events: Vec<u8>) -> Vec<Pair> {
        drop(events);
        Vec::new()
    }

    /// The turn is committed, with its last events, and nothing comes after it.
    fn settled(&mut self) -> impl Future<Output = ()> {
        ready(())
    }
}
