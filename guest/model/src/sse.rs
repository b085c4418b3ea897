//! Server-sent events, read incrementally (WHATWG HTML, section 9.2.6).
//!
//! Bytes may be cut anywhere, in the middle of a character or of a line end. Only the `data` field is kept: model
//! endpoints put all they say into it.

/// The longest line, and the most data of one event, in bytes, where no other bound is chosen.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event, or a line of one, is longer than this bound, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event longer than {0} bytes")]
pub struct TooLong(usize);

/// Reads events from chunks of bytes: [`SseParser::push`] a chunk, then take [`SseParser::next_event`] until there is
/// none.
#[derive(Debug)]
pub struct SseParser {
    event_bytes_max: usize,
    buffer: Vec<u8>,
    /// How much of the buffer has been read as lines.
    read: usize,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
    data: Vec<u8>,
    has_data: bool,
    started: bool,
    /// The last line ended in a carriage return at the very end of the buffer; a line feed may still belong to it.
    pending_line_feed: bool,
}

impl Default for SseParser {
    fn default() -> Self {
        Self::with_bound(EVENT_BYTES_MAX)
    }
}

impl SseParser {
    /// A parser whose events have at most `event_bytes_max` bytes.
    pub fn with_bound(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            buffer: Vec::new(),
            read: 0,
            scanned: 0,
            data: Vec::new(),
            has_data: false,
            started: false,
            pending_line_feed: false,
        }
    }

    /// Takes a chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.read);
        self.scanned -= self.read;
        self.read = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// The data of the next whole event; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`TooLong`]; the parser is of no use afterwards.
    pub fn next_event(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        while let Some((start, end)) = self.next_line()? {
            if start == end {
                if std::mem::take(&mut self.has_data) {
                    return Ok(Some(std::mem::take(&mut self.data)));
                }
                continue;
            }
            self.field(start, end)?;
        }
        Ok(None)
    }

    /// What stands after the last whole event, for a sender that ends without the closing empty line: the data of an
    /// event whose lines are whole.
    pub fn trailing(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.has_data).then(|| std::mem::take(&mut self.data))
    }

    fn field(&mut self, start: usize, end: usize) -> Result<(), TooLong> {
        let line = self.buffer.get(start..end).unwrap_or_default();
        let Some(value) = line.strip_prefix(b"data") else { return Ok(()) };
        let value = match value {
            [] => value,
            [b':', b' ', value @ ..] | [b':', value @ ..] => value,
            // Another field, whose name begins with `data`.
            _ => return Ok(()),
        };
        if self.data.len() + value.len() >= self.event_bytes_max {
            return Err(TooLong(self.event_bytes_max));
        }
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        Ok(())
    }

    /// The bounds of the next line, without its end.
    fn next_line(&mut self) -> Result<Option<(usize, usize)>, TooLong> {
        if !self.started && !self.skip_byte_order_mark() {
            return Ok(None);
        }
        if self.pending_line_feed && self.read < self.buffer.len() {
            self.pending_line_feed = false;
            if self.buffer.get(self.read) == Some(&b'\n') {
                self.read += 1;
                self.scanned = self.scanned.max(self.read);
            }
        }
        let unread = self.buffer.get(self.scanned..).unwrap_or_default();
        let Some(found) = unread.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.scanned = self.buffer.len();
            let is_long = self.scanned - self.read > self.event_bytes_max;
            return if is_long { Err(TooLong(self.event_bytes_max)) } else { Ok(None) };
        };
        let (start, end) = (self.read, self.scanned + found);
        self.read = end + 1;
        if self.buffer.get(end) == Some(&b'\r') {
            match self.buffer.get(self.read) {
                Some(b'\n') => self.read += 1,
                Some(_) => {}
                None => self.pending_line_feed = true,
            }
        }
        self.scanned = self.read;
        Ok(Some((start, end)))
    }

    /// Whether enough bytes have come to know if there is a mark.
    fn skip_byte_order_mark(&mut self) -> bool {
        let head = self.buffer.get(..BYTE_ORDER_MARK.len().min(self.buffer.len())).unwrap_or_default();
        if head == BYTE_ORDER_MARK {
            self.read = BYTE_ORDER_MARK.len();
            self.scanned = self.read;
        } else if BYTE_ORDER_MARK.starts_with(head) {
            return false;
        }
        self.started = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(chunks: &[&[u8]]) -> Vec<String> {
        let mut parser = SseParser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.push(chunk);
            while let Some(event) = parser.next_event().unwrap() {
                events.push(String::from_utf8(event).unwrap());
            }
        }
        events
    }

    fn check(stream: &str, expected: &[&str]) {
        assert_eq!(events(&[stream.as_bytes()]), expected, "{stream:?} in one piece");
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(events(&bytes), expected, "{stream:?} byte by byte");
    }

    #[test]
    fn streams_are_read_as_the_standard_says() {
        check("", &[]);
        check("data: a\n\n", &["a"]);
        check("data:a\n\ndata: b\n\n", &["a", "b"]);
        check("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]);
        check("data: a\r\rdata: b\r\r", &["a", "b"]);
        check(": comment\n\nevent: x\nid: 1\ndata: a\ndata: b\n\n", &["a\nb"]);
        check("data\n\n", &[""]);
        check("data:  two spaces\n\n", &[" two spaces"]);
        check("database: no\n\n", &[]);
        check("\u{feff}data: a\n\n", &["a"]);
        check("data: unfinished\n", &[]);
        check("data: é你\n\n", &["é你"]);
        check("\n\n\n", &[]);
    }

    #[test]
    fn a_line_or_an_event_without_end_is_refused() {
        let mut parser = SseParser::default();
        let refused = (0..20).any(|_| {
            parser.push(&[b'x'; 100_000]);
            parser.next_event().is_err()
        });
        assert!(refused);
        let mut parser = SseParser::default();
        let refused = (0..20).any(|_| {
            parser.push(b"data: ");
            parser.push(&[b'x'; 100_000]);
            parser.push(b"\n");
            parser.next_event().is_err()
        });
        assert!(refused);
    }

    #[test]
    fn an_event_without_its_closing_line_is_kept_apart() {
        let mut parser = SseParser::default();
        parser.push(b"data: [DONE]\n");
        assert_eq!(parser.next_event(), Ok(None));
        assert_eq!(parser.trailing().as_deref(), Some(&b"[DONE]"[..]));
        assert_eq!(parser.trailing(), None);
    }

    proptest! {
        #[test]
        fn events_do_not_depend_on_where_the_stream_is_cut(
            lines in prop::collection::vec("(data: ?|: |event: )?[aé你 :]{0,6}", 0..12),
            ends in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n", "\r\n\r\n"]), 12),
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let stream: String = lines.iter().zip(&ends).flat_map(|(line, end)| [line.as_str(), end]).collect();
            let whole = events(&[stream.as_bytes()]);
            let mut rest = stream.as_bytes();
            let mut chunks = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            prop_assert_eq!(events(&chunks), whole);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut parser = SseParser::default();
            for chunk in &chunks {
                parser.push(chunk);
                while let Ok(Some(_)) = parser.next_event() {}
            }
        }
    }
}
