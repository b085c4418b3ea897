//! The operations listener: what Prometheus, an orchestrator and an operator ask the host, apart from all clients.
//!
//! ```text
//! GET /metrics   all metrics: OpenMetrics 1.0 where asked for, else Prometheus' text format 0.0.4
//! GET /healthz   200 as long as the process answers
//! GET /readyz    200 when every check passes, else 503; either way JSON that says which do not, and why
//! ```
//!
//! It speaks plain HTTP/1.1, asks for no credential and changes nothing. It listens on the loopback interface unless it is
//! told otherwise. [`scrape`] reads metrics again, for programs that show a running host; [`top`] is one.

mod answer;
mod checks;
mod config;
mod listen;
pub mod scrape;
mod server;
pub mod top;

pub use checks::{CHECK_TIMEOUT_MS_MAX, Checks, Failure, Readiness};
pub use config::{LISTEN_DEFAULT, Listen, MetricsConfig, TENANTS_NAMED_DEFAULT, TelemetryConfig};
pub use listen::{ListenError, bind};
pub use server::{Operations, serve};
