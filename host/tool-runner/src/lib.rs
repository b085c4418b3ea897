//! Runs components as tools: what they can do, and each call in an instance of its own.
//!
//! [`Runner::inspect`] says what a component offers: what its `waggle:tool` describes, or, of a plain component, what the
//! types of its exported functions say. [`Runner::prepare`] compiles it once, and [`Runner::call`] makes one call in a fresh
//! instance that ends with it. What an instance can reach is its [`ToolWorld`], and with [`NoGrants`] that is nothing but
//! clocks, random numbers and its own output. Which tools there are, and for whom, is not known here.

mod bindings;
mod cache;
mod call;
mod component;
mod config;
mod cpu;
mod definition;
mod error;
mod failure;
mod imports;
mod inspect;
mod key_value;
mod limits;
mod outbound;
mod reflect;
mod runner;
mod state;
mod stdio;
mod ticker;
mod world;

pub use call::{ARGUMENTS_BYTES_MAX, Call, Outcome};
pub use component::{Prepared, Style};
pub use config::{Limits, RunnerConfig};
pub use definition::{
    DESCRIPTION_BYTES_MAX, FUNCTIONS_MAX, FunctionDescription, NAME_CHARS_MAX, SCHEMA_BYTES_MAX,
};
pub use error::ComponentError;
pub use failure::{FailureCode, ToolFailure};
pub use inspect::Inspected;
pub use reflect::LeftOut;
pub use runner::{Busy, Runner, digest};
pub use world::{NoGrants, SendTimes, ToolWorld};
