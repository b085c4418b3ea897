//! The bytes of OpenAI's answers. Built by hand, since they are the hot path of every benchmark; what they must
//! look like is tested with a JSON parser.

mod chat;
mod error;
mod responses;

use bytes::{BufMut, Bytes, BytesMut};

use crate::answer::{Answer, Reply};

pub(crate) use chat::ChatWire;
pub(crate) use error::{ApiError, HTML_PAGE};
pub(crate) use responses::ResponsesWire;

/// Which API the request came in by, with what its answer repeats in every event.
pub(crate) enum Wire {
    Chat(ChatWire),
    Responses(ResponsesWire),
}

/// What identifies one answer.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// Unique within the process; the ids of the answer are made from it.
    pub(crate) number: u64,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: String,
}

impl Wire {
    /// The whole answer as one JSON document.
    pub(crate) fn plain(&self, answer: &Answer) -> Bytes {
        match self {
            Self::Chat(chat) => chat.plain(answer),
            Self::Responses(responses) => responses.plain(answer),
        }
    }

    /// What a stream sends at once, before the model has thought.
    pub(crate) fn opening(&mut self, out: &mut BytesMut) {
        if let Self::Responses(responses) = self {
            responses.opening(out);
        }
    }

    /// What a stream sends with the first token.
    pub(crate) fn first(&mut self, reply: &Reply, out: &mut BytesMut) {
        match self {
            Self::Chat(chat) => chat.first(reply, out),
            Self::Responses(responses) => responses.first(reply, out),
        }
    }

    /// One token.
    pub(crate) fn delta(&mut self, token: &str, reply: &Reply, out: &mut BytesMut) {
        match self {
            Self::Chat(chat) => chat.delta(token, reply, out),
            Self::Responses(responses) => responses.delta(token, reply, out),
        }
    }

    /// What a stream sends after the last token.
    pub(crate) fn closing(&mut self, answer: &Answer, out: &mut BytesMut) {
        match self {
            Self::Chat(chat) => chat.closing(answer, out),
            Self::Responses(responses) => responses.closing(answer, out),
        }
    }
}

/// Appends a JSON string, quotes included.
fn put_string(out: &mut BytesMut, text: &str) {
    out.reserve(text.len() + 2);
    out.put_u8(b'"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.put_slice(&text.as_bytes()[plain_from..at]);
        put_escape(out, byte);
        plain_from = at + 1;
    }
    out.put_slice(&text.as_bytes()[plain_from..]);
    out.put_u8(b'"');
}

fn put_escape(out: &mut BytesMut, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.put_slice(b"\\\""),
        b'\\' => out.put_slice(b"\\\\"),
        b'\n' => out.put_slice(b"\\n"),
        b'\r' => out.put_slice(b"\\r"),
        b'\t' => out.put_slice(b"\\t"),
        _ => {
            out.put_slice(b"\\u00");
            out.put_u8(HEX[usize::from(byte >> 4)]);
            out.put_u8(HEX[usize::from(byte & 0xf)]);
        }
    }
}

/// Appends a number in decimal.
fn put_number(out: &mut BytesMut, mut number: u64) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [0_u8; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

/// Appends an id such as `chatcmpl-000000000000002a`, without quotes.
fn put_id(out: &mut BytesMut, prefix: &str, number: u64) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.put_slice(prefix.as_bytes());
    for shift in (0..16).rev() {
        out.put_u8(HEX[(number >> (shift * 4)) as usize & 0xf]);
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn text_answer(text: &str) -> Answer {
        Answer {
            reply: Reply::Text(text.to_owned()),
            more: Vec::new(),
            prompt_tokens: 3,
            completion_tokens: crate::text::tokens(text).count() as u64,
            truncated: false,
        }
    }

    pub(crate) fn tool_answer() -> Answer {
        Answer {
            reply: Reply::Tool { name: "look".to_owned(), arguments: r#"{"id": "a\"b"}"#.to_owned() },
            more: Vec::new(),
            prompt_tokens: 3,
            completion_tokens: 4,
            truncated: false,
        }
    }

    pub(crate) fn identity() -> Identity {
        Identity { number: 42, created: 1_700_000_000, model: "sim\"x".to_owned() }
    }

    /// Every event of a whole stream: the name (empty if none) and the data, `[DONE]` as a string.
    pub(crate) fn events(mut wire: Wire, answer: &Answer) -> Vec<(String, serde_json::Value)> {
        let mut out = BytesMut::new();
        wire.opening(&mut out);
        wire.first(&answer.reply, &mut out);
        let (Reply::Text(text) | Reply::Tool { arguments: text, .. }) = &answer.reply;
        for token in crate::text::tokens(text) {
            wire.delta(token, &answer.reply, &mut out);
        }
        wire.closing(answer, &mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        assert!(text.ends_with("\n\n"), "{text}");
        text.trim_end().split("\n\n").map(event).collect()
    }

    fn event(block: &str) -> (String, serde_json::Value) {
        let mut name = String::new();
        for line in block.lines() {
            if let Some(found) = line.strip_prefix("event: ") {
                name = found.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                let value = serde_json::from_str(data).unwrap_or_else(|_| data.into());
                return (name, value);
            }
        }
        panic!("no data in {block}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_json_asks() {
        for text in ["", "plain", "a\"b\\c\n\r\t\u{1}\u{1f}z", "中文 é \u{7f}"] {
            let mut out = BytesMut::new();
            put_string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn numbers_and_ids_are_written_out() {
        let mut out = BytesMut::new();
        for number in [0, 7, 10, 1_234, u64::MAX] {
            put_number(&mut out, number);
            out.put_u8(b' ');
        }
        put_id(&mut out, "x-", 0x2a);
        assert_eq!(out, "0 7 10 1234 18446744073709551615 x-000000000000002a");
    }
}
