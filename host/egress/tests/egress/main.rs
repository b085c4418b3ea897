//! Calls over real sockets, against upstreams that do exactly what each test says.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod addresses;
mod answer_cache;
mod bodies;
mod broken;
mod messages;
mod reuse;
mod support;
mod timeouts;
mod tls;
mod transport;
mod upstream;
mod upstream_servers;
mod upstream_spending;
