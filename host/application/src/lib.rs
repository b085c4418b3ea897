//! From spin.toml and the runtime configuration to a running host.
//!
//! [`Plan::make`] reads and checks everything and opens nothing; [`Running::start`] opens the stores, loads the
//! functions and listens; [`build`] runs the components' build commands. This is the only crate that knows all the
//! others; it holds no policy of its own.

mod access;
mod admin;
mod bill;
mod budget_store;
mod build;
mod content;
mod discreet;
mod error;
mod index_metrics;
mod indexes;
mod jwks;
mod log_sink;
mod machine;
mod metrics;
mod model;
mod model_metrics;
mod models;
mod mounts;
mod operations;
mod plan;
mod policy;
mod quotas;
mod running;
mod stores;
mod summary;
mod telemetry;
mod tenancy;
mod tenant_checks;
mod tenant_host;
mod tenant_store;
mod tenants_file;
mod tokenizers;
mod tools;
mod work;
mod work_store;
mod worlds;

pub use build::{BuildEvent, build};
pub use error::StartError;
pub use model::{ModelChoice, ModelOptions};
pub use plan::{EngineOverrides, Options, Plan};
pub use running::Running;
pub use summary::Summary;
