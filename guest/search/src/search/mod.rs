//! A search from its question to its results.
//!
//! `run.rs` goes through it: rewrite, embed, ask the index, rerank, join neighbours. `request.rs` and `found.rs` are what
//! goes in and comes out; `plan.rs` says which indexes are asked together; `merge.rs` and `neighbours.rs` put hits together.

mod found;
mod merge;
mod neighbours;
mod plan;
mod request;
mod run;

pub use found::{FileNames, Found, NamesFromNotes, SearchAnswer};
pub use request::{INDEXES_MAX, QUERIES_MAX, QUERY_BYTES_MAX, Ranking, SearchRequest, Searched};
pub(crate) use run::Asked;
pub use run::Searcher;
