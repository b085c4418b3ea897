//! The `[gateway]` slice of the runtime configuration.

use crate::mcp::McpConfig;
use crate::websocket::WebSocketConfig;
use serde::Deserialize;
use std::time::Duration;
use waggle_tenancy::TrustedProxies;

/// Bounds of the HTTP server. Every field has a default, so an empty `[gateway]` is valid.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Open connections; more wait in the listener's backlog. 1 to 1,000,000.
    pub connections_max: usize,
    /// Requests under way at once; over it, 503 with `Retry-After`. 1 to 1,000,000.
    pub concurrent_requests_max: usize,
    /// Bytes of a request's body; over it, 413. 0 to 4 GiB. Bodies are handed on as they arrive and never held whole here, so
    /// this is what the longest upload needs; who reads a body whole has a bound of its own.
    pub request_body_bytes_max: u64,
    /// Bytes of a request's head (HTTP/1.1) or header list (HTTP/2); over it, 431. 8 KiB to 1 MiB.
    pub request_head_bytes_max: usize,
    /// Header fields of a request; over it, 431. 1 to 1,000.
    pub request_headers_max: usize,
    /// From a connection's first byte (or the previous response) to the end of a request's head, milliseconds; 1 to 3,600,000.
    pub head_read_timeout_ms: u64,
    /// How long requests under way may go on after SIGTERM, milliseconds; 0 to 3,600,000.
    pub drain_timeout_ms: u64,
    /// Addresses and networks (CIDR) of proxies whose `Forwarded` and `X-Forwarded-For` fields are believed.
    pub trusted_proxies: Vec<String>,
    /// Requests of one client address (IPv6: of one /64) in a minute; over it, 429. 1 to 1,000,000; absent: no limit.
    pub client_requests_per_minute: Option<u32>,
    /// Resident memory of the process, bytes; over it, idle instances end and requests get 503. 64 MiB to 16 TiB;
    /// absent: 85 % of the machine's or container's memory.
    pub memory_bytes_max: Option<u64>,
    /// Which paths can be had over a WebSocket, and the bounds of these.
    pub websocket: WebSocketConfig,
    /// The section `[mcp]`, which is one of its own.
    #[serde(skip)]
    pub mcp: McpConfig,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            connections_max: 100_000,
            concurrent_requests_max: 20_000,
            request_body_bytes_max: 33 << 20,
            request_head_bytes_max: 64 << 10,
            request_headers_max: 100,
            head_read_timeout_ms: 60_000,
            drain_timeout_ms: 30_000,
            trusted_proxies: Vec::new(),
            client_requests_per_minute: None,
            memory_bytes_max: None,
            websocket: WebSocketConfig::default(),
            mcp: McpConfig::default(),
        }
    }
}

impl GatewayConfig {
    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        within("connections_max", self.connections_max, 1, 1_000_000)?;
        within("concurrent_requests_max", self.concurrent_requests_max, 1, 1_000_000)?;
        within("request_head_bytes_max", self.request_head_bytes_max, 8 << 10, 1 << 20)?;
        within("request_headers_max", self.request_headers_max, 1, 1_000)?;
        let as_size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        within("request_body_bytes_max", as_size(self.request_body_bytes_max), 0, 4 << 30)?;
        within("head_read_timeout_ms", as_size(self.head_read_timeout_ms), 1, 3_600_000)?;
        within("drain_timeout_ms", as_size(self.drain_timeout_ms), 0, 3_600_000)?;
        if let Some(requests) = self.client_requests_per_minute {
            within("client_requests_per_minute", requests as usize, 1, 1_000_000)?;
        }
        if let Some(bytes) = self.memory_bytes_max {
            within("memory_bytes_max", as_size(bytes), 64 << 20, 16 << 40)?;
        }
        self.websocket.validate()?;
        TrustedProxies::parse(&self.trusted_proxies).map(drop).map_err(|error| error.to_string())
    }

    /// See [`GatewayConfig::drain_timeout_ms`].
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

pub(crate) fn within(field: &str, value: usize, least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("`{field}` is {value}; it must be from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(GatewayConfig::default().validate(), Ok(()));
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        let config = GatewayConfig { request_headers_max: 0, ..GatewayConfig::default() };
        assert_eq!(config.validate().unwrap_err(), "`request_headers_max` is 0; it must be from 1 to 1000");
    }
}
