//! Conversations and responses in a key-value store: keys, records, the window.
//!
//! [`store::Store`] is the seam: the function implements it over `wasi:keyvalue`, tests over [`memory::MemoryStore`].
//! This crate is the only writer of the families `response/` and `conversation/`; `kv-schemas/` describes them.
//!
//! A conversation is a row of numbered entries, one for each commit: a turn's items, or items added by hand. The
//! number comes from an atomic counter, so two turns at once both survive, and a turn reads only the newest entries,
//! however many there are. A chain of responses needs no lock either: each record lists its ancestors.
//!
//! Conversations and responses have an owner. Nothing is read, changed or continued without a [`viewer::Viewer`], and
//! what that viewer does not see is answered as what is not there. The way to a conversation's items is a
//! [`conversation::Conversation`], which only [`conversation::open`] makes; the way to continue something is a
//! [`history::Continuation`], which only [`history`] makes.

pub mod background;
pub mod conversation;
pub mod history;
pub mod items;
mod key;
pub mod memory;
pub mod record;
pub mod response;
pub mod store;
pub mod turn;
pub mod viewer;
pub mod window;

pub use store::{Store, StoreError};
pub use viewer::{Owner, Viewer};
