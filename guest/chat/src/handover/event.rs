//! What people are told: an event as CloudEvents 1.0 has them, in structured mode.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>

use super::routes::mark;
use super::transcript::Transcript;
use serde::Serialize;
use waggle_conversation::handover::Handover;
use waggle_openai::ConversationId;
use waggle_openai::handover::Told;

const SPECIFICATION: &str = "1.0";
const KIND: &str = "waggle.conversation.handed_over";

#[derive(Serialize)]
struct EventJson<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    r#type: &'static str,
    subject: ConversationId,
    time: String,
    datacontenttype: &'static str,
    data: DataJson<'a>,
}

#[derive(Serialize)]
struct DataJson<'a> {
    conversation: ConversationId,
    user: Option<&'a str>,
    #[serde(flatten)]
    told: Told<'a>,
    transcript: &'a Transcript,
}

/// The event, as JSON.
pub(super) fn event(
    id: ConversationId,
    user: Option<&str>,
    handover: &Handover,
    transcript: &Transcript,
) -> serde_json::Result<String> {
    serde_json::to_string(&EventJson {
        specversion: SPECIFICATION,
        id: &handover.id,
        source: format!("/v1/conversations/{id}"),
        r#type: KIND,
        subject: id,
        time: timestamp(handover.since),
        datacontenttype: "application/json",
        data: DataJson { conversation: id, user, told: mark(handover), transcript },
    })
}

const SECONDS_PER_DAY: u64 = 86_400;

/// A moment as RFC 3339 writes it, in UTC.
fn timestamp(unix_s: u64) -> String {
    let (days, second) = (unix_s / SECONDS_PER_DAY, unix_s % SECONDS_PER_DAY);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day so many days after 1970-01-01, in the Gregorian calendar. Years begin in March, so that the leap day
/// is the last of one (Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    const YEARS_PER_ERA: u64 = 400;
    let days = days + DAYS_TO_1970;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * YEARS_PER_ERA + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        for (unix_s, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(unix_s), expected);
        }
    }
}
