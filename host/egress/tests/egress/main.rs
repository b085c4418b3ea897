//! Calls over real sockets, against upstreams that do exactly what each test says.

mod addresses;
mod bodies;
mod broken;
mod messages;
mod reuse;
mod support;
mod timeouts;
mod tls;
