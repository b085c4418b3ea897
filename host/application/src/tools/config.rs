//! The `[tools]` slice of the runtime configuration: what tools of all tenants may use, whatever they were granted.

use serde::Deserialize;
use waggle_manifest::{HostPattern, OutboundHost, OutboundHosts};

const MEBI: u64 = 1 << 20;
/// Entries of `private_outbound_hosts`.
const PRIVATE_HOSTS_MAX: usize = 256;

/// Bounds of tools. Every field has a default, so an empty `[tools]` is valid. A tool's own limits can only lower them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ToolsConfig {
    /// Calls of tools at once, of all tenants; over it, 429 for the function. 1 to 4,000.
    pub(crate) concurrent_calls_max: u32,
    /// Calls of one tenant's tools at once. 1 to 4,000.
    pub(crate) tenant_concurrent_calls_max: u32,
    /// Bytes of a component. 64 KiB to 64 MiB.
    pub(crate) component_bytes_max: u64,
    /// Bytes of components' compiled code that is ready to run; over it, what was not used for longest is loaded again when
    /// it is needed. 16 MiB to 1 TiB.
    pub(crate) compiled_bytes_max: u64,
    /// Linear memory of one call, bytes. 1 MiB to 4 GiB.
    pub(crate) memory_bytes_max: u64,
    /// CPU time of one call, milliseconds. 1 to 600,000.
    pub(crate) cpu_ms_max: u64,
    /// How long one call may take, milliseconds. 1 to 600,000.
    pub(crate) time_ms_max: u64,
    /// Bytes of a call's output. 1 KiB to 16 MiB.
    pub(crate) output_bytes_max: u64,
    /// Requests to the outside that one call of a component may make. 0 to 10,000.
    pub(crate) outbound_calls_max: u32,
    /// Bytes of the body of each response to them. 1 KiB to 1 GiB.
    pub(crate) response_bytes_max: u64,
    /// Hosts inside private networks that grants may lead to by name, as in `allowed_outbound_hosts`. Addresses, and
    /// `localhost`, need only be granted.
    pub(crate) private_outbound_hosts: Vec<String>,
}

impl Default for ToolsConfig {
    fn default() -> Self {
        Self {
            concurrent_calls_max: 128,
            tenant_concurrent_calls_max: 64,
            component_bytes_max: 64 * MEBI,
            compiled_bytes_max: 512 * MEBI,
            memory_bytes_max: 128 * MEBI,
            cpu_ms_max: 10_000,
            time_ms_max: 60_000,
            output_bytes_max: MEBI,
            outbound_calls_max: 64,
            response_bytes_max: 8 * MEBI,
            private_outbound_hosts: Vec::new(),
        }
    }
}

impl ToolsConfig {
    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let bounds = [
            ("concurrent_calls_max", u64::from(self.concurrent_calls_max), 1, 4_000),
            ("tenant_concurrent_calls_max", u64::from(self.tenant_concurrent_calls_max), 1, 4_000),
            ("component_bytes_max", self.component_bytes_max, 64 << 10, 64 * MEBI),
            ("compiled_bytes_max", self.compiled_bytes_max, 16 * MEBI, MEBI * MEBI),
            ("memory_bytes_max", self.memory_bytes_max, MEBI, 4_096 * MEBI),
            ("cpu_ms_max", self.cpu_ms_max, 1, 600_000),
            ("time_ms_max", self.time_ms_max, 1, 600_000),
            ("output_bytes_max", self.output_bytes_max, 1 << 10, 16 * MEBI),
            ("outbound_calls_max", u64::from(self.outbound_calls_max), 0, 10_000),
            ("response_bytes_max", self.response_bytes_max, 1 << 10, 1_024 * MEBI),
        ];
        for (field, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(format!("`{field}` is {value}; it must be from {least} to {most}"));
            }
        }
        if self.private_outbound_hosts.len() > PRIVATE_HOSTS_MAX {
            let count = self.private_outbound_hosts.len();
            return Err(format!(
                "`private_outbound_hosts` has {count} entries; it may have {PRIVATE_HOSTS_MAX}"
            ));
        }
        self.private_entries().map(drop)
    }

    /// The hosts that are meant to be inside, understood. What is wrong was told by [`ToolsConfig::validate`].
    pub(crate) fn private_hosts(&self) -> OutboundHosts {
        OutboundHosts::new(self.private_entries().unwrap_or_default(), [])
    }

    fn private_entries(&self) -> Result<Vec<OutboundHost>, String> {
        let entries = self.private_outbound_hosts.iter().enumerate().map(|(index, text)| {
            let entry = OutboundHost::parse(text).ok();
            let entry = entry.filter(|entry| !matches!(entry.host, HostPattern::Any | HostPattern::Itself));
            // By its number: what stands there may be what does not belong there.
            let number = index + 1;
            entry.ok_or_else(|| {
                format!(
                    "value {number} of `private_outbound_hosts` does not name hosts, as http://orders.shop.svc:8080 does"
                )
            })
        });
        entries.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        let check = |config: ToolsConfig, part: &str| {
            let told = config.validate().err().unwrap_or_default();
            assert!(told.contains(part) && told.is_empty() == part.is_empty(), "{told}");
        };
        let defaults = ToolsConfig::default;
        check(defaults(), "");
        check(ToolsConfig { cpu_ms_max: 0, ..defaults() }, "`cpu_ms_max` is 0; it must be from 1 to 600000");
        check(ToolsConfig { component_bytes_max: 65 << 20, ..defaults() }, "component_bytes_max");
        let private = |entry: &str| ToolsConfig { private_outbound_hosts: vec![entry.into()], ..defaults() };
        check(private("http://orders.shop.svc:8080"), "");
        check(private("https://*.corp.example"), "");
        check(private("http://*"), "value 1 of `private_outbound_hosts`");
        check(private("orders"), "private_outbound_hosts");
    }
}
