//! What a tenant may use up, as it is configured. [`crate::meter`] keeps the count.

use serde::{Deserialize, Serialize};

/// Limits of one tenant. An absent field is the host's default, and without one there is no such limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests in a second, on average; 1 to 1,000,000.
    pub requests_per_second: Option<u32>,
    /// Requests that may come at once before the average counts; 1 to 1,000,000. Absent: as `requests_per_second`.
    pub requests_burst: Option<u32>,
    /// Requests under way at once; 1 to 1,000,000.
    pub concurrent_requests_max: Option<u32>,
    /// Requests over one of the limits above that may wait at once; 0 to 100,000.
    pub waiting_requests_max: Option<u32>,
    /// How long one of them waits before it is refused, milliseconds; 0 to 60,000.
    pub wait_ms_max: Option<u32>,
    /// Bytes of a request's body; 0 to 4 GiB. It can only lower the host's.
    pub request_body_bytes_max: Option<u64>,
    /// Tokens of models in a minute, as the upstreams report them; 1 to 1,000,000,000,000.
    pub tokens_per_minute: Option<u64>,
    /// Instances alive at once, over all functions; 1 to 16,000.
    pub instances_max: Option<u32>,
    /// Linear memory of one instance, bytes; 64 KiB to 4 GiB. It can only lower the host's.
    pub instance_memory_bytes_max: Option<u64>,
    /// Linear memory of all instances together, bytes; 64 KiB to 16 TiB.
    pub memory_bytes_max: Option<u64>,
    /// CPU time of one request, milliseconds; 1 to 600,000. It can only lower the host's.
    pub request_cpu_ms_max: Option<u64>,
    /// CPU time in a second over all requests, milliseconds; 1 to 1,000,000. Over it the tenant's instances pause.
    pub cpu_ms_per_second: Option<u32>,
    /// Bytes of keys and values in stores; 1 KiB to 16 TiB.
    pub storage_bytes_max: Option<u64>,
}

impl Limits {
    /// These limits, with what is absent taken from `defaults`.
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            requests_per_second: self.requests_per_second.or(defaults.requests_per_second),
            requests_burst: self.requests_burst.or(match self.requests_per_second {
                // A burst that was meant for another rate would be a surprise.
                Some(_) => None,
                None => defaults.requests_burst,
            }),
            concurrent_requests_max: self.concurrent_requests_max.or(defaults.concurrent_requests_max),
            waiting_requests_max: self.waiting_requests_max.or(defaults.waiting_requests_max),
            wait_ms_max: self.wait_ms_max.or(defaults.wait_ms_max),
            request_body_bytes_max: self.request_body_bytes_max.or(defaults.request_body_bytes_max),
            tokens_per_minute: self.tokens_per_minute.or(defaults.tokens_per_minute),
            instances_max: self.instances_max.or(defaults.instances_max),
            instance_memory_bytes_max: self.instance_memory_bytes_max.or(defaults.instance_memory_bytes_max),
            memory_bytes_max: self.memory_bytes_max.or(defaults.memory_bytes_max),
            request_cpu_ms_max: self.request_cpu_ms_max.or(defaults.request_cpu_ms_max),
            cpu_ms_per_second: self.cpu_ms_per_second.or(defaults.cpu_ms_per_second),
            storage_bytes_max: self.storage_bytes_max.or(defaults.storage_bytes_max),
        }
    }

    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        const MEBI: u64 = 1 << 20;
        let bounds = [
            ("requests_per_second", self.requests_per_second.map(u64::from), 1, 1_000_000),
            ("requests_burst", self.requests_burst.map(u64::from), 1, 1_000_000),
            ("concurrent_requests_max", self.concurrent_requests_max.map(u64::from), 1, 1_000_000),
            ("waiting_requests_max", self.waiting_requests_max.map(u64::from), 0, 100_000),
            ("wait_ms_max", self.wait_ms_max.map(u64::from), 0, 60_000),
            ("request_body_bytes_max", self.request_body_bytes_max, 0, 4_096 * MEBI),
            ("tokens_per_minute", self.tokens_per_minute, 1, 1_000_000_000_000),
            ("instances_max", self.instances_max.map(u64::from), 1, 16_000),
            ("instance_memory_bytes_max", self.instance_memory_bytes_max, MEBI / 16, 4_096 * MEBI),
            ("memory_bytes_max", self.memory_bytes_max, MEBI / 16, MEBI * MEBI * 16),
            ("request_cpu_ms_max", self.request_cpu_ms_max, 1, 600_000),
            ("cpu_ms_per_second", self.cpu_ms_per_second.map(u64::from), 1, 1_000_000),
            ("storage_bytes_max", self.storage_bytes_max, 1_024, MEBI * MEBI * 16),
        ];
        for (field, value, least, most) in bounds {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                return Err(format!("`{field}` is {value}; it must be from {least} to {most}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_the_default() {
        let defaults = Limits {
            requests_per_second: Some(10),
            requests_burst: Some(50),
            wait_ms_max: Some(5),
            ..Limits::default()
        };
        let own = Limits { wait_ms_max: Some(7), ..Limits::default() };
        assert_eq!(own.or(defaults), Limits { wait_ms_max: Some(7), ..defaults });
        let faster = Limits { requests_per_second: Some(100), ..Limits::default() };
        assert_eq!(faster.or(defaults).requests_burst, None, "a burst belongs to its rate");
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        let limits = Limits { request_cpu_ms_max: Some(0), ..Limits::default() };
        assert_eq!(limits.validate().unwrap_err(), "`request_cpu_ms_max` is 0; it must be from 1 to 600000");
        assert_eq!(Limits::default().validate(), Ok(()));
    }
}
