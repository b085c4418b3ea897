//! Calendar windows in UTC: a minute, a day, a month. Each begins when the clock and the calendar say so, on every host at
//! the same moment, and none knows of leap seconds, which Unix time does not have either.

use std::fmt;

const SECONDS_PER_MINUTE: u64 = 60;
const SECONDS_PER_DAY: u64 = 86_400;
/// The last moment that is told apart, 9999-12-31T23:59:59Z; later ones are taken for it.
const SECOND_MAX: u64 = 253_402_300_799;

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    Minute,
    Day,
    Month,
}

/// One minute, day or month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    period: Period,
    /// Seconds since 1970.
    start_s: u64,
    /// The first second after it.
    end_s: u64,
}

impl Window {
    /// The one that `now_s`, seconds since 1970, lies in.
    pub(super) fn at(period: Period, now_s: u64) -> Self {
        let now_s = now_s.min(SECOND_MAX);
        let (start_s, end_s) = match period {
            Period::Minute => whole(now_s, SECONDS_PER_MINUTE),
            Period::Day => whole(now_s, SECONDS_PER_DAY),
            Period::Month => {
                let days = now_s / SECONDS_PER_DAY;
                let (year, month, day) = civil(days);
                let first = days - (day - 1);
                (first * SECONDS_PER_DAY, (first + days_in(year, month)) * SECONDS_PER_DAY)
            }
        };
        Self { period, start_s, end_s }
    }

    /// The first second after it.
    pub(super) fn end_s(self) -> u64 {
        self.end_s
    }

    /// The seconds until it ends, at least 1.
    pub(super) fn remaining_s(self, now_s: u64) -> u64 {
        self.end_s.saturating_sub(now_s).max(1)
    }
}

impl fmt::Display for Window {
    /// `minute/2026-05-01T12:34`, `day/2026-05-01`, `month/2026-05`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.start_s / SECONDS_PER_DAY);
        match self.period {
            Period::Month => write!(f, "month/{year:04}-{month:02}"),
            Period::Day => write!(f, "day/{year:04}-{month:02}-{day:02}"),
            Period::Minute => {
                let minutes = self.start_s % SECONDS_PER_DAY / SECONDS_PER_MINUTE;
                let (hour, minute) = (minutes / 60, minutes % 60);
                write!(f, "minute/{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}")
            }
        }
    }
}

fn whole(now_s: u64, length_s: u64) -> (u64, u64) {
    let start_s = now_s - now_s % length_s;
    (start_s, start_s + length_s)
}

/// Year, month and day of the month of a day since 1970-01-01, in the Gregorian calendar. The algorithm is Howard
/// Hinnant's `civil_from_days` ("chrono-Compatible Low-Level Date Algorithms"): years begin in March there, so that the
/// day that some years have is their last, and 400 years repeat.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_BEFORE_1970: u64 = 719_468;
    const DAYS_PER_400_YEARS: u64 = 146_097;
    let days = days + DAYS_BEFORE_1970;
    let (era, day_of_era) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn days_in(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_the_calendars() {
        let check = |now_s: u64, names: [&str; 3], ends_in_s: [u64; 3]| {
            let windows =
                [Period::Minute, Period::Day, Period::Month].map(|period| Window::at(period, now_s));
            assert_eq!(windows.map(|window| window.to_string()), names, "{now_s}");
            assert_eq!(windows.map(|window| window.remaining_s(now_s)), ends_in_s, "{now_s}");
        };
        const DAY: u64 = 86_400;
        check(0, ["minute/1970-01-01T00:00", "day/1970-01-01", "month/1970-01"], [60, DAY, 31 * DAY]);
        check(
            951_827_659,
            ["minute/2000-02-29T12:34", "day/2000-02-29", "month/2000-02"],
            [41, DAY - 45_259, DAY - 45_259],
        );
        check(1_798_761_599, ["minute/2026-12-31T23:59", "day/2026-12-31", "month/2026-12"], [1, 1, 1]);
        check(
            1_798_761_600,
            ["minute/2027-01-01T00:00", "day/2027-01-01", "month/2027-01"],
            [60, DAY, 31 * DAY],
        );
        check(SECOND_MAX, ["minute/9999-12-31T23:59", "day/9999-12-31", "month/9999-12"], [1, 1, 1]);
        assert_eq!(Window::at(Period::Month, u64::MAX), Window::at(Period::Month, SECOND_MAX));
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..150_000 {
            assert_eq!(civil(days), (year, month, day), "day {days}");
            let window = Window::at(Period::Month, days * 86_400 + 5);
            assert!(window.start_s <= days * 86_400 && days * 86_400 < window.end_s());
            assert_eq!(window.start_s, (days - (day - 1)) * 86_400);
            day += 1;
            if day > days_in(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
