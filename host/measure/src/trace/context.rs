//! What travels between processes so that their spans become one trace: `traceparent` and `tracestate`, W3C Trace Context
//! level 1 (<https://www.w3.org/TR/trace-context-1/>).

use super::id::{SpanId, TraceId};
use super::state;
use std::fmt;
use std::sync::Arc;

/// The bytes of a `traceparent` that we write.
pub const TRACEPARENT_BYTES: usize = 55;
/// The only flag of level 1.
const SAMPLED: u8 = 1;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A span, as other processes know it.
#[derive(Clone, PartialEq, Eq)]
pub struct SpanContext {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) is_sampled: bool,
    pub(super) state: Option<Arc<str>>,
}

impl SpanContext {
    /// Reads the fields of a request: all that are called `traceparent`, and all that are called `tracestate` in their
    /// order. None when there is not exactly one `traceparent` or it is malformed; then the trace begins anew. A malformed
    /// `tracestate` is left out.
    pub fn from_fields<'a>(
        traceparent: impl IntoIterator<Item = &'a [u8]>,
        tracestate: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let mut fields = traceparent.into_iter();
        let (only, None) = (fields.next()?, fields.next()) else { return None };
        let (trace_id, span_id, flags) = parse(only)?;
        let state = state::read(tracestate);
        Some(Self { trace_id, span_id, is_sampled: flags & SAMPLED != 0, state })
    }

    /// Whose trace it is.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Which span of the trace it is.
    #[must_use]
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Whether the trace is recorded, as far as who made this knows.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// The value of the field `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> Traceparent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.trace_id.to_bytes());
        write_hex(&mut text[36..52], &self.span_id.to_bytes());
        text[54] = if self.is_sampled { b'1' } else { b'0' };
        Traceparent(text)
    }

    /// The value of the field `tracestate`, if there is one.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

impl fmt::Debug for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SpanContext").field(&self.traceparent().as_str()).field(&self.state).finish()
    }
}

/// A `traceparent`, without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent([u8; TRACEPARENT_BYTES]);

impl Traceparent {
    /// The text, in ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Digits and dashes only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn write_hex(text: &mut [u8], bytes: &[u8]) {
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits[0] = HEX[usize::from(byte >> 4)];
        digits[1] = HEX[usize::from(byte & 15)];
    }
}

/// `version "-" trace-id "-" parent-id "-" flags`, in lower-case digits. A later version may be longer, if a dash follows;
/// 255 is no version.
fn parse(text: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let (known, rest) = text.split_at_checked(TRACEPARENT_BYTES)?;
    let version = hex(&known[..2])?;
    let has_end = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|byte| *byte == b'-') };
    let has_dashes = [2, 35, 52].into_iter().all(|place| known[place] == b'-');
    if version == 0xff || !has_end || !has_dashes {
        return None;
    }
    let trace_id = TraceId::new(hex(&known[3..35])?)?;
    let span_id = SpanId::new(u64::try_from(hex(&known[36..52])?).ok()?)?;
    let flags = u8::try_from(hex(&known[53..])?).ok()?;
    Some((trace_id, span_id, flags))
}

/// At most 32 lower-case digits.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn read(traceparent: &str) -> Option<SpanContext> {
        SpanContext::from_fields([traceparent.as_bytes()], [])
    }

    #[test]
    fn what_the_standard_allows_is_read() {
        let check = |text: &str, is_sampled: bool| {
            let context = read(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(context.trace_id().to_string(), TRACE, "{text}");
            assert_eq!(context.span_id().to_string(), SPAN, "{text}");
            assert_eq!(context.is_sampled(), is_sampled, "{text}");
        };
        check(&format!("00-{TRACE}-{SPAN}-01"), true);
        check(&format!("00-{TRACE}-{SPAN}-00"), false);
        // Unknown flags are ignored.
        check(&format!("00-{TRACE}-{SPAN}-ff"), true);
        check(&format!("00-{TRACE}-{SPAN}-02"), false);
        // Later versions, as far as they can be known.
        check(&format!("01-{TRACE}-{SPAN}-01"), true);
        check(&format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"), true);
        check(&format!("cc-{TRACE}-{SPAN}-01-"), true);
    }

    /// The cases of the W3C's own test suite (trace-context/test/test.py), and some more.
    #[test]
    fn what_the_standard_forbids_begins_a_new_trace() {
        let zeros = "0".repeat(32);
        let cases = [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01."),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-what-the-future-will-be-like"),
            format!("cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("ff-{TRACE}-{SPAN}-01-x"),
            format!(".0-{TRACE}-{SPAN}-01"),
            format!("0.-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("000-{TRACE}-{SPAN}-01"),
            format!("0X-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-.{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}a-{SPAN}-01"),
            format!("00-{TRACE}-.{}-01", &SPAN[1..]),
            format!("00-{TRACE}-{}-01", &SPAN[1..]),
            format!("00-{TRACE}-{SPAN}a-01"),
            format!("00-{TRACE}-{SPAN}-.0"),
            format!("00-{TRACE}-{SPAN}-0."),
            format!("00-{TRACE}-{SPAN}-001"),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0é"),
        ];
        for case in cases {
            assert_eq!(read(&case), None, "{case:?}");
        }
        let one = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(SpanContext::from_fields([one.as_bytes(), one.as_bytes()], []), None, "two fields");
        assert_eq!(SpanContext::from_fields([], []), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in [format!("00-{TRACE}-{SPAN}-01"), format!("00-{TRACE}-{SPAN}-00")] {
            assert_eq!(read(&text).unwrap().traceparent().as_str(), text);
        }
        // We write our own version and only the flag that we know.
        let later = read(&format!("cc-{TRACE}-{SPAN}-ff-more")).unwrap();
        assert_eq!(later.traceparent().as_str(), format!("00-{TRACE}-{SPAN}-01"));
        assert_eq!(later.traceparent().as_bytes().len(), TRACEPARENT_BYTES);
    }

    #[test]
    fn the_state_is_carried_on_if_it_is_valid() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let check = |fields: &[&str], expected: Option<&str>| {
            let context =
                SpanContext::from_fields([parent.as_bytes()], fields.iter().map(|field| field.as_bytes()));
            assert_eq!(context.expect("the parent is valid").tracestate(), expected, "{fields:?}");
        };
        check(&[], None);
        check(&["foo=1"], Some("foo=1"));
        check(&["foo=1", "bar=2"], Some("foo=1,bar=2"));
        check(&["foo=1", "FOO=2"], None);
    }
}
