//! How many tools run at once, how large they may be, and what one call may use.

use std::time::Duration;

/// Bounds of the runner. Every field has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerConfig {
    /// Calls at once, over all tenants; 1 to 4,000. Each has an instance, whose room in the address space is set aside at
    /// the start and is never taken from the functions'. Over it a call is refused as [`Busy`](crate::Busy).
    pub calls_max: u32,
    /// Linear memory of one call that any [`Limits`] can allow, bytes; 1 MiB to 4 GiB.
    pub memory_bytes_max: usize,
    /// Elements of one table of an instance; 1 to 10,000,000.
    pub table_elements_max: usize,
    /// A component's own size, bytes; 1 to 1 GiB.
    pub component_bytes_max: usize,
    /// Compiled components kept ready; at least 1. Over it the one goes that was used longest ago.
    pub components_max: usize,
    /// Their machine code together, bytes. It is mapped from the cache's folder where there is one. The newest stays even
    /// if it is larger.
    pub compiled_bytes_max: usize,
    /// What the cache's folder may hold, bytes. Over it the files go that were used longest ago.
    pub folder_bytes_max: u64,
    /// Processor time of one `describe`, and of a start.
    pub describe_cpu: Duration,
    /// How long `describe` may take.
    pub describe_time: Duration,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self {
            calls_max: 128,
            memory_bytes_max: 256 << 20,
            table_elements_max: 100_000,
            component_bytes_max: 64 << 20,
            components_max: 1_000,
            compiled_bytes_max: 1 << 30,
            folder_bytes_max: 4 << 30,
            describe_cpu: Duration::from_secs(2),
            describe_time: Duration::from_secs(10),
        }
    }
}

impl RunnerConfig {
    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        within("calls_max", self.calls_max as usize, 1, 4_000)?;
        within("memory_bytes_max", self.memory_bytes_max, 1 << 20, 4 << 30)?;
        within("table_elements_max", self.table_elements_max, 1, 10_000_000)?;
        within("component_bytes_max", self.component_bytes_max, 1, 1 << 30)?;
        within("components_max", self.components_max, 1, 1_000_000)
    }

    /// What `describe` may use, which has no grants.
    pub(crate) fn describe_limits(&self) -> Limits {
        Limits {
            memory_bytes_max: self.memory_bytes_max,
            cpu: self.describe_cpu,
            time: self.describe_time,
            output_bytes_max: DESCRIBED_BYTES_MAX,
            outbound_calls_max: 0,
        }
    }
}

/// What `describe` may hand over: 64 functions with two schemas and a description each.
const DESCRIBED_BYTES_MAX: usize = 8 << 20;

fn within(field: &str, value: usize, least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("`{field}` is {value}; it must be from {least} to {most}"))
}

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All linear memories of the instance together, bytes; [`RunnerConfig::memory_bytes_max`] holds as well.
    pub memory_bytes_max: usize,
    /// Processor time, the instance's start included.
    pub cpu: Duration,
    /// How long it may take, waits included.
    pub time: Duration,
    /// What it may give, bytes of text.
    pub output_bytes_max: usize,
    /// Calls it may make over HTTP; over it they fail with `connection-limit-reached`.
    pub outbound_calls_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            cpu: Duration::from_millis(1_000),
            time: Duration::from_millis(10_000),
            output_bytes_max: 256 << 10,
            outbound_calls_max: 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(RunnerConfig::default().validate(), Ok(()));
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        let config = RunnerConfig { calls_max: 0, ..RunnerConfig::default() };
        assert_eq!(config.validate().unwrap_err(), "`calls_max` is 0; it must be from 1 to 4000");
    }
}
