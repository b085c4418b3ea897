//! How far a run may go: the tenant's variables, each held to a maximum that no tenant passes.

use crate::cost::Cost;

/// A variable of the function, what holds where it is not set, and what holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its value where there is none.
    pub default: u64,
    /// The most that it can be.
    pub max: u64,
}

/// How often the model is asked, the last time for an answer.
pub const STEPS: Variable = Variable { name: "agent_steps_max", default: 10, max: 50 };
/// How many calls are made.
pub const TOOL_CALLS: Variable = Variable { name: "agent_tool_calls_max", default: 32, max: 200 };
/// How many of them at once.
pub const PARALLEL: Variable = Variable { name: "agent_parallel_max", default: 8, max: 16 };
/// How long it takes, in milliseconds.
pub const TIME_MS: Variable = Variable { name: "agent_time_ms_max", default: 120_000, max: 3_600_000 };
/// How many tokens models read and write for it; 0: any number.
pub const TOKENS: Variable = Variable { name: "agent_tokens_max", default: 0, max: u64::MAX };
/// The variable that says what models may cost: an amount of money, or nothing for any.
pub const COST_NAME: &str = "agent_cost_max";

/// How far a run may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// How often the model is asked, 1 to the maximum.
    pub steps_max: u32,
    /// How many calls are made; may be 0.
    pub tool_calls_max: u32,
    /// How many of them at once, 1 to the maximum.
    pub parallel_max: usize,
    /// How long it takes, in milliseconds.
    pub time_ms_max: u64,
    /// How many tokens models read and write for it; `None`: any number.
    pub tokens_max: Option<u64>,
    /// What models may cost; `None`: anything.
    pub cost_max: Option<Cost>,
}

/// The values of the variables, as they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Values {
    /// Of [`STEPS`].
    pub steps: u64,
    /// Of [`TOOL_CALLS`].
    pub tool_calls: u64,
    /// Of [`PARALLEL`].
    pub parallel: u64,
    /// Of [`TIME_MS`].
    pub time_ms: u64,
    /// Of [`TOKENS`].
    pub tokens: u64,
    /// Of [`COST_NAME`].
    pub cost: Option<Cost>,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            steps: STEPS.default,
            tool_calls: TOOL_CALLS.default,
            parallel: PARALLEL.default,
            time_ms: TIME_MS.default,
            tokens: TOKENS.default,
            cost: None,
        }
    }
}

impl Variable {
    fn held(self, value: u64) -> u64 {
        value.min(self.max)
    }
}

fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Caps {
    /// The variables' values, each held to its maximum, and the calls to what the request allows besides.
    pub fn of(values: Values, max_tool_calls: Option<u64>) -> Self {
        let calls = values.tool_calls.min(max_tool_calls.unwrap_or(u64::MAX));
        Self {
            steps_max: small(STEPS.held(values.steps)).max(1),
            tool_calls_max: small(TOOL_CALLS.held(calls)),
            parallel_max: usize::try_from(PARALLEL.held(values.parallel)).unwrap_or(1).max(1),
            time_ms_max: TIME_MS.held(values.time_ms),
            tokens_max: (values.tokens > 0).then_some(values.tokens),
            cost_max: values.cost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_has_its_default_and_a_request_lowers_the_calls() {
        let caps = Caps::of(Values::default(), None);
        let expected = Caps {
            steps_max: 10,
            tool_calls_max: 32,
            parallel_max: 8,
            time_ms_max: 120_000,
            tokens_max: None,
            cost_max: None,
        };
        assert_eq!(caps, expected);
        assert_eq!(Caps::of(Values::default(), Some(3)).tool_calls_max, 3);
        assert_eq!(Caps::of(Values::default(), Some(1_000)).tool_calls_max, 32);
    }

    #[test]
    fn nobody_passes_the_maximum_and_a_run_has_at_least_a_step() {
        let most = u64::MAX;
        let values =
            Values { steps: most, tool_calls: most, parallel: most, time_ms: most, tokens: most, cost: None };
        let caps = Caps::of(values, None);
        assert_eq!((caps.steps_max, caps.tool_calls_max, caps.parallel_max), (50, 200, 16));
        assert_eq!((caps.time_ms_max, caps.tokens_max), (3_600_000, Some(most)));
        let none =
            Values { steps: 0, tool_calls: 0, parallel: 0, time_ms: 0, tokens: 0, cost: Some(Cost(0)) };
        let caps = Caps::of(none, None);
        assert_eq!((caps.steps_max, caps.tool_calls_max, caps.parallel_max), (1, 0, 1));
        assert_eq!((caps.time_ms_max, caps.tokens_max, caps.cost_max), (0, None, Some(Cost(0))));
    }
}
