//! The `[work]` slice of the runtime configuration.

use serde::Deserialize;
use std::time::Duration;

/// Waits between attempts that can be told apart.
const RETRIES_MAX: usize = 16;

/// Bounds of the queue. Every field has a default, so an empty `[work]` is valid.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkConfig {
    /// Work of one tenant that may be pending, running work included; over it, 429. 1 to 10,000.
    pub pending_per_tenant_max: usize,
    /// Work of all tenants that this host keeps in mind; over it, 503. 1 to 10,000,000.
    pub pending_max: usize,
    /// Deliveries of one tenant at once. 1 to 1,000.
    pub concurrent_per_tenant: usize,
    /// Deliveries of all tenants at once. 1 to 10,000.
    pub concurrent_max: usize,
    /// How often work is delivered before it is dropped. 1 to 100.
    pub attempts_max: u32,
    /// How long one delivery may take, milliseconds. 1 to 86,400,000.
    pub timeout_ms: u64,
    /// How long to wait after the first, second, … failed attempt, milliseconds; the last holds for all that follow. 1 to
    /// 16 waits of 0 to 86,400,000.
    pub retry_ms: Vec<u64>,
}

impl Default for WorkConfig {
    fn default() -> Self {
        Self {
            pending_per_tenant_max: 1_000,
            pending_max: 100_000,
            concurrent_per_tenant: 4,
            concurrent_max: 64,
            attempts_max: 3,
            timeout_ms: 900_000,
            retry_ms: vec![1_000, 5_000, 30_000],
        }
    }
}

impl WorkConfig {
    /// Says which field is out of its bounds, if one is.
    ///
    /// # Errors
    /// A sentence that names the field, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        const DAY_MS: u64 = 86_400_000;
        within("pending_per_tenant_max", self.pending_per_tenant_max as u64, 1, 10_000)?;
        within("pending_max", self.pending_max as u64, 1, 10_000_000)?;
        within("concurrent_per_tenant", self.concurrent_per_tenant as u64, 1, 1_000)?;
        within("concurrent_max", self.concurrent_max as u64, 1, 10_000)?;
        within("attempts_max", self.attempts_max.into(), 1, 100)?;
        within("timeout_ms", self.timeout_ms, 1, DAY_MS)?;
        if !(1..=RETRIES_MAX).contains(&self.retry_ms.len()) {
            return Err(format!(
                "`retry_ms` has {} waits; it must have from 1 to {RETRIES_MAX}",
                self.retry_ms.len()
            ));
        }
        self.retry_ms.iter().try_for_each(|wait| within("retry_ms", *wait, 0, DAY_MS))
    }

    /// See [`WorkConfig::timeout_ms`].
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// The longest of [`WorkConfig::retry_ms`].
    pub(crate) fn wait_ms_max(&self) -> u64 {
        self.retry_ms.iter().copied().max().unwrap_or_default()
    }

    /// How long to wait after the attempt with this number, the first being 1.
    pub(crate) fn wait_ms(&self, attempt: u32) -> u64 {
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        self.retry_ms.get(index).or(self.retry_ms.last()).copied().unwrap_or_default()
    }
}

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
        assert_eq!(WorkConfig::default().validate(), Ok(()));
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds() {
        let check = |config: WorkConfig, expected: &str| {
            assert_eq!(config.validate().unwrap_err(), expected);
        };
        let with = WorkConfig::default;
        check(WorkConfig { attempts_max: 0, ..with() }, "`attempts_max` is 0; it must be from 1 to 100");
        check(
            WorkConfig { pending_per_tenant_max: 10_001, ..with() },
            "`pending_per_tenant_max` is 10001; it must be from 1 to 10000",
        );
        check(
            WorkConfig { retry_ms: Vec::new(), ..with() },
            "`retry_ms` has 0 waits; it must have from 1 to 16",
        );
        check(
            WorkConfig { retry_ms: vec![1, 86_400_001], ..with() },
            "`retry_ms` is 86400001; it must be from 0 to 86400000",
        );
    }

    #[test]
    fn the_last_wait_holds_for_all_attempts_that_follow() {
        let config = WorkConfig { retry_ms: vec![10, 20], ..WorkConfig::default() };
        let check = |attempt: u32, expected: u64| assert_eq!(config.wait_ms(attempt), expected, "{attempt}");
        check(1, 10);
        check(2, 20);
        check(3, 20);
        check(100, 20);
    }
}
