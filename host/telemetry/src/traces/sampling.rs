//! Which traces are recorded, by what the configuration and the environment say.

use super::config::TracesConfig;
use crate::otlp::{ExportError, Variables};
use waggle_measure::trace::Sampling;

pub(super) fn sampling(config: &TracesConfig, read: &Variables<'_>) -> Result<Sampling, ExportError> {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    let word = read.variable(SAMPLER).unwrap_or_else(|| "parentbased_always_on".to_owned());
    let (follows_caller, base) = match word.strip_prefix("parentbased_") {
        Some(base) => (true, base),
        None => (false, word.as_str()),
    };
    let ratio = match (config.sample_ratio, base) {
        (Some(ratio), _) => ratio,
        (None, "always_on") => 1.0,
        (None, "always_off") => 0.0,
        (None, "traceidratio") => ratio(read)?,
        (None, _) => {
            let expected = "always_on, always_off or traceidratio, or one of them behind parentbased_";
            return Err(ExportError::Value { place: SAMPLER.to_owned(), found: word, expected });
        }
    };
    Ok(Sampling { ratio, follows_caller: config.follow_caller.unwrap_or(follows_caller) })
}

fn ratio(read: &Variables<'_>) -> Result<f64, ExportError> {
    const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
    let Some(found) = read.variable(RATIO) else { return Ok(1.0) };
    match found.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(ExportError::Value { place: RATIO.to_owned(), found, expected: "a number from 0 to 1" }),
    }
}
