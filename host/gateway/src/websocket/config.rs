//! The `[gateway.websocket]` slice of the runtime configuration.

use crate::config::within;
use serde::Deserialize;
use std::time::Duration;

/// Paths that may be listed.
const PATHS_MAX: usize = 16;

/// Bounds of WebSockets. Every field has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocketConfig {
    /// Paths whose streamed POST can be had over a WebSocket as well. 0 to 16, each beginning with `/`; none: no
    /// WebSockets.
    pub paths: Vec<String>,
    /// Open WebSockets; over it, the handshake gets 503. 1 to 1,000,000.
    pub connections_max: usize,
    /// Open WebSockets of one tenant; over it, the handshake gets 429. 1 to 1,000,000.
    pub connections_per_tenant_max: usize,
    /// Bytes of a message; over it, the connection is closed with 1009. 1 KiB to 64 MiB. A tenant's
    /// `request_body_bytes_max` lowers it.
    pub message_bytes_max: u64,
    /// Bytes that all WebSockets keep in memory together: messages that arrive or wait, and what a connection remembers
    /// of its last response. 1 MiB to 1 TiB.
    pub memory_bytes_max: u64,
    /// Of these, what the WebSockets of one tenant may take. 1 MiB to 1 TiB.
    pub memory_per_tenant_bytes_max: u64,
    /// How long a connection lasts, milliseconds; 1,000 to 86,400,000.
    pub duration_ms_max: u64,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            paths: vec!["/v1/responses".to_owned()],
            connections_max: 10_000,
            connections_per_tenant_max: 2_500,
            message_bytes_max: 8 << 20,
            memory_bytes_max: 512 << 20,
            memory_per_tenant_bytes_max: 128 << 20,
            duration_ms_max: 3_600_000,
        }
    }
}

impl WebSocketConfig {
    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let as_size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        within("websocket.paths", self.paths.len(), 0, PATHS_MAX)?;
        if let Some(path) = self.paths.iter().find(|path| !path.starts_with('/') || path.contains(['?', '#']))
        {
            return Err(format!("`websocket.paths` has {path:?}; a path begins with `/` and has no query"));
        }
        within("websocket.connections_max", self.connections_max, 1, 1_000_000)?;
        within("websocket.connections_per_tenant_max", self.connections_per_tenant_max, 1, 1_000_000)?;
        within("websocket.message_bytes_max", as_size(self.message_bytes_max), 1 << 10, 64 << 20)?;
        within("websocket.memory_bytes_max", as_size(self.memory_bytes_max), 1 << 20, 1 << 40)?;
        let per_tenant = as_size(self.memory_per_tenant_bytes_max);
        within("websocket.memory_per_tenant_bytes_max", per_tenant, 1 << 20, 1 << 40)?;
        within("websocket.duration_ms_max", as_size(self.duration_ms_max), 1_000, 86_400_000)
    }

    /// See [`WebSocketConfig::duration_ms_max`].
    pub(crate) fn duration_max(&self) -> Duration {
        Duration::from_millis(self.duration_ms_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_none_is_refused() {
        let check = |path: &str, valid: bool| {
            let config = WebSocketConfig { paths: vec![path.to_owned()], ..WebSocketConfig::default() };
            assert_eq!(config.validate().is_ok(), valid, "{path}");
        };
        check("/v1/responses", true);
        check("v1/responses", false);
        check("/v1/responses?stream=true", false);
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_section() {
        let config = WebSocketConfig { duration_ms_max: 1, ..WebSocketConfig::default() };
        let expected = "`websocket.duration_ms_max` is 1; it must be from 1000 to 86400000";
        assert_eq!(config.validate().unwrap_err(), expected);
    }
}
