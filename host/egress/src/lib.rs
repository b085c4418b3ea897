//! Outbound HTTP: connect, pool, time out, inject credentials.
