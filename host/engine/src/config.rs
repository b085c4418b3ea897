//! The `[engine]` slice of the runtime configuration: how many instances, how large, for how long.

use serde::Deserialize;
use std::time::Duration;
use waggle_tenancy::Isolation;

/// Limits of the engine and of each instance. Every field has a default, so an empty `[engine]` is valid.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Instances alive at once, over all tenants and functions; 1 to 16,000 (each takes 5 GiB of address space, of which
    /// a process has 128 TiB). Over it a request first takes the
    /// place of an idle instance, else waits `instance_wait_ms`, else gets 503.
    pub instances_max: u32,
    /// Instances alive at once of one tenant, over all its functions; 1 to 16,000. A tenant's own limit can lower it.
    pub instances_per_tenant_max: u32,
    /// Linear memory of one instance, bytes; 64 KiB to 4 GiB.
    pub instance_memory_bytes_max: usize,
    /// Elements of one table of one instance; 1 to 10,000,000.
    pub instance_table_elements_max: usize,
    /// Resource handles (streams, requests, key-value stores …) one instance may hold; 16 to 1,000,000.
    pub instance_handles_max: usize,
    /// Bytes the host takes over from a guest in one call (a batch for a store, a list of headers …); 1 MiB to 1 GiB.
    pub host_call_bytes_max: usize,
    /// Requests one instance serves before it is replaced; WASI 0.2 instances always serve one.
    pub instance_reuse_count_max: u64,
    /// Requests one instance serves at the same time; WASI 0.2 instances always serve one.
    pub instance_concurrent_requests_max: u32,
    /// `tenant`: requests of one tenant may share an instance. `request`: each has an instance of its own. A tenant can
    /// have its own word.
    pub isolation: Isolation,
    /// How long an instance without a request is kept, milliseconds.
    pub idle_instance_timeout_ms: u64,
    /// How long a request may wait for an instance to become free, milliseconds.
    pub instance_wait_ms: u64,
    /// Requests of one function and tenant that may wait for an instance at once; over it they are refused.
    pub waiting_requests_max: u32,
    /// CPU time one request may use, milliseconds. An instance that burns more than the sum of its requests'
    /// allowances is stopped; 1 to 600,000.
    pub request_cpu_ms_max: u64,
    /// From a request's arrival until the function has produced the response's head, milliseconds.
    pub request_timeout_ms: u64,
    /// From a request's arrival until the end of its response's body, milliseconds.
    pub response_timeout_ms: u64,
    /// Calls between functions (`http://NAME.spin.internal`) that may nest; 1 to 64.
    pub internal_call_depth_max: u32,
    /// Calls between functions that one client's request may have under way at once, however deep; 1 to 100,000.
    pub internal_calls_max: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            instances_max: 1_000,
            instances_per_tenant_max: 256,
            instance_memory_bytes_max: 128 << 20,
            instance_table_elements_max: 100_000,
            instance_handles_max: 1_000,
            host_call_bytes_max: 128 << 20,
            instance_reuse_count_max: 100_000,
            instance_concurrent_requests_max: 16,
            isolation: Isolation::Tenant,
            idle_instance_timeout_ms: 30_000,
            instance_wait_ms: 2_000,
            waiting_requests_max: 1_024,
            request_cpu_ms_max: 1_000,
            request_timeout_ms: 120_000,
            response_timeout_ms: 600_000,
            internal_call_depth_max: 8,
            internal_calls_max: 256,
        }
    }
}

impl EngineConfig {
    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        within("instances_max", u64::from(self.instances_max), 1, INSTANCES_MAX)?;
        within("instances_per_tenant_max", u64::from(self.instances_per_tenant_max), 1, INSTANCES_MAX)?;
        within("instance_memory_bytes_max", self.instance_memory_bytes_max as u64, 64 << 10, 4 << 30)?;
        within("instance_table_elements_max", self.instance_table_elements_max as u64, 1, 10_000_000)?;
        within("instance_handles_max", self.instance_handles_max as u64, 16, 1_000_000)?;
        within("host_call_bytes_max", self.host_call_bytes_max as u64, 1 << 20, 1 << 30)?;
        within("instance_reuse_count_max", self.instance_reuse_count_max, 1, u64::MAX)?;
        within(
            "instance_concurrent_requests_max",
            u64::from(self.instance_concurrent_requests_max),
            1,
            10_000,
        )?;
        within("idle_instance_timeout_ms", self.idle_instance_timeout_ms, 0, DAY_MS)?;
        within("instance_wait_ms", self.instance_wait_ms, 0, 600_000)?;
        within("waiting_requests_max", u64::from(self.waiting_requests_max), 0, 1_000_000)?;
        within("request_cpu_ms_max", self.request_cpu_ms_max, 1, 600_000)?;
        within("request_timeout_ms", self.request_timeout_ms, 1, DAY_MS)?;
        within("response_timeout_ms", self.response_timeout_ms, self.request_timeout_ms, DAY_MS)?;
        within("internal_call_depth_max", u64::from(self.internal_call_depth_max), 1, 64)?;
        within("internal_calls_max", u64::from(self.internal_calls_max), 1, 100_000)
    }

    /// See [`EngineConfig::idle_instance_timeout_ms`].
    #[must_use]
    pub fn idle_instance_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_instance_timeout_ms)
    }

    /// See [`EngineConfig::request_cpu_ms_max`].
    #[must_use]
    pub fn request_cpu(&self) -> Duration {
        Duration::from_millis(self.request_cpu_ms_max)
    }
}

/// What fits into the address space of a process.
const INSTANCES_MAX: u64 = 16_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn within(field: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
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
        assert_eq!(EngineConfig::default().validate(), Ok(()));
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        let config = EngineConfig { request_cpu_ms_max: 0, ..EngineConfig::default() };
        assert_eq!(config.validate().unwrap_err(), "`request_cpu_ms_max` is 0; it must be from 1 to 600000");
    }
}
