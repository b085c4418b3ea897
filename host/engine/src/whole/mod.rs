//! Messages that are handed over whole: `waggle:http@0.1.0`.

mod client;
mod fields;
mod handler;

pub(crate) use handler::{Message, WholeCall};

/// Longer bodies go over `wasi:http`, a piece at a time.
const BODY_BYTES_MAX: usize = 64 << 10;
