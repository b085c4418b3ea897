//! Messages of one text, which is what most stored items are: read in one pass, by the form in which they are written here.
//!
//! It only ever says that something is such a message. What it passes over may be one as well, in a form of another version,
//! and is read as all other items are.

use crate::id::ItemId;

/// Who speaks in messages, those first who do most.
const ROLES: [&str; 4] = ["user", "assistant", "system", "developer"];
const WORD_BYTES: usize = 8;
/// A word with a one in each byte.
const ONES: u64 = u64::MAX / 255;
/// The highest bit of each byte.
const HIGHEST: u64 = ONES << 7;
/// The hexadecimal digits of an escape.
const ESCAPE_DIGITS: usize = 4;

/// A stored message of one text that cites nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainMessage<'a> {
    /// Who speaks.
    pub role: &'a str,
    /// The text, as a JSON string literal.
    pub text: &'a str,
}

impl<'a> PlainMessage<'a> {
    /// Reads the message of which `json` consists.
    pub fn read(json: &'a str) -> Option<Self> {
        Self::split(json).and_then(|(message, rest)| rest.is_empty().then_some(message))
    }

    /// Reads the message at the beginning of `json`, all of which is valid JSON then, with what follows it.
    pub fn split(json: &'a str) -> Option<(Self, &'a str)> {
        let rest = json.strip_prefix("{\"id\":\"msg_")?;
        let (id, rest) = rest.split_at_checked(ItemId::PLACE_LENGTH)?;
        let rest = rest.strip_prefix("\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"")?;
        let role = ROLES.into_iter().find(|role| rest.starts_with(role))?;
        let (role, rest) = rest.split_at_checked(role.len())?;
        let (begin, end) = if role == "assistant" {
            ("\",\"content\":[{\"type\":\"output_text\",\"text\":", ",\"annotations\":[],\"logprobs\":[]}]}")
        } else {
            ("\",\"content\":[{\"type\":\"input_text\",\"text\":", "}]}")
        };
        if unescaped(id.as_bytes()) < id.len() {
            return None;
        }
        let rest = rest.strip_prefix(begin)?;
        let (text, rest) = rest.split_at_checked(literal_length(rest.as_bytes())?)?;
        Some((Self { role, text }, rest.strip_prefix(end)?))
    }
}

/// The length of the string literal at the beginning of `json`; `None` where none is there that is whole.
fn literal_length(json: &[u8]) -> Option<usize> {
    let mut at = 1;
    if json.first() != Some(&b'"') {
        return None;
    }
    loop {
        at += unescaped(json.get(at..)?);
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += escape_length(json.get(at + 1..)?)?,
            // A control character, which no literal holds.
            _ => return None,
        }
    }
}

/// The length of an escape of which the part behind the backslash is at the beginning of `json`.
fn escape_length(json: &[u8]) -> Option<usize> {
    match json.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' if json.get(1..=ESCAPE_DIGITS)?.iter().all(u8::is_ascii_hexdigit) => Some(2 + ESCAPE_DIGITS),
        _ => None,
    }
}

/// How many bytes come before the first quote, backslash or control character, or before the end.
fn unescaped(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
    for (index, word) in words.iter().enumerate() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return index * WORD_BYTES + found.trailing_zeros() as usize / 8;
        }
    }
    let end = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'));
    words.len() * WORD_BYTES + end.unwrap_or(rest.len())
}

/// The highest bit of the first byte that is a quote, a backslash or a control character, and maybe of some behind it
/// ("Bit Twiddling Hacks", on finding a zero byte in a word and one that is less than some number).
fn special(word: u64) -> u64 {
    let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word;
    let is = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    (less(word, 0x20) | is(b'"') | is(b'\\')) & HIGHEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nonce;
    use crate::item::{Citation, Item, ItemStatus, Part, Phase, Role, StoredItem, TextPart, UrlCitation};
    use proptest::prelude::*;

    fn raw(item: &Item<'_>) -> String {
        item.to_raw(Nonce::mint(3, 4), 17, ItemStatus::Completed).unwrap().get().to_owned()
    }

    fn message(role: Role, parts: Vec<Part<'static>>) -> Item<'static> {
        Item::Message { role, parts, phase: None }
    }

    fn check_read(role: Role, text: &str) {
        let raw = raw(&message(role, vec![Part::text(text.to_owned())]));
        let stored: StoredItem<'_> = serde_json::from_str(&raw).unwrap();
        let (role, text) = (stored.role.unwrap(), stored.content[0].text.unwrap().get());
        assert_eq!(PlainMessage::read(&raw), Some(PlainMessage { role, text }), "{raw}");
        let followed = format!("{raw},{raw}");
        assert_eq!(PlainMessage::split(&followed).unwrap().1, format!(",{raw}"));
        assert_eq!(PlainMessage::read(&followed), None);
    }

    #[test]
    fn what_is_stored_of_one_text_is_read() {
        for role in [Role::User, Role::Assistant, Role::System, Role::Developer] {
            for text in ["", "a", "1234567", "12345678", "é\n\"\\ /\u{1}你好", "\"}]}", "ends with \\"] {
                check_read(role, text);
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_it_was_written(text in any::<String>(), model in any::<bool>()) {
            check_read(if model { Role::Assistant } else { Role::User }, &text);
        }

        /// Whatever is taken for a message is one.
        #[test]
        fn no_literal_is_taken_that_is_none(inner in "([ab\"\\\\/nu0dé\n\t]|\\\\u00|\\\\n){0,24}") {
            let json = raw(&message(Role::User, vec![Part::text("TEXT")])).replace("TEXT", &inner);
            let read: Option<StoredItem<'_>> = serde_json::from_str(&json).ok();
            let text = read.as_ref().and_then(|item| item.content.first()?.text).map(|text| text.get());
            prop_assert_eq!(PlainMessage::read(&json).map(|message| message.text), text);
        }
    }

    #[test]
    fn what_holds_more_is_left_to_others() {
        let check = |json: &str| assert_eq!(PlainMessage::read(json), None, "{json}");
        let citation = Citation::Url(UrlCitation {
            start_index: 0,
            end_index: 1,
            url: String::new(),
            title: String::new(),
        });
        let citing = TextPart { text: "a".into(), annotations: vec![citation], ..TextPart::default() };
        for item in [
            message(Role::Assistant, vec![Part::Text(citing)]),
            message(Role::Assistant, vec![Part::Refusal("no".into())]),
            message(Role::User, vec![Part::text("a"), Part::text("b")]),
            message(Role::User, Vec::new()),
            Item::Fallback { parts: vec![Part::text("busy")] },
            Item::Message {
                role: Role::Assistant,
                parts: vec![Part::text("a")],
                phase: Some(Phase::FinalAnswer),
            },
        ] {
            check(&raw(&item));
        }
        let plain = raw(&message(Role::User, vec![Part::text("a")]));
        check(&plain.replace("msg_", "msg_\\"));
        check(&plain.replace("user", "tool"));
        check(&plain.replace("completed", "incomplete"));
        for cut in 0..plain.len() {
            check(&plain[..cut]);
        }
    }
}
