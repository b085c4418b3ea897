//! The load generator: drives clients against a server for a time and reports throughput, latency, errors, and
//! what the server paid for it in CPU and memory. It refuses to load anything but this machine or a private network.

mod arrivals;
pub mod cli;
mod client;
mod compare;
mod cost;
mod endpoint;
mod events;
mod files;
mod idle;
mod keys;
mod measurement;
mod open;
mod open_tally;
mod plot;
mod process;
mod report;
mod run;
mod samples;
mod saturate;
mod scenario;
mod scenario_file;
mod spawn;
mod supply;
mod svg;
mod tenants;
mod timer;
mod worker;

pub use arrivals::{Arrivals, Step};
pub use compare::{CompareConfig, compare};
pub use endpoint::Endpoint;
pub use files::TooFewFiles;
pub use idle::{Held, IdleCost, IdleReport, hold};
pub use keys::Keys;
pub use measurement::{Latency, RunReport, ServerCost};
pub use open_tally::{OpenReport, StepReport};
pub use run::{RunConfig, run};
pub use samples::Sample;
pub use saturate::{SaturateConfig, Saturation, SaturationPoint, SaturationStop, saturate};
pub use scenario::Scenario;
pub use scenario_file::{IdleBody, OpenBody, ScenarioBody, ScenarioFile, ScenarioFileError};
