//! Entries of plain messages, which most are: read in one pass, by the form in which [`crate::record`] writes them.
//!
//! Whatever is written in another form is left to who reads all entries.

use std::ops::Range;
use waggle_openai::Nonce;
use waggle_openai::item::PlainMessage;

/// More digits than those do not always fit a number.
const DIGITS_MAX: usize = 19;

/// An entry of messages, with what is told of those before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlainEntry {
    pub(crate) nonce: Nonce,
    pub(crate) tokens: u64,
    /// Where the items stand.
    pub(crate) items: Vec<Range<usize>>,
    pub(crate) turn: Option<u64>,
    pub(crate) after: Option<u64>,
}

impl PlainEntry {
    /// Reads the entry that is `text`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("{\"nonce\":\"")?;
        let (nonce, rest) = rest.split_at_checked(Nonce::LENGTH)?;
        let nonce = Nonce::parse(nonce)?;
        let (tokens, mut rest) = number(rest.strip_prefix("\",\"tokens\":")?)?;
        let mut items = Vec::with_capacity(2);
        rest = rest.strip_prefix(",\"items\":[")?;
        loop {
            let start = text.len() - rest.len();
            let (_, behind) = PlainMessage::split(rest)?;
            items.push(start..text.len() - behind.len());
            match behind.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = behind.strip_prefix(']')?;
                    break;
                }
            }
        }
        let (turn, rest) = optional(rest, ",\"turn\":")?;
        let (after, rest) = optional(rest, ",\"after\":")?;
        (rest == "}").then_some(Self { nonce, tokens, items, turn, after })
    }
}

/// A number that is there if its name is.
fn optional<'a>(text: &'a str, name: &str) -> Option<(Option<u64>, &'a str)> {
    match text.strip_prefix(name) {
        Some(rest) => number(rest).map(|(number, rest)| (Some(number), rest)),
        None => Some((None, text)),
    }
}

/// The whole number at the beginning of `text`, with what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at_checked(length)?;
    let is_json = length <= DIGITS_MAX && (length == 1 || !digits.starts_with('0'));
    Some((digits.parse().ok().filter(|_| is_json)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Standing, read_entry, write_entry, write_pending, write_tombstone};
    use waggle_openai::item::{Item, ItemStatus, Part, Role};

    fn message(index: usize, role: Role, parts: usize) -> String {
        let parts = (0..parts).map(|_| Part::text("say \"hi\"\n")).collect();
        let item = Item::Message { role, parts, phase: None };
        item.to_raw(Nonce::mint(1, 2), index, ItemStatus::Completed).unwrap().get().to_owned()
    }

    fn entry(items: &[String], standing: Standing) -> String {
        let items = items.iter().map(String::as_str);
        String::from_utf8(write_entry(Nonce::mint(1, 2), items, 70, standing)).unwrap()
    }

    #[test]
    fn messages_are_read_with_all_that_is_told() {
        let items = [message(0, Role::User, 1), message(1, Role::Assistant, 1), message(2, Role::System, 1)];
        for (turns, after) in [(None, None), (Some(0), None), (Some(12), Some(7)), (None, Some(1))] {
            let standing = Standing { turns, after };
            let text = entry(&items, standing);
            let read = PlainEntry::read(&text).unwrap();
            let said: Vec<&str> = read.items.iter().map(|range| &text[range.clone()]).collect();
            assert_eq!(said, items);
            assert_eq!((read.nonce, read.tokens), (Nonce::mint(1, 2), 70));
            assert_eq!((read.turn, read.after), (turns, after));
            let entry = read_entry("k", text.into_bytes()).unwrap();
            assert_eq!((entry.turn.items().collect::<Vec<_>>(), entry.standing), (said_of(&items), standing));
        }
    }

    fn said_of(items: &[String]) -> Vec<&str> {
        items.iter().map(String::as_str).collect()
    }

    #[test]
    fn all_else_is_left_to_others() {
        let check = |text: &str| assert_eq!(PlainEntry::read(text), None, "{text}");
        let plain = entry(&[message(0, Role::User, 1)], Standing::default());
        check(&entry(&[], Standing::default()));
        check(&entry(&[message(0, Role::User, 1), message(1, Role::User, 2)], Standing::default()));
        let aside = [write_tombstone(Nonce::mint(1, 2), Standing::default()), write_pending(nobody(), 5)];
        for aside in aside {
            check(&String::from_utf8(aside).unwrap());
        }
        for (from, to) in [
            ("70", "070"),
            ("70", ""),
            ("70", "-1"),
            ("70", "7.5"),
            ("70", "99999999999999999999"),
            ("]}]}", "]}]"),
            ("]}]}", "]}]} "),
            ("]}]}", "]},]}"),
            ("]}]}", "]}],\"turn\":1,\"turn\":2}"),
            ("]}]}", "]}],\"abandoned\":true}"),
            ("say", "say\t"),
            ("\"nonce\":\"", "\"nonce\":\"\u{e9}"),
        ] {
            assert!(plain.contains(from), "{from}");
            check(&plain.replacen(from, to, 1));
        }
        for cut in 0..plain.len() {
            check(&plain[..cut]);
        }
    }

    fn nobody() -> Nonce {
        Nonce::mint(0, 0)
    }
}
