//! Reads the server-sent events of a streamed response just far enough to time and to check it.

use serde::Deserialize;

/// A line that spans pieces is kept up to this length.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// What has been seen of a stream.
#[derive(Debug, Default)]
pub(crate) struct EventScanner<'a> {
    partial: Vec<u8>,
    /// The `event:` of the event being read, when it has one that matters.
    current: Kind,
    pub(crate) has_delta: bool,
    pub(crate) is_completed: bool,
    pub(crate) is_overlong: bool,
    /// Looked for in the final event.
    expected: Option<&'a str>,
    pub(crate) has_expected: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Unnamed,
    Delta,
    Completed,
    Other,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            "response.output_text.delta" => Self::Delta,
            "response.completed" => Self::Completed,
            _ => Self::Other,
        }
    }
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
}

impl<'a> EventScanner<'a> {
    pub(crate) fn new(expected: Option<&'a str>) -> Self {
        Self { expected, ..Self::default() }
    }

    /// Takes the next bytes, cut anywhere.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            if self.partial.is_empty() {
                self.line(&bytes[..end]);
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(&bytes[..end]);
                self.line(&line);
            }
            bytes = &bytes[end + 1..];
        }
        if self.partial.len() + bytes.len() > LINE_BYTES_MAX {
            self.is_overlong = true;
            return;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.current = Kind::Unnamed;
        } else if let Some(name) = field(line, b"event:") {
            self.current = std::str::from_utf8(name).map_or(Kind::Other, Kind::of);
        } else if let Some(data) = field(line, b"data:") {
            self.data(data);
        }
    }

    fn data(&mut self, data: &[u8]) {
        let kind = match self.current {
            Kind::Unnamed => {
                serde_json::from_slice::<Typed<'_>>(data).map_or(Kind::Other, |t| Kind::of(t.kind))
            }
            named => named,
        };
        self.has_delta |= kind == Kind::Delta;
        if kind == Kind::Completed {
            self.is_completed = true;
            self.has_expected = self.expected.is_none_or(|expected| contains(data, expected));
        }
    }
}

fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let value = line.strip_prefix(name)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// Whether the bytes hold the text.
pub(crate) fn contains(bytes: &[u8], text: &str) -> bool {
    // Most answers are ASCII; the check of UTF-8 and the search are both vectorised in the standard library.
    std::str::from_utf8(bytes).is_ok_and(|whole| whole.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "event: response.created\ndata: {\"type\":\"response.created\"}\n\n\
        event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\"}\n\n\
        event: response.completed\ndata: {\"type\":\"response.completed\",\"x\":\"You said: hi\"}\n\n";

    fn check(stream: &str, seen: (bool, bool, bool)) {
        for piece in [1, 2, 7, stream.len().max(1)] {
            let mut scanner = EventScanner::new(Some("said: hi"));
            stream.as_bytes().chunks(piece).for_each(|bytes| scanner.feed(bytes));
            let found = (scanner.has_delta, scanner.is_completed, scanner.has_expected);
            assert_eq!(found, seen, "in pieces of {piece}: {stream}");
        }
    }

    #[test]
    fn a_stream_is_understood_in_pieces_of_any_size() {
        check(STREAM, (true, true, true));
        check(&STREAM.replace('\n', "\r\n"), (true, true, true));
        check(&STREAM.replace("said: hi", "said: ho"), (true, true, false));
        check(&STREAM[..STREAM.len() - 2], (true, false, false));
        check("", (false, false, false));
    }

    #[test]
    fn events_without_a_name_are_known_by_their_type() {
        check("data: {\"type\":\"response.output_text.delta\"}\n\n", (true, false, false));
        check("data: {\"a\":1,\"type\":\"response.completed\",\"x\":\"said: hi\"}\n\n", (false, true, true));
        check("data: [DONE]\n\n", (false, false, false));
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut scanner = EventScanner::new(None);
        scanner.feed(&vec![b'x'; LINE_BYTES_MAX + 1]);
        assert!(scanner.is_overlong && scanner.partial.is_empty());
    }
}
