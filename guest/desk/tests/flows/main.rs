//! The whole function, natively: chat and tools that are scripted, a store in memory.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod chatwoot;
mod support;
