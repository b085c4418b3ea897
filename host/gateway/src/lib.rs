//! The HTTP server: listen, admit, route, hand to the engine, drain.
//!
//! [`Gateway`] is the request path, one readable stack in `gateway.rs`; [`serve`] puts it behind a listener.

mod admission;
mod body;
mod config;
mod error;
mod gateway;
mod headers;
mod identity;
mod mcp;
mod metrics;
mod observe;
mod peer;
mod pressure;
mod server;
mod tls;
mod upgrade;
mod websocket;

pub use config::GatewayConfig;
pub use gateway::{Gateway, WorkDelivery, WorkFailure, shutting_down};
pub use mcp::McpConfig;
pub use metrics::{Answers, GatewayMetrics, RouteMetrics};
pub use observe::{AccessSink, EndedRequest, Observers, RequestOutcome};
pub use server::serve;
pub use tls::{TlsError, acceptor};
pub use tokio_rustls::TlsAcceptor;
pub use waggle_listen::Drained;
pub use websocket::WebSocketConfig;
