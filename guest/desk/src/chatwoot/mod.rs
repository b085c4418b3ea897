//! Chatwoot's agent bots: its webhook in, its API out.
//!
//! `event.rs` reads what the webhook says; `record.rs` is what is kept of one of Chatwoot's conversations, with what is still
//! to be done in it; `receive.rs` keeps an event and has the host call back; `run.rs` does what is to be done, in order;
//! `calls.rs` is how chat and tools are called. Chatwoot's conversation is the truth of who answers: the bot speaks only
//! while it is *pending*.
//! <https://developers.chatwoot.com>, agent bots.

mod calls;
mod event;
mod receive;
mod record;
mod run;

pub use record::{MESSAGES_KNOWN_MAX, MESSAGES_WAITING_MAX};

pub(crate) use receive::receive;
pub(crate) use record::Place;
