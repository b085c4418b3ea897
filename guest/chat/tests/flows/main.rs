//! The whole function, natively: a scripted model, a store in memory, a client that keeps what it is sent.

mod conversations;
mod http;
mod schemas;
mod streams;
mod support;
mod turns;
