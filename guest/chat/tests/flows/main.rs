//! The whole function, natively: a scripted model, a store in memory, a client that keeps what it is sent.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod agent;
mod agent_approvals;
mod agent_caps;
mod agent_crashes;
mod background;
mod background_beside;
mod compact;
mod conversations;
mod embeddings;
mod fallback;
mod handover;
mod http;
mod idempotency;
mod intents;
mod knowledge;
mod knowledge_failures;
mod knowledge_streams;
mod long;
mod models;
mod order;
mod ownership;
mod responses_broken;
mod responses_wire;
mod rights;
mod rights_elsewhere;
mod schemas;
mod sessions;
mod shapes;
mod streams;
mod support;
mod tiers;
mod tokens;
mod tools;
mod turns;
