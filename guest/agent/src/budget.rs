//! What a run has used of what it may.

use crate::caps::Caps;
use crate::cost::Spent;
use crate::recorded::Recorded;

/// Why a run was made to end: the pair `waggle_agent_stop` of its response's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model was asked as often as it may be.
    Steps,
    /// As many calls were made as may be.
    ToolCalls,
    /// It took as long as it may.
    Time,
    /// Models read and wrote as much as they may.
    Tokens,
    /// Models cost as much as they may.
    Cost,
    /// The model repeated a call however often it was told not to.
    Repeated,
}

/// The name of the pair.
pub const STOP_PAIR: &str = "waggle_agent_stop";

impl Stop {
    /// The value of the pair.
    pub fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::ToolCalls => "tool_calls",
            Self::Time => "time",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
            Self::Repeated => "repeated",
        }
    }

    /// What the model is told before the last step.
    pub fn told(self) -> &'static str {
        match self {
            Self::Steps => {
                "This is your last step: no more tools can be called. Answer now from what you know, and say what is missing."
            }
            Self::ToolCalls => {
                "No more tools can be called: their number for this request is used up. Answer now from what you know, and \
                 say what is missing."
            }
            Self::Time => {
                "No more tools can be called: the time for this request is used up. Answer now from what you know, and say \
                 what is missing."
            }
            Self::Tokens | Self::Cost => {
                "No more tools can be called: the budget of this request is used up. Answer now, briefly, from what you \
                 know, and say what is missing."
            }
            Self::Repeated => {
                "No more tools can be called: you have repeated the same call again and again. Answer now from what you \
                 know, and say what is missing."
            }
        }
    }
}

/// How the next step is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The model may call tools.
    Act,
    /// The model is asked once more, without tools, and is told why.
    Answer(Stop),
    /// The model was asked for an answer already: the run is over.
    Over(Stop),
}

/// What a run has used of what it may.
#[derive(Debug, Clone)]
pub struct Budget {
    caps: Caps,
    steps: u32,
    calls: u32,
    spent: Spent,
    /// For how long it ran before, where it was interrupted, in milliseconds.
    before_ms: u64,
    /// Since when it runs, in milliseconds since 1970.
    since_ms: u64,
    repeated: bool,
    answering: Option<Stop>,
}

impl Budget {
    /// Of a run that begins now.
    pub fn new(caps: Caps, now_ms: u64) -> Self {
        Self {
            caps,
            steps: 0,
            calls: 0,
            spent: Spent::default(),
            before_ms: 0,
            since_ms: now_ms,
            repeated: false,
            answering: None,
        }
    }

    /// Of a run that goes on now. What was used before counts, and the time in which nobody ran it does not. Whoever goes
    /// through the recorded steps again does so without [`begin_step`](Self::begin_step), [`take_calls`](Self::take_calls)
    /// and [`spend`](Self::spend).
    pub fn resumed(caps: Caps, recorded: &Recorded, now_ms: u64) -> Self {
        Self {
            // A step whose model was asked and has not answered is made again, under its old number.
            steps: recorded.answered_steps(),
            calls: recorded.calls_begun(),
            spent: recorded.spent(),
            before_ms: recorded.active_ms(),
            ..Self::new(caps, now_ms)
        }
    }

    /// The bounds.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// All that models have read, written and cost.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// Why the run is at its last step; `None` while it is not.
    pub fn stop(&self) -> Option<Stop> {
        self.answering
    }

    /// How long it runs, in milliseconds.
    pub fn elapsed_ms(&self, now_ms: u64) -> u64 {
        self.before_ms.saturating_add(now_ms.saturating_sub(self.since_ms))
    }

    /// For how long it may run on, in milliseconds: what a call of a tool or of the model may take at most, but for the
    /// last step, which has the model's own time.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        self.caps.time_ms_max.saturating_sub(self.elapsed_ms(now_ms))
    }

    /// How the next step is to be made; it counts from here on. The first step is always made: a turn is answered, if
    /// only once.
    pub fn begin_step(&mut self, now_ms: u64) -> Next {
        if let Some(stop) = self.answering {
            return Next::Over(stop);
        }
        self.steps = self.steps.saturating_add(1);
        self.answering = self.used_up(now_ms);
        self.answering.map_or(Next::Act, Next::Answer)
    }

    /// The first bound that is reached, with the step that is being made.
    fn used_up(&self, now_ms: u64) -> Option<Stop> {
        let Caps { steps_max, tool_calls_max, time_ms_max, tokens_max, cost_max, .. } = self.caps;
        let reached = [
            (self.repeated, Stop::Repeated),
            (self.steps >= steps_max, Stop::Steps),
            (self.calls >= tool_calls_max, Stop::ToolCalls),
            (self.elapsed_ms(now_ms) >= time_ms_max, Stop::Time),
            (tokens_max.is_some_and(|most| self.spent.tokens() >= most), Stop::Tokens),
            (cost_max.is_some_and(|most| self.spent.cost >= most), Stop::Cost),
        ];
        reached.into_iter().find(|(is_reached, _)| *is_reached).map(|(_, stop)| stop)
    }

    /// The number of the step that is being made, from 1; 0 before the first.
    pub fn step(&self) -> u32 {
        self.steps
    }

    /// Notes what a call of the model took.
    pub fn spend(&mut self, spent: Spent) {
        self.spent = self.spent.plus(spent);
    }

    /// How many of `wanted` calls may be made; they count from here on. The model is told of the others that they were
    /// not made ([`NOT_MADE`]).
    pub fn take_calls(&mut self, wanted: usize) -> usize {
        let left = self.caps.tool_calls_max.saturating_sub(self.calls);
        let taken = u32::try_from(wanted).unwrap_or(u32::MAX).min(left);
        self.calls += taken;
        taken as usize
    }

    /// Notes that the model repeats itself beyond reason: the next step is the last.
    pub fn note_repeated(&mut self) {
        self.repeated = true;
    }
}

