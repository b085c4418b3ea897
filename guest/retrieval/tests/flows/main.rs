//! The whole function over a store in memory, an index over that, a scripted embedding model and a queue that tests empty.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

mod batches;
mod crashes;
mod files;
mod ingestion;
mod members;
mod models;
mod ownership;
mod schemas;
mod search;
mod stores;
mod support;
