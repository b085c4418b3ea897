//! The Model Context Protocol, both ways: our tools to others' clients ([`server`]), others' servers to our agent
//! ([`client`]). Revisions 2026-07-28, 2025-11-25 and 2025-06-18, over streamable HTTP.
//!
//! Nothing here knows WASI, a registry or a tenant. The server asks three traits for what it serves; the client sends its
//! requests by [`Fetch`]; what a server lists is held against what was accepted by [`pin`].

mod annotation;
pub mod client;
mod fetch;
mod header;
mod json;
mod message;
pub mod pin;
mod progress;
pub mod server;
mod version;

pub use fetch::{Fetch, FetchRequest, FetchResponse};
pub use progress::{Progress, Unheard};
pub use version::Version;