/// What a model is told of a call beyond the run's number of them.
pub const NOT_MADE: &str = "This call was not made: the number of tool calls for this request is used up.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caps::Values;
    use crate::cost::Cost;

    fn budget(values: Values) -> Budget {
        Budget::new(Caps::of(values, None), 1_000)
    }

    fn spent(tokens: u64, cost: u64) -> Spent {
        Spent { input_tokens: tokens, cost: Cost(cost), ..Spent::default() }
    }

    #[test]
    fn the_last_step_is_kept_for_an_answer_and_there_is_none_after_it() {
        let mut budget = budget(Values { steps: 3, ..Values::default() });
        let steps: Vec<Next> = (0..4).map(|_| budget.begin_step(1_000)).collect();
        assert_eq!(steps, [Next::Act, Next::Act, Next::Answer(Stop::Steps), Next::Over(Stop::Steps)]);
        assert_eq!((budget.step(), budget.stop()), (3, Some(Stop::Steps)));
    }

    fn check(values: Values, use_up: impl FnOnce(&mut Budget), at_ms: u64, expected: Option<Stop>) {
        let mut budget = budget(values);
        assert_eq!(budget.begin_step(1_000), Next::Act);
        use_up(&mut budget);
        let next = expected.map_or(Next::Act, Next::Answer);
        assert_eq!(budget.begin_step(at_ms), next, "{values:?}");
        let after = expected.map_or(Next::Act, Next::Over);
        assert_eq!(budget.begin_step(at_ms), after, "{values:?}");
    }

    #[test]
    fn whichever_bound_is_reached_first_ends_the_run_with_an_answer() {
        let values = Values::default();
        check(values, |_| {}, 120_999, None);
        check(values, |_| {}, 121_000, Some(Stop::Time));
        check(values, |budget| assert_eq!(budget.take_calls(31), 31), 1_000, None);
        check(values, |budget| assert_eq!(budget.take_calls(40), 32), 1_000, Some(Stop::ToolCalls));
        check(values, |budget| budget.spend(spent(u64::MAX, u64::MAX)), 1_000, None);
        let tokens = Values { tokens: 100, ..values };
        check(tokens, |budget| budget.spend(spent(99, 0)), 1_000, None);
        check(tokens, |budget| budget.spend(spent(100, 0)), 1_000, Some(Stop::Tokens));
        let cost = Values { cost: Some(Cost(100)), ..values };
        check(cost, |budget| budget.spend(spent(9_999, 99)), 1_000, None);
        check(cost, |budget| budget.spend(spent(9_999, 100)), 1_000, Some(Stop::Cost));
        check(values, Budget::note_repeated, 1_000, Some(Stop::Repeated));
    }

    #[test]
    fn a_run_that_may_do_nothing_answers_all_the_same() {
        for (values, stop) in [
            (Values { steps: 1, ..Values::default() }, Stop::Steps),
            (Values { tool_calls: 0, ..Values::default() }, Stop::ToolCalls),
            (Values { time_ms: 0, ..Values::default() }, Stop::Time),
            (Values { cost: Some(Cost(0)), ..Values::default() }, Stop::Cost),
        ] {
            let mut budget = budget(values);
            assert_eq!(budget.begin_step(1_000), Next::Answer(stop));
            assert_eq!(budget.begin_step(1_000), Next::Over(stop));
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_time_and_takes_none() {
        let budget = budget(Values::default());
        assert_eq!((budget.elapsed_ms(500), budget.left_ms(500)), (0, 120_000));
        assert_eq!((budget.elapsed_ms(61_000), budget.left_ms(61_000)), (60_000, 60_000));
        assert_eq!(budget.left_ms(u64::MAX), 0);
    }
}
