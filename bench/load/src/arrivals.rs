//! When requests are due in an open loop: a rate over time, and how arrivals spread within it. Pure: no clock in here.

use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// The highest rate of a step, in requests per second: far more than one generator can send.
pub(crate) const RATE_MAX: f64 = 1_000_000.0;
/// The most steps of one profile.
pub(crate) const STEPS_MAX: usize = 100;

/// How arrivals spread over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// The same time between any two.
    Uniform,
    /// Independent of each other, as callers are who know nothing of each other: exponential gaps.
    #[default]
    Poisson,
}

/// A rate that is kept for a while.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Requests per second; 0 is a pause.
    pub rate: f64,
    /// For how long.
    pub seconds: f64,
}

/// A request that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Since the begin of the schedule.
    pub(crate) after: Duration,
    /// In which step; `None` while it warms up.
    pub(crate) step: Option<usize>,
}

/// All arrivals of a profile, in order.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    phases: Vec<(Step, Option<usize>)>,
    arrivals: Arrivals,
    random: SplitMix,
    phase: usize,
    /// Where the present phase began.
    phase_begin_s: f64,
    /// When the next one arrives, since the phase began; `None` when the phase has just begun.
    next_s: Option<f64>,
    /// Arrivals of the present phase so far.
    count: u64,
}

impl Schedule {
    /// A schedule of `steps` after a warm-up at the rate of the first of them. The same seed gives the same arrivals.
    pub(crate) fn new(steps: &[Step], warm_up_seconds: f64, arrivals: Arrivals, seed: u64) -> Self {
        let mut phases = Vec::with_capacity(steps.len() + 1);
        if let Some(first) = steps.first() {
            phases.push((Step { rate: first.rate, seconds: warm_up_seconds }, None));
        }
        phases.extend(steps.iter().enumerate().map(|(at, step)| (*step, Some(at))));
        Self {
            phases,
            arrivals,
            random: SplitMix(seed),
            phase: 0,
            phase_begin_s: 0.0,
            next_s: None,
            count: 0,
        }
    }

    /// The time of the next arrival within a phase of this rate.
    fn advance(&mut self, rate: f64) -> f64 {
        self.count += 1;
        match (self.arrivals, self.next_s) {
            (Arrivals::Uniform, _) => (self.count - 1) as f64 / rate,
            (Arrivals::Poisson, before) => before.unwrap_or(0.0) + self.random.exponential() / rate,
        }
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            let (step, number) = *self.phases.get(self.phase)?;
            if step.rate > 0.0 {
                let at = self.advance(step.rate);
                self.next_s = Some(at);
                if at < step.seconds {
                    let after = Duration::from_secs_f64(self.phase_begin_s + at);
                    return Some(Due { after, step: number });
                }
            }
            // The exponential distribution has no memory: the next phase may begin afresh.
            self.phase += 1;
            self.phase_begin_s += step.seconds;
            self.next_s = None;
            self.count = 0;
        }
    }
}

/// The length of all steps.
pub(crate) fn total_seconds(steps: &[Step]) -> f64 {
    steps.iter().map(|step| step.seconds).sum()
}

/// Refuses profiles that cannot be run.
pub(crate) fn check_steps(steps: &[Step], seconds_max: f64) -> anyhow::Result<()> {
    if steps.len() > STEPS_MAX {
        bail!("{} steps: at most {STEPS_MAX} can be run", steps.len());
    }
    for step in steps {
        if !(step.rate == 0.0 || (0.01..=RATE_MAX).contains(&step.rate)) {
            bail!("a rate of {}: it is 0 or from 0.01 to {RATE_MAX} requests per second", step.rate);
        }
        if !(step.seconds > 0.0 && step.seconds <= seconds_max) {
            bail!(
                "a step of {} seconds: it is longer than 0 and at most {seconds_max} seconds",
                step.seconds
            );
        }
    }
    if !steps.is_empty() && steps.iter().all(|step| step.rate == 0.0) {
        bail!("no step has a rate above 0");
    }
    if total_seconds(steps) > seconds_max {
        bail!("the steps last {} seconds, more than {seconds_max}", total_seconds(steps));
    }
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for gaps between arrivals, and the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Exponentially distributed with mean 1.
    fn exponential(&mut self) -> f64 {
        // 53 bits make a number below 1, so that the logarithm is of one above 0.
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        -(1.0 - unit).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(rate: f64, seconds: f64) -> Step {
        Step { rate, seconds }
    }

    #[test]
    fn uniform_arrivals_are_equally_far_apart_and_restart_with_each_step() {
        let schedule =
            Schedule::new(&[step(4.0, 0.5), step(0.0, 1.0), step(2.0, 1.0)], 0.5, Arrivals::Uniform, 1);
        let found: Vec<_> = schedule.map(|due| (due.after.as_millis(), due.step)).collect();
        let expected =
            [(0, None), (250, None), (500, Some(0)), (750, Some(0)), (2_000, Some(2)), (2_500, Some(2))];
        assert_eq!(found, expected);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
        let schedule = Schedule::new(&[step(1_000.0, 20.0)], 0.0, Arrivals::Poisson, 7);
        let times: Vec<f64> = schedule.map(|due| due.after.as_secs_f64()).collect();
        assert!(times.is_sorted());
        // 20,000 expected, with a standard deviation of 141.
        assert!((19_300..=20_700).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let coefficient = variance.sqrt() / mean;
        assert!((0.95..1.05).contains(&coefficient), "{coefficient}");
    }

    #[test]
    fn a_seed_gives_the_same_arrivals_again() {
        let times =
            |seed| Schedule::new(&[step(50.0, 1.0)], 0.1, Arrivals::Poisson, seed).collect::<Vec<_>>();
        assert_eq!(times(3), times(3));
        assert_ne!(times(3), times(4));
    }

    #[test]
    fn profiles_that_cannot_be_run_are_refused() {
        fn check(steps: &[Step], expected: &str) {
            let error = check_steps(steps, 100.0).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        check(&[step(-1.0, 1.0)], "a rate of -1");
        check(&[step(f64::NAN, 1.0)], "a rate of NaN");
        check(&[step(1.0, 0.0)], "a step of 0 seconds");
        check(&[step(0.0, 1.0)], "no step has a rate above 0");
        check(&[step(1.0, 60.0), step(1.0, 60.0)], "last 120 seconds");
        check(&vec![step(1.0, 0.01); STEPS_MAX + 1], "at most 100");
    }
}
