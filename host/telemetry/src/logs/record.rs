//! A record of the log, as it waits to be sent: an event's fields, read once and bounded.

use super::config::Severity;
use crate::function_log::FUNCTION_LOG_TARGET;
use crate::line::LINE_BYTES_MAX;
use std::fmt::{self, Debug, Write as _};
use std::time::SystemTime;
use tracing::Event;
use tracing::field::{Field, Visit};
use waggle_measure::trace::{ATTRIBUTES_MAX, TEXT_BYTES_MAX, Value, attribute};

/// The most bytes of a body: a whole line of a function, with the note of what was cut from it.
const BODY_BYTES_MAX: usize = LINE_BYTES_MAX + 64;

/// Of a request: its trace, and of one that is recorded the span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceIds {
    pub(crate) trace: Option<[u8; 16]>,
    pub(crate) span: Option<[u8; 8]>,
}

/// One record.
#[derive(Clone, Debug)]
pub(crate) struct LogRecord {
    pub(crate) time: SystemTime,
    pub(crate) severity: Severity,
    /// Which part of the program logs.
    pub(crate) target: &'static str,
    pub(crate) body: String,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    pub(crate) attributes_left_out: u32,
    pub(crate) of: TraceIds,
}

impl LogRecord {
    /// What an event says.
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut record = Self {
            time: SystemTime::now(),
            severity: (*metadata.level()).into(),
            target: metadata.target(),
            body: String::new(),
            attributes: Vec::new(),
            attributes_left_out: 0,
            of: TraceIds::default(),
        };
        event.record(&mut record);
        record
    }

    /// Whether this field is what the record says, and not something of it.
    fn is_body(&self, name: &str) -> bool {
        name == "message" || (name == "line" && self.target == FUNCTION_LOG_TARGET)
    }

    fn add(&mut self, name: &'static str, value: Value) {
        if self.attributes.len() >= ATTRIBUTES_MAX {
            self.attributes_left_out += 1;
            return;
        }
        self.attributes.push((attribute_name(name), value));
    }

    /// Takes the ids of a trace out of the fields that have them for people.
    fn take_id(&mut self, name: &str, text: &str) -> bool {
        match name {
            "trace" if self.of.trace.is_none() => {
                self.of.trace = id(text);
                self.of.trace.is_some()
            }
            "span" if self.of.span.is_none() => {
                self.of.span = id(text);
                self.of.span.is_some()
            }
            _ => false,
        }
    }
}

impl Visit for LogRecord {
    fn record_str(&mut self, field: &Field, text: &str) {
        let name = field.name();
        if self.is_body(name) {
            text[..text.floor_char_boundary(BODY_BYTES_MAX)].clone_into(&mut self.body);
        } else if !self.take_id(name, text) {
            self.add(name, text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned().into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = field.name();
        let is_body = self.is_body(name);
        let text = bounded(value, if is_body { BODY_BYTES_MAX } else { TEXT_BYTES_MAX });
        if is_body {
            self.body = text;
        } else if !self.take_id(name, &text) {
            self.add(name, text.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), Value::Integer(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        // OTLP has no numbers beyond.
        let value = i64::try_from(value).map_or_else(|_| value.to_string().into(), Value::Integer);
        self.add(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), Value::Real(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), Value::Boolean(value));
    }
}

/// The name of an attribute: what spans have has the name that it has there, all else that of the log.
fn attribute_name(field: &'static str) -> &'static str {
    match field {
        "tenant" => attribute::WAGGLE_TENANT,
        "function" => attribute::WAGGLE_FUNCTION,
        "instance" => attribute::WAGGLE_INSTANCE,
        "request" => attribute::WAGGLE_REQUEST,
        "upstream" => attribute::WAGGLE_UPSTREAM,
        // OpenTelemetry's own name for it.
        "stream" => "log.iostream",
        other => other,
    }
}

/// An id of hexadecimal digits.
fn id<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != 2 * BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// What `value` writes, up to a bound; what would come after it is not even made.
fn bounded(value: &dyn Debug, bytes_max: usize) -> String {
    struct Bounded(String, usize);

    impl fmt::Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = self.1 - self.0.len();
            let fits = &text[..text.floor_char_boundary(room)];
            self.0.push_str(fits);
            if fits.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }

    let mut text = Bounded(String::new(), bytes_max);
    // An error is the bound.
    let _ = write!(text, "{value:?}");
    text.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        assert_eq!(id::<8>("00f067aa0ba902b7"), Some(0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()));
        for wrong in ["", "00f067aa0ba902b", "00f067aa0ba902b7a", "+0f067aa0ba902b7", "00f067aa0ba902bx"] {
            assert_eq!(id::<8>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_cut_at_whole_characters() {
        assert_eq!(bounded(&format_args!("a{}c", "ää"), 100), "aääc");
        assert_eq!(bounded(&format_args!("a{}c", "ää"), 4), "aä");
        assert_eq!(bounded(&format_args!("{}", "x".repeat(5_000)), 1_024).len(), 1_024);
    }
}
