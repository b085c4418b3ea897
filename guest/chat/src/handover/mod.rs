//! Conversations that people take over: a mark in the conversation's record, turns that are kept and answered by nobody,
//! and telling the people.
//!
//! `routes.rs` sets the mark, shows it and takes it off; `silence.rs` is what becomes of a turn meanwhile; `tell.rs` is the
//! work by which people are told, through a tool of the tenant's registry, with `event.rs` and `transcript.rs` as what they
//! read. `docs/decisions/0029-hand-over.md` says why it is so.

mod event;
mod routes;
mod silence;
mod tell;
mod transcript;

pub(crate) use routes::mark;
pub(crate) use silence::{HANDED_OVER, begun_by, mark_silent, silence};
pub(crate) use tell::{Telling, tell_path};
