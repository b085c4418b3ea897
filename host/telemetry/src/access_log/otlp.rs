//! A line of the access log as a record of OpenTelemetry.

use super::AccessRecord;
use crate::logs::{LogRecord, Severity, TraceIds};
use std::time::Duration;
use waggle_measure::trace::{Value, attribute};

/// What the records are of, as lines of functions are of `function`.
const TARGET: &str = "access_log";

/// The record of a request: named as OpenTelemetry names what it has a name for.
pub(super) fn record(access: AccessRecord) -> LogRecord {
    let text = |text: &str| Value::from(text.to_owned());
    let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let body = format!("{} {} {}", access.method, access.path, access.status);
    let mut attributes = vec![
        (attribute::WAGGLE_REQUEST, text(&access.request)),
        ("http.request.method", text(access.method.as_str())),
        ("url.path", text(&access.path)),
        ("network.protocol.version", access.version.into()),
        ("http.response.status_code", number(access.status.into())),
        ("waggle.outcome", access.outcome.name().into()),
        ("http.request.body.size", number(access.request_bytes)),
        ("http.response.body.size", number(access.response_bytes)),
        ("waggle.head_ms", milliseconds(access.head)),
        ("waggle.duration_ms", milliseconds(access.duration)),
    ];
    let known = [
        (attribute::WAGGLE_TENANT, access.tenant.as_deref().map(text)),
        (attribute::WAGGLE_FUNCTION, access.function.as_deref().map(text)),
        ("http.route", access.route.as_deref().map(text)),
        ("client.address", access.client.map(|client| client.to_string().into())),
    ];
    attributes.extend(known.into_iter().filter_map(|(name, value)| Some((name, value?))));
    LogRecord {
        time: access.time,
        severity: Severity::Info,
        target: TARGET,
        body,
        attributes,
        attributes_left_out: 0,
        of: TraceIds { trace: access.trace.map(waggle_measure::trace::TraceId::to_bytes), span: None },
    }
}

fn milliseconds(duration: Duration) -> Value {
    Value::Real(duration.as_secs_f64() * 1e3)
}
