//! The retrieval function's logic: files, vector stores, how files are taken into them, and searches.
//!
//! All I/O goes through traits ([`waggle_conversation::Store`], [`waggle_index::Index`],
//! [`waggle_model::transport::Upstream`], [`waggle_platform::Platform`]), so that the whole function runs natively in
//! tests; `functions/retrieval` implements them over WASI and holds no logic.
//!
//! A file's bytes lie in the store in parts. A vector store is a list of files and an index; a file in the list is taken
//! into the index in the background, in steps that can each be repeated, and is found when all of it is there. `ingest/`
//! does that, `plan.rs` says what is to be done. This crate is the only writer of the families `file/`, `content/`,
//! `roster/` and `vector_store/`; `kv-schemas/` describes them.

mod attributes;
mod batches;
mod blob;
mod call;
mod download;
mod erase;
mod files;
mod ingest;
mod key;
mod members;
mod multipart;
mod pipeline;
mod plan;
mod problem;
mod query;
mod questions;
mod record;
mod recorded;
mod remove;
mod roster;
pub mod route;
mod search;
pub mod service;
pub mod settings;
mod stores;
mod strategy;
mod sweep;
mod upload;

pub use download::Download;
pub use service::{Answer, Service};
