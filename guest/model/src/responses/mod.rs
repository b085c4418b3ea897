//! The Responses API, as a client of an upstream speaks it: stateless, with the whole window in `input`.
//!
//! | module | what it does |
//! |---|---|
//! | `write` | the request of a turn |
//! | `item` | one item of an answer |
//! | `answer` | a whole answer, and what ends a stream |
//! | `event` | one event of a stream |
//!
//! What an endpoint may leave out or send besides is told from what would make half an answer look whole: the first is
//! put up with, the second is a [`ModelFailure`](crate::ModelFailure).

mod answer;
mod event;
mod item;
mod write;

pub use answer::{Answer, read_answer};
pub use event::{DeltaKind, Event, read_event};
pub use item::OutputItem;

/// The longest event of a stream, in bytes. The last one repeats the whole answer, and the request's instructions and
/// tools.
pub const EVENT_BYTES_MAX: usize = 16 << 20;
/// The most items of one answer.
pub const ITEMS_MAX: usize = 96;
