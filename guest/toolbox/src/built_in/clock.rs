//! `current_time(time_zone)`: what time it is, anywhere. Models know neither.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

/// The longest name of a time zone, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The time `now_ms` (milliseconds since 1970) in a time zone, as JSON: a name of IANA's (`Europe/Berlin`), an offset
/// (`+05:30`), or nothing for UTC.
///
/// # Errors
/// There is no such time zone; the text is for the model.
pub(crate) fn time(now_ms: u64, time_zone: Option<&str>) -> Result<String, String> {
    let name = time_zone.map(str::trim).filter(|name| !name.is_empty()).unwrap_or("UTC");
    let zone = zone(name).ok_or_else(|| {
        "There is no such time zone: give a name of IANA's, as 'Europe/Berlin', or an offset, as '+05:30'.".to_owned()
    })?;
    let timestamp = i64::try_from(now_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let timestamp = timestamp.ok_or_else(|| "The clock is not set.".to_owned())?;
    let now = timestamp.to_zoned(zone);
    let (moment, day) = (now.strftime("%Y-%m-%dT%H:%M:%S%:z"), now.strftime("%A"));
    Ok(serde_json::json!({
        "time": moment.to_string(),
        "weekday": day.to_string(),
        "time_zone": name,
        "unix_seconds": now_ms / 1000,
    })
    .to_string())
}

fn zone(name: &str) -> Option<TimeZone> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    if matches!(name, "UTC" | "utc" | "Z" | "GMT") {
        return Some(TimeZone::UTC);
    }
    if let Some(seconds) = offset_seconds(name) {
        return Offset::from_seconds(seconds).ok().map(TimeZone::fixed);
    }
    TimeZoneDatabase::bundled().get(name).ok()
}

/// What `+HH:MM`, `-HHMM`, `+HH` or `UTC+H` is in seconds.
fn offset_seconds(name: &str) -> Option<i32> {
    let offset = name.strip_prefix("UTC").or_else(|| name.strip_prefix("GMT")).unwrap_or(name);
    let (sign, rest) = match offset.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-" | "−", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None if rest.len() > 2 => rest.split_at_checked(rest.len() - 2)?,
        None => (rest, "0"),
    };
    let number = |digits: &str, below: i32| {
        let is_number = (1..=2).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse().ok().filter(|number: &i32| is_number && *number < below)
    };
    Some(sign * (number(hours, 15)? * 3600 + number(minutes, 60)? * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// 2026-07-28T12:00:00Z.
    const SUMMER_MS: u64 = 1_785_240_000_000;

    fn check(time_zone: Option<&str>, expected: &str, weekday: &str) {
        let told: Value = serde_json::from_str(&time(SUMMER_MS, time_zone).unwrap()).unwrap();
        assert_eq!((told["time"].as_str(), told["weekday"].as_str()), (Some(expected), Some(weekday)));
        assert_eq!(told["unix_seconds"], SUMMER_MS / 1000);
    }

    #[test]
    fn the_time_is_told_anywhere() {
        check(None, "2026-07-28T12:00:00+00:00", "Tuesday");
        check(Some(" "), "2026-07-28T12:00:00+00:00", "Tuesday");
        check(Some("Europe/Berlin"), "2026-07-28T14:00:00+02:00", "Tuesday");
        check(Some("asia/kolkata"), "2026-07-28T17:30:00+05:30", "Tuesday");
        check(Some("Pacific/Auckland"), "2026-07-29T00:00:00+12:00", "Wednesday");
        check(Some("+05:30"), "2026-07-28T17:30:00+05:30", "Tuesday");
        check(Some("-0330"), "2026-07-28T08:30:00-03:30", "Tuesday");
        check(Some("UTC+8"), "2026-07-28T20:00:00+08:00", "Tuesday");
    }

    #[test]
    fn a_time_zone_that_is_none_is_refused() {
        for name in ["Berlin", "Europe/Nowhere", "+25:00", "+5:99", "+", "../etc/passwd", &"x".repeat(1000)] {
            assert!(time(SUMMER_MS, Some(name)).is_err(), "{name}");
        }
    }
}
