//! WebSockets: the streamed POST of a path, many times over one connection, as Open Responses and OpenAI have it for
//! `/v1/responses`. Functions know nothing of it: each message becomes a request that passes everything a client's does.

mod config;
mod events;
mod fault;
mod handshake;
mod memory;
mod message;
mod metered;
mod room;
mod session;
mod socket;
#[cfg(test)]
mod tests;
mod turn;

pub use config::WebSocketConfig;
pub(crate) use handshake::{
    agree, fields_of_turns, is_asked, is_from_this_machine, is_other_tunnel, tell_version,
};
pub(crate) use room::{Full, Place, Sockets};
pub(crate) use session::{Limits, Session};
pub(crate) use turn::{Answering, Asks, RefusedByHost};
