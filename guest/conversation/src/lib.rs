//! Conversations and responses in a key-value store: keys, records, the window.
//!
//! [`store::Store`] is the seam: the function implements it over `wasi:keyvalue`, tests over [`memory::MemoryStore`].
//! This crate is the only writer of the families `response/`, `conversation/`, `idempotency/`, `owner/`, `compaction/`, `run/`,
//! `approval/` and `intent/`; `kv-schemas/` describes them.
//!
//! A conversation is a row of numbered entries, one for each commit: a turn's items, or items added by hand. The
//! number comes from an atomic counter; a turn draws it when it arrives and goes on when all before it is settled
//! ([`ticket`]), so turns stand in the order in which they came, and each reads only the newest entries, however many
//! there are. A chain of responses needs no lock either: each record lists its ancestors.
//!
//! Conversations and responses have an owner. Nothing is read, changed or continued without a [`viewer::Viewer`], and
//! what that viewer does not see is answered as what is not there. The way to a conversation's items is a
//! [`conversation::Conversation`], which only [`conversation::open`] makes; the way to continue something is a
//! [`history::Continuation`], which only [`history`] makes. What a user owns is listed under their name ([`owned`]), so that
//! it can be shown, exported and erased.

pub mod approval;
pub mod background;
pub mod compaction;
pub mod conversation;
mod entries;
pub mod erase;
pub mod export;
pub mod handover;
mod hex;
pub mod history;
pub mod idempotency;
pub mod intent;
pub mod items;
mod key;
pub mod memory;
pub mod owned;
pub mod pin;
mod plain;
mod queue;
pub mod recall;
pub mod record;
pub mod response;
pub mod run;
pub mod session;
pub mod store;
pub mod summary;
pub mod ticket;
pub mod trim;
pub mod turn;
pub mod viewer;
pub mod window;

pub use hex::hex;
pub use store::{Store, StoreError};
pub use viewer::{Owner, Viewer};
