//! Outbound HTTP: connect, pool, time out, inject credentials. It carries calls out and never decides which function
//! may call whom: who calls it has matched `allowed_outbound_hosts` already.
//!
//! One call passes these modules, top to bottom:
//!
//! | module | what it does |
//! |---|---|
//! | `client` | the call from end to end: the one that reads the others together |
//! | `target` | where a request goes, or why it cannot go there |
//! | `headers` | takes off what belongs to one connection only |
//! | `credentials` | puts on the operator's secrets, on exact match only |
//! | `pool` | idle connections, bounded in number and age |
//! | `connect`, `resolve`, `address`, `tls` | name to address, checked, then connected to that very address |
//! | `transport` | the roots and the version of HTTP of one upstream, where it has its own |
//! | `body` | what is sent and what comes back, with the deadline between two pieces |
//! | `error` | what went wrong, by the names of wasi:http |
//! | `upstream` | calls to models, above all of these: routing, retries, breakers |
//!
//! Absent on purpose: proxies from the environment, redirects (the function follows its own, each checked anew), cookies,
//! decompression, a cache of names.

mod address;
mod body;
mod client;
mod config;
mod connect;
mod credentials;
mod error;
mod headers;
mod pool;
mod resolve;
mod target;
mod tls;
mod transport;
pub mod upstream;

pub use address::{AddressClass, classify, permits};
pub use body::ResponseBody;
pub use client::{Egress, RESPONSE_HEADER_BYTES_MAX, RESPONSE_HEADERS_MAX, SendOptions};
pub use config::{ConfigError, EgressConfig};
pub use credentials::{Credential, CredentialError, CredentialPlace, Credentials};
pub use error::EgressError;
pub use resolve::{Resolve, ResolveFuture, SystemResolver};
pub use tokio_util::sync::CancellationToken;
pub use transport::{HttpVersion, TransportError, TransportProfile};
pub use waggle_secret::Secret;
