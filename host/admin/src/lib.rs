//! The admin API: tenants and their keys, on a listener of its own, with a credential of its own.

mod answer;
mod check;
mod config;
mod host;
mod key;
mod openapi;
mod problem;
mod route;
mod shape;

pub use config::AdminConfig;
pub use host::{ErasureReport, Host, StoreErasure, Usage};
pub use key::{AdminKey, AdminKeyError};

/// The name of the file in the state folder that holds the admin key.
pub const KEY_FILE: &str = "admin-key";
