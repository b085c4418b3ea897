//! Where a streamed answer goes.

use std::future::{Future, ready};
use waggle_conversation::background::Pair;

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
