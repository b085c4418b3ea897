//! Server-sent events (WHATWG HTML, section 9.2) of an answer, as messages of a WebSocket.

use bytes::{Bytes, BytesMut};

/// Bytes of one event; the last one of a response holds all of it.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// What an event means for the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The response goes on.
    Progress,
    /// The response is there: `response.completed` or `response.incomplete`.
    Done,
    /// There is none: `response.failed` or `response.cancelled`.
    Failed,
    /// `error`.
    Error,
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    /// Its JSON.
    pub(crate) data: Bytes,
}

/// An event is larger than any is allowed to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Reads events from the pieces of a body, however they are cut.
#[derive(Debug)]
pub(crate) struct Events {
    buffer: BytesMut,
    /// Of the buffer, bytes known to hold no end of a line.
    scanned: usize,
    kind: Kind,
    data: Option<Bytes>,
}

impl Default for Events {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, kind: Kind::Progress, data: None }
    }
}

impl Events {
    /// Takes the next piece of the body.
    ///
    /// # Errors
    /// When the event that is being read is too large.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), TooLarge> {
        if self.bytes() + piece.len() > EVENT_BYTES_MAX {
            return Err(TooLarge);
        }
        self.buffer.extend_from_slice(piece);
        Ok(())
    }

    /// Bytes it keeps of events that are not read to their ends.
    pub(crate) fn bytes(&self) -> usize {
        self.data.as_ref().map_or(0, Bytes::len) + self.buffer.len()
    }

    /// The next event that is complete. `[DONE]`, comments and events without data are none.
    pub(crate) fn next(&mut self) -> Option<Event> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                let kind = std::mem::replace(&mut self.kind, Kind::Progress);
                match self.data.take() {
                    Some(data) if data != b"[DONE]"[..] => return Some(Event { kind, data }),
                    _ => continue,
                }
            }
            match field(&line) {
                (b"event", value) => self.kind = kind(&line.slice(value..)),
                (b"data", value) => self.add(line.slice(value..)),
                _ => {}
            }
        }
        None
    }

    /// The next line that is complete, without its end.
    fn line(&mut self) -> Option<Bytes> {
        let Some(end) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.buffer.len();
            return None;
        };
        let mut line = self.buffer.split_to(self.scanned + end + 1).freeze();
        self.scanned = 0;
        line.truncate(line.len() - 1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(line)
    }

    /// Lines of data are parts of one text.
    fn add(&mut self, more: Bytes) {
        self.data = Some(match self.data.take() {
            None => more,
            Some(before) => [&before[..], &more[..]].join(&b'\n').into(),
        });
    }
}

/// A line's field, and where its value begins.
fn field(line: &[u8]) -> (&[u8], usize) {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return (line, line.len()) };
    let space = usize::from(line.get(colon + 1) == Some(&b' '));
    (&line[..colon], colon + 1 + space)
}

fn kind(name: &[u8]) -> Kind {
    match name {
        b"response.completed" | b"response.incomplete" => Kind::Done,
        b"response.failed" | b"response.cancelled" => Kind::Failed,
        b"error" => Kind::Error,
        _ => Kind::Progress,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "event: response.created\ndata: {\"n\":0}\n\n: heartbeat\n\ndata:{\"n\":1}\r\n\r\n\
                          event: response.completed\ndata: {\"n\":\ndata: 2}\n\ndata: [DONE]\n\n";

    fn read(pieces: &[&[u8]]) -> Vec<(Kind, String)> {
        let mut events = Events::default();
        let mut read = Vec::new();
        for piece in pieces {
            events.push(piece).unwrap();
            while let Some(event) = events.next() {
                read.push((event.kind, String::from_utf8(event.data.to_vec()).unwrap()));
            }
        }
        read
    }

    #[test]
    fn events_are_read_however_the_body_is_cut() {
        let expected = [
            (Kind::Progress, "{\"n\":0}".to_owned()),
            (Kind::Progress, "{\"n\":1}".to_owned()),
            (Kind::Done, "{\"n\":\n2}".to_owned()),
        ];
        assert_eq!(read(&[STREAM.as_bytes()]), expected);
        for size in 1..STREAM.len() {
            let pieces: Vec<&[u8]> = STREAM.as_bytes().chunks(size).collect();
            assert_eq!(read(&pieces), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_has_a_bound() {
        let mut events = Events::default();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..EVENT_BYTES_MAX >> 20 {
            assert_eq!(events.push(&piece), Ok(()));
            assert_eq!(events.next(), None);
        }
        assert_eq!(events.push(b"x"), Err(TooLarge));
    }
}
