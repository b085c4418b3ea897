//! Summaries: of what fell out of a conversation's window, and of what a client has compacted.
//!
//! `ask.rs` hands the making of one to the host's queue, after the turn; `run.rs` is the call by which the host has it
//! made; `compact.rs` is the endpoint that makes one at once; `write.rs` asks the model; `transcript.rs` and `frame.rs` are
//! what goes to it and what comes of it;
//! `shown.rs` and `open.rs` are what a turn's model sees. `docs/decisions/0018-summaries.md` says why it is so.

mod ask;
mod compact;
mod frame;
mod open;
mod run;
mod shown;
mod transcript;
mod write;

pub(crate) use ask::Aside;
pub(crate) use open::Opener;
pub(crate) use run::summary_path;
pub(crate) use shown::{Recalled, Shown};
