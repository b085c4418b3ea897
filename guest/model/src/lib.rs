//! Speaking to an upstream model over Chat Completions: build the request, read the answer, name what went wrong.
//!
//! Pure but for [`transport`], which is two traits: the function implements them over WASI, tests over nothing.

pub mod failure;
pub mod reply;
pub mod request;
pub mod sse;
pub mod transport;

pub use failure::ModelFailure;
