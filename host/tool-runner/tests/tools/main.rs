//! Real components, called: those of `tests/guests` that are named `tool_*`.

#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

mod hostile;
mod inspection;
mod orders;
mod plain;
mod support;
