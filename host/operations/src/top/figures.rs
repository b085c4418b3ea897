//! Numbers as people read them, in few characters and never with a space: a cell of a table is one word for scripts.

use std::time::Duration;

/// What is shown where there is no number.
pub(super) const NONE: &str = "-";

/// A count or a rate, with three digits: `0.05`, `7.5`, `123`, `12.3k`, `4.5M`.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size < 999.5 => digits(value),
        size if size < 999.5e3 => format!("{}k", digits(value / 1e3)),
        size if size < 999.5e6 => format!("{}M", digits(value / 1e6)),
        size if size < 999.5e9 => format!("{}G", digits(value / 1e9)),
        size if size.is_finite() => format!("{value:.0e}"),
        // NaN as well.
        _ => NONE.to_owned(),
    }
}

/// Seconds: `350us`, `7.5ms`, `1.2s`.
pub(super) fn seconds(value: f64) -> String {
    match value {
        value if !value.is_finite() || value < 0.0 => NONE.to_owned(),
        value if value < 0.000_999_5 => format!("{}us", digits(value * 1e6)),
        value if value < 0.999_5 => format!("{}ms", digits(value * 1e3)),
        value => format!("{}s", digits(value)),
    }
}

/// A part of 1 as a percentage: `0%`, `0.05%`, `12.3%`, `100%`; of processors also more than that.
pub(super) fn share(value: f64) -> String {
    if value.is_finite() { format!("{}%", digits(value * 100.0)) } else { NONE.to_owned() }
}

/// Bytes by powers of 1,024: `512B`, `1.5KiB`, `123MiB`.
pub(super) fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    if !value.is_finite() || value < 0.0 {
        return NONE.to_owned();
    }
    let (mut value, mut unit) = (value, 0);
    // At 999.5 it would have four digits.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1_024.0, unit + 1);
    }
    format!("{}{}", digits(value), UNITS[unit])
}

/// A long time by its two largest units: `45s`, `12m03s`, `3h07m`, `12d04h`.
pub(super) fn span(value: Duration) -> String {
    let seconds = value.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// `value` by `show`, or the sign for nothing.
pub(super) fn or_none(value: Option<f64>, show: impl FnOnce(f64) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), show)
}

/// Up to three digits that count, without zeros at the end.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    // What is too small to show is no negative nothing.
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let check = |value: f64, expected: &str| assert_eq!(number(value), expected, "{value}");
        check(0.0, "0");
        check(-0.001, "0");
        check(0.05, "0.05");
        check(7.5, "7.5");
        check(9.999, "10");
        check(12.34, "12.3");
        check(123.4, "123");
        check(999.7, "1k");
        check(12_345.0, "12.3k");
        check(999_900.0, "1M");
        check(-4_500_000.0, "-4.5M");
        check(2e9, "2G");
        check(1e15, "1e15");
        check(f64::NAN, NONE);
        check(f64::INFINITY, NONE);
    }

    #[test]
    fn seconds_have_the_unit_that_fits() {
        let check = |value: f64, expected: &str| assert_eq!(seconds(value), expected, "{value}");
        check(0.0, "0us");
        check(0.000_35, "350us");
        check(0.000_999_9, "1ms");
        check(0.007_5, "7.5ms");
        check(0.999_9, "1s");
        check(60.0, "60s");
        check(f64::NAN, NONE);
    }

    #[test]
    fn shares_are_percentages() {
        let check = |value: f64, expected: &str| assert_eq!(share(value), expected, "{value}");
        check(0.0, "0%");
        check(0.000_5, "0.05%");
        check(0.123_4, "12.3%");
        check(1.0, "100%");
        check(2.0, "200%");
        check(f64::NAN, NONE);
    }

    #[test]
    fn bytes_go_by_powers_of_1024() {
        let check = |value: f64, expected: &str| assert_eq!(bytes(value), expected, "{value}");
        check(0.0, "0B");
        check(1_000.0, "0.98KiB");
        check(1_536.0, "1.5KiB");
        check(123.0 * 1_048_576.0, "123MiB");
        check(1e18, "909495TiB");
        check(-1.0, NONE);
    }

    #[test]
    fn a_long_time_has_two_units() {
        let check = |seconds: u64, expected: &str| assert_eq!(span(Duration::from_secs(seconds)), expected);
        check(45, "45s");
        check(723, "12m03s");
        check(11_220, "3h07m");
        check(1_051_200, "12d04h");
    }
}
