//! Moments for people: RFC 3339 in UTC, to the second.

use time::OffsetDateTime;

/// `seconds` since 1970 as `2026-01-02T03:04:05Z`. What is past the year 9999 stays a number.
pub(crate) fn moment(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    let Some(moment) = moment else { return format!("{seconds} s after 1970") };
    let ((year, month, day), (hour, minute, second)) = (moment.to_calendar_date(), moment.to_hms());
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_standard_has_it() {
        let check = |seconds: u64, expected: &str| assert_eq!(moment(seconds), expected);
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(1_767_323_045, "2026-01-02T03:04:05Z");
        check(253_402_300_799, "9999-12-31T23:59:59Z");
        check(253_402_300_800, "253402300800 s after 1970");
        check(u64::MAX, "18446744073709551615 s after 1970");
    }
}
