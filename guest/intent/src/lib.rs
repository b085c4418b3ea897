//! What a customer wants, and what has to be known for it: a tenant's intents with examples, and their slots.
//!
//! [`Recogniser::recognise`] is the way in. It compares what was said with the examples: by their words first, then by
//! vectors or by a small model; what is like none of them is `unknown`. Then it looks for the values of the intent's slots,
//! and says what to ask for when a required one is missing. What was asked stands in the conversation's record
//! (`kv-schemas/intent.json`), so that the next turn's words are taken for the answer.
//!
//! `catalogue`, `lexical`, `nearest`, `slot` and `decide` are pure: they know no store and no network. Nothing here answers
//! a customer: what is done about an intent is the caller's.

mod catalogue;
mod date;
mod decide;
mod failure;
mod fields;
mod fill;
mod lexical;
mod memory;
mod nearest;
mod prompt;
mod recognise;
mod settings;
mod slot;
mod state;
#[cfg(test)]
mod testing;
pub mod wire;

pub use catalogue::{Catalogue, Intent, IntentsError, Slot, SlotKind, Wording};
pub use failure::IntentFailure;
pub use memory::Memory;
pub use recognise::{Recogniser, Said};
pub use settings::{IntentSettings, Mode, VARIABLE};
