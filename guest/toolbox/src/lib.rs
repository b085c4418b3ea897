//! The tools function's logic: what there is to call, calls and what came of them, MCP for others' clients, the audit log.
//!
//! All I/O goes through traits ([`waggle_conversation::Store`], [`waggle_mcp::Fetch`], [`waggle_platform::Platform`]), so
//! that the whole function runs natively in tests; `functions/tools` implements them over WASI and holds no logic.
//!
//! Which tools a tenant has, what each may reach and with which credentials is the host's to say, and the host's to
//! enforce: `registry` asks it, `component` has it run what it holds, and requests of HTTP tools and to MCP servers go out
//! with a field that names the tool. Here is what a call is: `call` has its steps in their order. What a tool gives is
//! data of a stranger's: `clean` takes out what people do not see. This crate is the only writer of the family
//! `tool_audit/`; `kv-schemas/` describes it.

mod arguments;
mod audit;
mod built_in;
mod call;
mod catalog;
mod clean;
mod component;
mod fetch;
mod http;
mod intents;
mod list;
mod mask;
mod models;
mod outcome;
mod problem;
mod race;
mod registry;
mod remote;
pub mod route;
mod serve;
pub mod service;
mod settings;
#[cfg(test)]
mod testing;

pub use audit::EntryQuery;
pub use registry::Memory;
pub use serve::McpTools;
pub use service::{Answer, Service};
