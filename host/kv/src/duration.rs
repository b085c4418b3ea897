//! Spans of time as people write them in a configuration: `30m`, `7d`, `1h30m`.

use crate::{Error, limits::TIME_TO_LIVE_DAYS_MAX};
use std::time::Duration;

const FIELD: &str = "time_to_live";
const UNITS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a time to live: one or more whole numbers, each followed by `ms`, `s`, `m`, `h` or `d`.
pub(crate) fn parse_time_to_live(text: &str) -> Result<Duration, Error> {
    let error = |reason: String| Error::Config { field: FIELD, reason };
    let expected = "expected a whole number and a unit (ms, s, m, h, d), as in \"30m\" or \"7d\"";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(error(format!("is empty; {expected}")));
    }
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| c.is_ascii_digit() || c.is_whitespace());
        let unit_ms = UNITS_MS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
        let (Some(unit_ms), Ok(count)) = (unit_ms, number.parse::<u64>()) else {
            return Err(error(format!("{text:?} is not a span of time; {expected}")));
        };
        total_ms = total_ms.saturating_add(count.saturating_mul(unit_ms));
        rest = after.trim_start();
    }
    let days_ms = 86_400_000;
    if total_ms == 0 || total_ms > TIME_TO_LIVE_DAYS_MAX * days_ms {
        return Err(error(format!("{text:?} is out of range; it must be 1ms to {TIME_TO_LIVE_DAYS_MAX}d")));
    }
    Ok(Duration::from_millis(total_ms))
}

fn split_where(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_as_people_write_them() {
        let check = |text: &str, seconds: Option<f64>| {
            let actual = parse_time_to_live(text).ok().map(|span| span.as_secs_f64());
            assert_eq!(actual, seconds, "{text:?}");
        };
        check("30m", Some(1_800.0));
        check("7d", Some(604_800.0));
        check("1h30m", Some(5_400.0));
        check(" 1h 30m ", Some(5_400.0));
        check("250ms", Some(0.25));
        check("36500d", Some(36_500.0 * 86_400.0));
        for wrong in [
            "",
            " ",
            "7",
            "d",
            "7 days",
            "-1s",
            "1.5h",
            "0s",
            "36501d",
            "99999999999999999999d",
            "7d!",
            "７d",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn the_error_names_the_field_and_the_text() {
        let message = parse_time_to_live("soon").unwrap_err().to_string();
        assert!(
            message.contains("time_to_live") && message.contains("soon") && message.contains("7d"),
            "{message}"
        );
    }
}
