//! The chat function's logic: routes, turns, streams.
//!
//! All I/O goes through traits ([`waggle_conversation::Store`], [`waggle_model::transport::Upstream`],
//! [`platform::Platform`], [`platform::Sink`]), so that the whole function runs natively in tests; `guest/wasi`
//! implements them over WASI, and `functions/chat` holds no logic.

mod agent;
mod ask;
mod background;
mod catalog;
mod completion;
mod conversations;
mod embedding;
mod fallback;
mod fit;
mod format;
mod handover;
mod heartbeat;
mod idempotency;
mod input_tokens;
mod intents;
mod knowledge;
mod language;
mod locked;
pub mod models;
mod output;
mod piece;
mod plan;
mod prepare;
mod problem;
mod race;
mod reference;
mod relay;
mod replay;
pub mod reply;
mod responses;
mod rights;
pub mod route;
mod scout;
pub mod service;
mod session;
mod session_stream;
mod sessions;
pub mod settings;
mod stream;
mod summary;
mod tiers;
mod tokens;
mod trace;
mod turn;

pub use background::FollowedStream;
pub use models::Models;
pub use service::{Answer, Service, Streaming};
pub use waggle_platform as platform;
pub use waggle_platform::{Delivery, Reply, Request, Work};
