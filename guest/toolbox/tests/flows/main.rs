//! The tools function as a whole, without its host: the network, the store and the clock are scripted.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

mod audit;
mod built_in;
mod calls;
mod http;
mod intents;
mod remote;
mod schemas;
mod serve;
mod support;
