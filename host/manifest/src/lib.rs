//! spin.toml and the runtime configuration: parse, validate, explain what is wrong and where.
pub mod diagnostics;
mod document;
mod located;
mod names;
pub mod outbound;
mod reader;
pub mod routes;
mod suggest;
pub mod template;
