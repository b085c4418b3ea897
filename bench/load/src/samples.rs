//! CPU and memory of processes over time: a sample each second, so that growth is seen.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::process::{members, usage_of};

/// The most samples of a run: of one that is longer than this many seconds, each is of more than a second.
const SAMPLES_MAX: f64 = 3_600.0;
const INTERVAL_SECONDS_MIN: f64 = 1.0;
/// After this many samples children that are new are looked for.
const LOOK_EVERY: usize = 30;
/// Growth is told from the median of this part of the samples at both ends, so that no single one decides.
const END_PART: usize = 10;
/// Fewer samples than this tell nothing of growth.
const GROWTH_SAMPLES_MIN: usize = 20;

/// A process tree at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Since the window began.
    pub at_s: f64,
    /// CPU used since the sample before, in cores.
    pub cores: f64,
    /// Resident memory.
    pub rss_bytes: u64,
}

/// Samples the process tree under `root` from now until a moment.
pub(crate) async fn sample(root: u32, from: Instant, to: Instant) -> Vec<Sample> {
    let seconds = (to - from).as_secs_f64();
    let interval = Duration::from_secs_f64((seconds / SAMPLES_MAX).max(INTERVAL_SECONDS_MIN));
    let mut samples = Vec::new();
    sleep_until(from).await;
    let mut tree = members(root);
    let mut before = usage_of(&tree);
    let mut due = from + interval;
    while due <= to {
        sleep_until(due).await;
        if samples.len() % LOOK_EVERY == LOOK_EVERY - 1 {
            tree = members(root);
        }
        let now = usage_of(&tree);
        let cores = (now.cpu_seconds - before.cpu_seconds).max(0.0) / interval.as_secs_f64();
        samples.push(Sample { at_s: (due - from).as_secs_f64(), cores, rss_bytes: now.rss_bytes });
        before = now;
        due += interval;
    }
    samples
}

/// Resident memory at the end as a share of that at the begin; `None` when there are too few samples to tell.
pub(crate) fn growth(samples: &[Sample]) -> Option<f64> {
    if samples.len() < GROWTH_SAMPLES_MIN {
        return None;
    }
    let part = samples.len() / END_PART;
    let first = median(&samples[..part])?;
    let last = median(&samples[samples.len() - part..])?;
    (first > 0.0).then(|| last / first)
}

fn median(samples: &[Sample]) -> Option<f64> {
    let mut sizes: Vec<u64> = samples.iter().map(|sample| sample.rss_bytes).collect();
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).map(|size| *size as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_from_both_ends_and_not_from_a_peak() {
        fn check(size: impl Fn(usize) -> u64, count: usize, expected: Option<f64>) {
            let at = |at: usize| Sample { at_s: at as f64, cores: 0.0, rss_bytes: size(at) };
            let found = growth(&(0..count).map(at).collect::<Vec<_>>());
            assert_eq!(found.map(|growth| (growth * 100.0).round() / 100.0), expected);
        }
        check(|_| 100, 60, Some(1.0));
        check(|at| 100 + at as u64, 100, Some(1.86));
        check(|at| if at == 99 { 1_000 } else { 100 }, 100, Some(1.0));
        check(|_| 100, GROWTH_SAMPLES_MIN - 1, None);
        check(|_| 0, 60, None);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_sample_each_second_and_a_bound_on_their_number() {
        for (seconds, count) in [(3, 3), (100, 100), (36_000, 3_600)] {
            let from = Instant::now();
            let samples = sample(std::process::id(), from, from + Duration::from_secs(seconds)).await;
            assert_eq!(samples.len(), count);
            assert!(samples.iter().all(|sample| sample.rss_bytes > 100_000));
        }
    }
}
