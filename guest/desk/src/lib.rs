//! Help desks as channels: what their users say becomes turns of sessions, what is answered goes back, and people take over.
//!
//! All I/O goes through traits, as in every function's library. What is said to the model is the chat function's business,
//! which is called as any client calls it; what is said to the help desk goes through a tool of the tenant's registry, so
//! that its address and credential are a tool's and stay with the host. Each help desk has a folder: [`chatwoot`].

pub mod chatwoot;
mod problem;
mod service;

pub use service::{Answer, Service};
