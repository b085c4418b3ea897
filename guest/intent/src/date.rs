//! Days, as they are said.

use regex_lite::Regex;
use std::sync::LazyLock;

const DAY_MS: u64 = 86_400_000;

/// A day with its year in front, by any of the usual marks.
static WRITTEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"([0-9]{4})\s*[-/.年]\s*([0-9]{1,2})\s*[-/.月]\s*([0-9]{1,2})日?").ok());

/// Days that are named by today. Longer names stand before those that are a part of them.
const NAMED: [(&str, i64); 12] = [
    ("day after tomorrow", 2),
    ("day before yesterday", -2),
    ("tomorrow", 1),
    ("yesterday", -1),
    ("today", 0),
    ("大后天", 3),
    ("后天", 2),
    ("前天", -2),
    ("明天", 1),
    ("昨天", -1),
    ("今天", 0),
    ("今日", 0),
];

/// A day: its number since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day(i64);

impl Day {
    /// The day of a time in milliseconds since 1970, in UTC.
    pub(crate) fn of_ms(now_ms: u64) -> Self {
        Self(i64::try_from(now_ms / DAY_MS).unwrap_or(0))
    }

    /// As `2026-11-22` (Howard Hinnant's `civil_from_days`).
    pub(crate) fn text(self) -> String {
        let shifted = self.0 + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        format!("{year:04}-{month:02}-{day:02}")
    }
}

fn days_of_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

/// The days that are written out in a text, as `2026-11-22`, and the text without them.
fn written(text: &str) -> (Vec<String>, String) {
    let (mut days, mut rest, mut end) = (Vec::new(), String::new(), 0);
    let Some(regex) = &*WRITTEN else { return (days, text.to_owned()) };
    for found in regex.captures_iter(text) {
        let number =
            |group: usize| found.get(group).and_then(|part| part.as_str().parse::<u32>().ok()).unwrap_or(0);
        let (year, month, day) = (number(1), number(2), number(3));
        let Some(whole) = found.get(0).filter(|_| (1..=days_of_month(year, month)).contains(&day)) else {
            continue;
        };
        days.push(format!("{year:04}-{month:02}-{day:02}"));
        rest.push_str(text.get(end..whole.start()).unwrap_or_default());
        rest.push(' ');
        end = whole.end();
    }
    rest.push_str(text.get(end..).unwrap_or_default());
    (days, rest)
}

/// The days of a text, written out or named, in this order.
pub(crate) fn days(text: &str, today: Day) -> Vec<String> {
    let (mut days, rest) = written(text);
    let mut rest = rest.to_lowercase();
    for (name, distance) in NAMED {
        if rest.contains(name) {
            days.push(Day(today.0 + distance).text());
            rest = rest.replace(name, " ");
        }
    }
    days
}

/// The text without the days that are written out in it: their numbers are no numbers.
pub(crate) fn without_days(text: &str) -> String {
    written(text).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-01.
    const TODAY: Day = Day(20_513);

    #[test]
    fn days_have_their_dates() {
        for (day, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (20_512, "2026-02-28"),
            (20_513, "2026-03-01"),
        ] {
            assert_eq!(Day(day).text(), text);
        }
        assert_eq!(Day::of_ms(1_772_323_200_000), TODAY);
    }

    #[test]
    fn days_are_found_as_they_are_said() {
        let check = |text: &str, expected: &[&str]| assert_eq!(days(text, TODAY), expected, "{text}");
        check("on 2026-03-05, please", &["2026-03-05"]);
        check("2026/3/5", &["2026-03-05"]);
        check("2026年3月5日送到", &["2026-03-05"]);
        check("Tomorrow", &["2026-03-02"]);
        check("the day after tomorrow", &["2026-03-03"]);
        check("后天", &["2026-03-03"]);
        check("昨天下的单", &["2026-02-28"]);
        check("2026-02-30", &[]);
        check("2026-13-01", &[]);
        check("order 1001", &[]);
        assert_eq!(without_days("order 12 of 2026-03-05!"), "order 12 of  !");
    }
}
