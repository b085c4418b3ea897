//! Saturation: the rate goes up step by step in an open loop, until answers come too late or not at all.

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::arrivals::RATE_MAX;
use crate::measurement::{Latency, RunReport};
use crate::run::{RunConfig, run};

/// The most rates that are tried.
const POINTS_MAX: usize = 100;
/// Fewer requests than this in a step say nothing of a 99th percentile.
const REQUESTS_MIN: f64 = 100.0;
/// A share of the due requests that came back good, below which the server did not keep up.
const GOOD_SHARE_MIN: f64 = 0.999;

/// What to try.
#[derive(Debug, Clone)]
pub struct SaturateConfig {
    /// The run at each rate; its own rate, if it has one, does not matter.
    pub run: RunConfig,
    /// The first rate, in requests per second.
    pub rate_from: f64,
    /// Each rate is this many times the one before.
    pub factor: f64,
    /// No rate above this is tried.
    pub rate_max: f64,
    /// When the 99th percentile is over this, the server is saturated.
    pub p99_us_max: f64,
}

/// The curve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Saturation {
    /// The scenario's name.
    pub scenario: String,
    /// Where.
    pub url: String,
    /// The bound of the 99th percentile.
    pub p99_us_max: f64,
    /// In the order of their rates.
    pub points: Vec<SaturationPoint>,
    /// The highest rate that was kept within the bounds.
    pub rate_kept: Option<f64>,
    /// Why no higher rate was tried.
    pub stop: SaturationStop,
}

/// Why a saturation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaturationStop {
    /// The 99th percentile was over its bound.
    TooSlow,
    /// Requests failed or were not sent.
    Errors,
    /// The highest rate that was to be tried was kept.
    RateMax,
}

/// One rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SaturationPoint {
    /// Requests due per second.
    pub rate: f64,
    /// Good answers per second.
    pub good_per_second: f64,
    /// Requests that were due.
    pub offered: u64,
    /// Failed requests and those not sent.
    pub bad: u64,
    /// From when requests were due.
    pub latency: Latency,
    /// CPU of all server processes per good answer; `None` when no process is known.
    pub cpu_us_per_request: Option<f64>,
    /// Resident memory of all server processes.
    pub rss_bytes: u64,
    /// CPU of the load generator per good answer: at its own limit, the curve is its own and not the server's.
    pub generator_cpu_us_per_request: f64,
}

impl SaturationPoint {
    fn of(rate: f64, report: &RunReport) -> Self {
        let open = report.open.as_ref();
        let not_sent = open.map_or(0, |open| open.not_sent);
        let cpu = report.servers.iter().map(|server| server.cpu_us_per_request).sum();
        Self {
            rate,
            good_per_second: report.requests_per_second,
            offered: open.map_or(report.requests, |open| open.offered),
            bad: report.error_count() + not_sent,
            latency: report.latency,
            cpu_us_per_request: (!report.servers.is_empty() && report.requests > 0).then_some(cpu),
            rss_bytes: report.servers.iter().map(|server| server.rss_bytes).sum(),
            generator_cpu_us_per_request: report.generator_cpu_us_per_request,
        }
    }

    fn stop(&self, p99_us_max: f64) -> Option<SaturationStop> {
        let good = self.offered.saturating_sub(self.bad) as f64;
        if good < self.offered as f64 * GOOD_SHARE_MIN {
            return Some(SaturationStop::Errors);
        }
        (self.latency.p99_us > p99_us_max).then_some(SaturationStop::TooSlow)
    }
}

impl SaturateConfig {
    fn check(&self) -> anyhow::Result<()> {
        if !(REQUESTS_MIN..=f64::MAX).contains(&(self.rate_from * self.run.seconds)) {
            bail!(
                "{} requests per second for {} s are fewer than {REQUESTS_MIN} requests, too few for a percentile",
                self.rate_from,
                self.run.seconds
            );
        }
        if !(1.01..=10.0).contains(&self.factor) {
            bail!("a factor of {}: from 1.01 to 10 is possible", self.factor);
        }
        if !(self.rate_from..=RATE_MAX).contains(&self.rate_max) {
            bail!("a highest rate of {}: from {} to {RATE_MAX} is possible", self.rate_max, self.rate_from);
        }
        Ok(())
    }
}

/// Tries one rate after the other; `tell` hears of each point as soon as there is one.
///
/// # Errors
/// Bounds that make no sense, and what a run cannot do.
pub async fn saturate(
    config: &SaturateConfig,
    mut tell: impl FnMut(&SaturationPoint),
) -> anyhow::Result<Saturation> {
    config.check()?;
    let mut points: Vec<SaturationPoint> = Vec::new();
    let mut rate = config.rate_from;
    let mut stop = SaturationStop::RateMax;
    while points.len() < POINTS_MAX {
        let at_rate = RunConfig { rate: Some(rate), steps: Vec::new(), ..config.run.clone() };
        let point = SaturationPoint::of(rate, &run(at_rate).await?);
        tell(&point);
        let ends = point.stop(config.p99_us_max);
        points.push(point);
        if let Some(why) = ends {
            stop = why;
            break;
        }
        if rate >= config.rate_max {
            break;
        }
        rate = (rate * config.factor).min(config.rate_max);
    }
    let kept = points.iter().filter(|point| point.stop(config.p99_us_max).is_none());
    Ok(Saturation {
        scenario: config.run.name.clone(),
        url: config.run.url.clone(),
        p99_us_max: config.p99_us_max,
        rate_kept: kept.map(|point| point.rate).next_back(),
        points,
        stop,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn point(offered: u64, bad: u64, p99_us: f64) -> SaturationPoint {
        SaturationPoint {
            rate: 1.0,
            good_per_second: 1.0,
            offered,
            bad,
            latency: Latency { p99_us, ..Latency::default() },
            cpu_us_per_request: None,
            rss_bytes: 0,
            generator_cpu_us_per_request: 0.0,
        }
    }

    #[test]
    fn lateness_and_errors_end_it_but_one_failure_in_thousands_does_not() {
        assert_eq!(point(1_000, 0, 900.0).stop(1_000.0), None);
        assert_eq!(point(1_000, 0, 1_100.0).stop(1_000.0), Some(SaturationStop::TooSlow));
        assert_eq!(point(1_000, 2, 900.0).stop(1_000.0), Some(SaturationStop::Errors));
        assert_eq!(point(10_000, 2, 900.0).stop(1_000.0), None);
    }

    #[tokio::test]
    async fn bounds_that_make_no_sense_are_refused() {
        async fn check(change: impl FnOnce(&mut SaturateConfig), expected: &str) {
            let mut config = SaturateConfig {
                run: RunConfig::new(Scenario::Hello, "http://127.0.0.1:1"),
                rate_from: 100.0,
                factor: 1.5,
                rate_max: 1_000.0,
                p99_us_max: 1_000.0,
            };
            change(&mut config);
            let error = saturate(&config, |_| {}).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        check(|c| c.rate_from = 1.0, "too few for a percentile").await;
        check(|c| c.factor = 1.0, "a factor of 1").await;
        check(|c| c.rate_max = 50.0, "a highest rate of 50").await;
    }
}
