//! Responses made in the background: accepted at once, run by a call of the host, read by polling or by stream.
//!
//! `create.rs` accepts one and hands it to the host's queue; `run.rs` is the call by which the host has it run;
//! `record.rs` is where a run's events go; `follow.rs` reads them; `cancel.rs` ends one. What they know of each other
//! stands in the state record (`waggle_conversation::background`), which is changed by compare-and-set only.

mod cancel;
mod create;
mod follow;
mod record;
mod run;

pub(crate) use cancel::is_over;
pub use follow::FollowedStream;
pub(crate) use follow::wants_stream;
pub(crate) use run::run_path;

/// For how long a runner is taken to be alive after it has last said so, in milliseconds.
const LEASE_MS: u64 = 15_000;
/// How often a runner looks whether it is to end, in milliseconds.
const LOOK_MS: u64 = 100;
/// How long events wait for others before they are written, in milliseconds.
const FLUSH_MS: u64 = 200;
/// How much of them is written at once, in bytes, and a piece of the model's.
const BATCH_BYTES_MAX: usize = 16 << 10;
/// The most that is kept of one response's events, in bytes.
const EVENTS_BYTES_MAX: usize = 16 << 20;
/// How often a state is read again that others have changed.
const CHANGES_MAX: usize = 8;
