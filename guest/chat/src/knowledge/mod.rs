//! Turns that are answered from the tenant's knowledge: looked up before their model is asked, by a call of the retrieval
//! function, and cited.
//!
//! `stores.rs` is where a turn is looked up; `question.rs` what is asked; `wire.rs` and `failure.rs` are the call; `look.rs`
//! makes it, and decides what becomes of what it brings: sources for a model (`sources.rs`), or an answer. `citing.rs` finds
//! what an answer cites; `keep.rs` keeps it for questions that are alike. Without knowledge nothing of this is reached but
//! one variable.

mod citing;
mod failure;
mod keep;
mod look;
mod question;
mod sources;
mod stores;
mod wire;

pub(crate) use citing::Citing;
pub(crate) use keep::Kept;
pub(crate) use look::{HANDOVER, Looked, Next, Turning, is_ahead, mark_handover, say, unasked};

/// The function that is called.
const FUNCTION: &str = "retrieval";
