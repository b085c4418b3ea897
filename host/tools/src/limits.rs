//! What one call of a tool may use up, and how many calls there may be at once.

use crate::check::Mistakes;
use serde::{Deserialize, Serialize};

/// The limits of a tool. An absent field has its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Linear memory of a call's instance, bytes: 64 KiB to 1 GiB; 64 MiB by default. Of a component.
    pub memory_bytes_max: u64,
    /// Processor time of a call, milliseconds: 1 to 60,000; 1,000 by default. Of a component.
    pub cpu_ms_max: u64,
    /// How long a call may take, milliseconds: 1 to 120,000; 10,000 by default.
    pub time_ms_max: u64,
    /// How long its answer may be, bytes: 1 to 4 MiB; 256 KiB by default.
    pub output_bytes_max: u64,
    /// How often a call may ask something of the network: 0 to 256; 16 by default.
    pub outbound_calls_max: u64,
    /// Calls at once, on each host: 1 to 256; 16 by default.
    pub concurrent_calls_max: u64,
}

/// Each limit with its name and what it may be.
const BOUNDS: [(&str, u64, u64); 6] = [
    ("memory_bytes_max", 64 << 10, 1 << 30),
    ("cpu_ms_max", 1, 60_000),
    ("time_ms_max", 1, 120_000),
    ("output_bytes_max", 1, 4 << 20),
    ("outbound_calls_max", 0, 256),
    ("concurrent_calls_max", 1, 256),
];

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            cpu_ms_max: 1_000,
            time_ms_max: 10_000,
            output_bytes_max: 256 << 10,
            outbound_calls_max: 16,
            concurrent_calls_max: 16,
        }
    }
}

impl Limits {
    /// Each with its name, in one order.
    #[must_use]
    pub fn each(&self) -> [(&'static str, u64); 6] {
        let values = [
            self.memory_bytes_max,
            self.cpu_ms_max,
            self.time_ms_max,
            self.output_bytes_max,
            self.outbound_calls_max,
            self.concurrent_calls_max,
        ];
        let mut at = values.into_iter();
        BOUNDS.map(|(name, _, _)| (name, at.next().unwrap_or_default()))
    }

    /// The name of each limit with the least and the most it may be.
    #[must_use]
    pub fn bounds() -> &'static [(&'static str, u64, u64)] {
        &BOUNDS
    }

    pub(crate) fn check(&self, found: &mut Mistakes) {
        for ((name, value), (_, least, most)) in self.each().into_iter().zip(BOUNDS) {
            if !(least..=most).contains(&value) {
                found.add(&["limits", name], format!("{value} is not from {least} to {most}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_name_and_a_default_within_its_bounds() {
        let limits = Limits::default();
        let written = serde_json::to_value(limits).unwrap();
        for (name, value) in limits.each() {
            assert_eq!(written[name], value, "{name}");
        }
        assert_eq!(written.as_object().unwrap().len(), BOUNDS.len());
        let mut found = Mistakes::default();
        limits.check(&mut found);
        assert_eq!(found.into_vec(), []);
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (name, least, most) in BOUNDS {
            let check = |value: u64, expected: usize| {
                let limits: Limits = serde_json::from_value(serde_json::json!({ name: value })).unwrap();
                let mut found = Mistakes::default();
                limits.check(&mut found);
                let found = found.into_vec();
                assert_eq!(found.len(), expected, "{name} = {value}");
                assert!(found.iter().all(|mistake| mistake.path == ["limits", name]));
            };
            check(least, 0);
            check(most, 0);
            check(most + 1, 1);
            if least > 0 {
                check(least - 1, 1);
            }
        }
    }
}
