//! What the function needs of its surroundings besides a store and a model.

use std::future::Future;

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
}

/// The client is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// The body of a streamed answer. Dropping it ends the body.
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
}
