//! The admin API: tenants, their keys and their tools, on a listener of its own, with a credential of its own.
//!
//! [`serve`] answers below `/admin/v1`; [`Host`] is what it asks of the application; `GET /admin/v1/openapi.json` gives the
//! document. No answer and no line of the log holds a secret's value or a key's hash, but for the one answer that shows a
//! new key.

mod announcement;
mod answer;
mod api;
mod check;
#[cfg(feature = "client")]
mod client;
mod config;
mod convert;
mod door;
mod host;
mod key;
mod openapi;
mod precondition;
mod problem;
mod query;
mod route;
mod server;
mod shape;
#[cfg(test)]
mod tests;
mod tool_shape;
mod tools;

pub use announcement::{ANNOUNCEMENT_FILE, Announcement};
#[cfg(feature = "client")]
pub use client::{AdminClient, ClientError, Finder, SettingsFileError, read_settings};
pub use config::AdminConfig;
pub use host::{BudgetUse, ErasureReport, Host, StoreErasure, Tools, Usage};
pub use key::{AdminKey, AdminKeyError};
pub use server::serve;

/// The name of the file in the state folder that holds the admin key.
pub const KEY_FILE: &str = "admin-key";
