//! What a tenant may use up, as it is configured. [`crate::meter`] keeps the count.

use crate::budget::Money;
use serde::{Deserialize, Serialize};

/// The most tokens of any limit.
const TOKENS_MAX: u64 = 1_000_000_000_000;
/// The most money of any limit: a thousand million units.
const COST_MAX: Money = Money::from_micros(1_000_000_000_000_000);

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
    /// Bytes of indexes, what is staged included; 1 KiB to 16 TiB.
    pub vector_bytes_max: Option<u64>,
    /// Tokens in a day; 1 to 1,000,000,000,000. This and the fields below are budgets: they count in calendar windows in
    /// UTC, as [`Budget`](crate::Budget) says.
    pub tokens_per_day: Option<u64>,
    /// Tokens in a month; 1 to 1,000,000,000,000.
    pub tokens_per_month: Option<u64>,
    /// What calls of models may cost in a minute, in the operator's currency; 0.000001 to 1,000,000,000.
    pub cost_per_minute: Option<Money>,
    /// What they may cost in a day, as above.
    pub cost_per_day: Option<Money>,
    /// What they may cost in a month, as above.
    pub cost_per_month: Option<Money>,
    /// Tokens of each user in a minute; 1 to 1,000,000,000,000.
    pub user_tokens_per_minute: Option<u64>,
    /// Tokens of each user in a day; 1 to 1,000,000,000,000.
    pub user_tokens_per_day: Option<u64>,
    /// Tokens of each user in a month; 1 to 1,000,000,000,000.
    pub user_tokens_per_month: Option<u64>,
    /// What each user's calls may cost in a day, as above.
    pub user_cost_per_day: Option<Money>,
    /// What each user's calls may cost in a month, as above.
    pub user_cost_per_month: Option<Money>,
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
            vector_bytes_max: self.vector_bytes_max.or(defaults.vector_bytes_max),
            tokens_per_day: self.tokens_per_day.or(defaults.tokens_per_day),
            tokens_per_month: self.tokens_per_month.or(defaults.tokens_per_month),
            cost_per_minute: self.cost_per_minute.or(defaults.cost_per_minute),
            cost_per_day: self.cost_per_day.or(defaults.cost_per_day),
            cost_per_month: self.cost_per_month.or(defaults.cost_per_month),
            user_tokens_per_minute: self.user_tokens_per_minute.or(defaults.user_tokens_per_minute),
            user_tokens_per_day: self.user_tokens_per_day.or(defaults.user_tokens_per_day),
            user_tokens_per_month: self.user_tokens_per_month.or(defaults.user_tokens_per_month),
            user_cost_per_day: self.user_cost_per_day.or(defaults.user_cost_per_day),
            user_cost_per_month: self.user_cost_per_month.or(defaults.user_cost_per_month),
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
            ("tokens_per_minute", self.tokens_per_minute, 1, TOKENS_MAX),
            ("instances_max", self.instances_max.map(u64::from), 1, 16_000),
            ("instance_memory_bytes_max", self.instance_memory_bytes_max, MEBI / 16, 4_096 * MEBI),
            ("memory_bytes_max", self.memory_bytes_max, MEBI / 16, MEBI * MEBI * 16),
            ("request_cpu_ms_max", self.request_cpu_ms_max, 1, 600_000),
            ("cpu_ms_per_second", self.cpu_ms_per_second.map(u64::from), 1, 1_000_000),
            ("storage_bytes_max", self.storage_bytes_max, 1_024, MEBI * MEBI * 16),
            ("vector_bytes_max", self.vector_bytes_max, 1_024, MEBI * MEBI * 16),
            ("tokens_per_day", self.tokens_per_day, 1, TOKENS_MAX),
            ("tokens_per_month", self.tokens_per_month, 1, TOKENS_MAX),
            ("user_tokens_per_minute", self.user_tokens_per_minute, 1, TOKENS_MAX),
            ("user_tokens_per_day", self.user_tokens_per_day, 1, TOKENS_MAX),
            ("user_tokens_per_month", self.user_tokens_per_month, 1, TOKENS_MAX),
        ];
        for (field, value, least, most) in bounds {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                return Err(format!("`{field}` is {value}; it must be from {least} to {most}"));
            }
        }
        self.validate_costs()
    }

    fn validate_costs(&self) -> Result<(), String> {
        let least = Money::from_micros(1);
        let costs = [
            ("cost_per_minute", self.cost_per_minute),
            ("cost_per_day", self.cost_per_day),
            ("cost_per_month", self.cost_per_month),
            ("user_cost_per_day", self.user_cost_per_day),
            ("user_cost_per_month", self.user_cost_per_month),
        ];
        for (field, value) in costs {
            if let Some(value) = value.filter(|value| !(least..=COST_MAX).contains(value)) {
                return Err(format!("`{field}` is {value}; it must be from {least} to {COST_MAX}"));
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

    #[test]
    fn a_budget_of_money_is_an_amount_within_its_bounds() {
        let check = |cost: &str, expected: Result<(), &str>| {
            let limits: Limits = serde_json::from_str(&format!("{{\"user_cost_per_day\": {cost}}}")).unwrap();
            assert_eq!(limits.validate(), expected.map_err(str::to_owned), "{cost}");
            assert_eq!(Limits::default().or(limits), limits);
        };
        check("\"0.000001\"", Ok(()));
        check("2.5", Ok(()));
        check("1000000000", Ok(()));
        check("0", Err("`user_cost_per_day` is 0; it must be from 0.000001 to 1000000000"));
        check(
            "\"1000000000.5\"",
            Err("`user_cost_per_day` is 1000000000.5; it must be from 0.000001 to 1000000000"),
        );
        assert!(serde_json::from_str::<Limits>("{\"cost_per_day\": \"ten\"}").is_err());
    }
}
