//! Speaking to an upstream model over Chat Completions or Responses: build the request, read the answer, name what went
//! wrong.
//!
//! Pure but for [`transport`], which is two traits: the function implements them over WASI, tests over nothing.

pub mod decline;
pub mod failure;
mod message;
pub mod reply;
pub mod request;
pub mod responses;
pub mod splice;
pub mod sse;
#[cfg(test)]
mod testing;
pub mod tier;
mod tool_call;
pub mod transport;
pub mod wire;

pub use failure::ModelFailure;
pub use wire::Wire;
