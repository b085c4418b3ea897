//! Conversations and responses in a key-value store: keys, records, the window.
//!
//! [`store::Store`] is the seam: the function implements it over `wasi:keyvalue`, tests over [`memory::MemoryStore`].
//! This crate is the only writer of the families `response/` and `conversation/`; `kv-schemas/` describes them.
//!
//! A conversation is a row of numbered entries, one for each commit: a turn's items, or items added by hand. The
//! number comes from an atomic counter, so two turns at once both survive, and a turn reads only the newest entries,
//! however many there are. A chain of responses needs no lock either: each record lists its ancestors.

pub mod conversation;
pub mod history;
pub mod items;
pub mod key;
pub mod memory;
pub mod record;
pub mod response;
pub mod store;
pub mod turn;
pub mod window;

pub use store::{Store, StoreError};
