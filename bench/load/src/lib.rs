//! The load generator: drives clients against a server for a time and reports throughput, latency, errors, and
//! what the server paid for it in CPU and memory. It refuses to load anything but this machine or a private network.

pub mod cli;
mod client;
mod compare;
mod endpoint;
mod events;
mod measurement;
mod process;
mod report;
mod run;
mod scenario;
mod spawn;
mod tenants;
mod worker;

pub use compare::{CompareConfig, compare};
pub use endpoint::Endpoint;
pub use measurement::{Latency, RunReport, ServerCost};
pub use run::{RunConfig, run};
pub use scenario::Scenario;
