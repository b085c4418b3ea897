//! `KeyValueIndex` over a store in memory, held against what `waggle:vector@0.1.0` says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod beside;
mod contract;
mod crash;
mod limits;
mod model;
mod schemas;
mod search;
mod support;
