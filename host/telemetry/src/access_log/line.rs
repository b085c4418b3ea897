//! A line of the access log, in both forms.

use super::{AccessLogFormat, AccessRecord, Outcome};
use crate::tenant_files::push_string;
use crate::timestamp::Timestamp;
use std::fmt::{Display, Write};
use std::time::{Duration, SystemTime};

impl Outcome {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::Broken => "broken",
        }
    }
}

/// Adds the line of a record.
pub(super) fn write(out: &mut String, format: AccessLogFormat, record: &AccessRecord) {
    match format {
        AccessLogFormat::Json => write_json(out, record),
        AccessLogFormat::Readable => write_readable(out, record),
    }
}

/// Adds a line that says how many are missing.
pub(super) fn write_dropped(out: &mut String, format: AccessLogFormat, time: SystemTime, dropped: u64) {
    let time = Timestamp(time);
    // Writing to a text cannot fail; so below.
    let _ = match format {
        AccessLogFormat::Json => writeln!(out, "{{\"time\":\"{time}\",\"dropped\":{dropped}}}"),
        AccessLogFormat::Readable => writeln!(out, "{time} dropped={dropped}"),
    };
}

fn write_json(out: &mut String, record: &AccessRecord) {
    let _ = write!(out, "{{\"time\":\"{}\"", Timestamp(record.time));
    text(out, "request", Some(&record.request));
    shown(out, "client", record.client);
    text(out, "tenant", record.tenant.as_deref());
    text(out, "method", Some(record.method.as_str()));
    text(out, "path", Some(&record.path));
    text(out, "version", Some(record.version));
    text(out, "route", record.route.as_deref());
    text(out, "function", record.function.as_deref());
    let outcome = record.outcome.name();
    let _ = write!(out, ",\"status\":{},\"outcome\":\"{outcome}\"", record.status);
    let (request, response) = (record.request_bytes, record.response_bytes);
    let _ = write!(out, ",\"request_bytes\":{request},\"response_bytes\":{response}");
    let (head, duration) = (Milliseconds(record.head), Milliseconds(record.duration));
    let _ = write!(out, ",\"head_ms\":{head},\"duration_ms\":{duration}");
    shown(out, "trace", record.trace);
    out.push_str("}\n");
}

fn text(out: &mut String, name: &str, value: Option<&str>) {
    let _ = write!(out, ",\"{name}\":");
    match value {
        Some(value) => push_string(out, value),
        None => out.push_str("null"),
    }
}

/// A value whose form needs no escape.
fn shown(out: &mut String, name: &str, value: Option<impl Display>) {
    let _ = match value {
        Some(value) => write!(out, ",\"{name}\":\"{value}\""),
        None => write!(out, ",\"{name}\":null"),
    };
}

fn write_readable(out: &mut String, record: &AccessRecord) {
    let (status, duration) = (record.status, Milliseconds(record.duration));
    let _ = write!(out, "{} {status} {duration}ms {} ", Timestamp(record.time), record.method);
    // The one part that is the client's: quoted, so that it cannot look like another.
    push_string(out, &record.path);
    let mut field = |name: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            let _ = write!(out, " {name}={value}");
        }
    };
    field("tenant", record.tenant.as_ref().map(|value| value as &dyn Display));
    field("function", record.function.as_ref().map(|value| value as &dyn Display));
    field("client", record.client.as_ref().map(|value| value as &dyn Display));
    field("request", Some(&record.request));
    field("bytes", Some(&format_args!("{}/{}", record.request_bytes, record.response_bytes)));
    field("head", Some(&format_args!("{}ms", Milliseconds(record.head))));
    field("trace", record.trace.as_ref().map(|value| value as &dyn Display));
    if record.outcome != Outcome::Complete {
        field("outcome", Some(&record.outcome.name()));
    }
    out.push('\n');
}

/// A duration in milliseconds, to the microsecond.
struct Milliseconds(Duration);

impl Display for Milliseconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let microseconds = self.0.as_micros();
        write!(f, "{}.{:03}", microseconds / 1_000, microseconds % 1_000)
    }
}
