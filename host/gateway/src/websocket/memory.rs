//! What a connection remembers of its last response when that was not stored (`store: false`), so that the next message
//! can go on from it: all that went in and came out, as JSON, and nothing of what it means.

use super::room::{Memory, Reservation};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Bytes of one response with all that went before it.
const BYTES_MAX: usize = 8 << 20;

/// A response that is not stored, and what led to it.
#[derive(Debug)]
pub(crate) struct Remembered {
    /// The response's id.
    pub(crate) id: String,
    /// The stored response that all of this goes on from, if it does.
    pub(crate) base: Option<String>,
    /// Input and output since then: the items of a JSON array, without its brackets.
    pub(crate) items: String,
    _room: Reservation,
}

/// What will be remembered if the turn that is under way succeeds.
#[derive(Debug)]
pub(crate) struct Draft {
    base: Option<String>,
    items: String,
    room: Reservation,
}

impl Draft {
    /// Of a turn that goes on from `base` with `items`; none when that is more than can be remembered.
    pub(crate) fn new(base: Option<String>, items: String, memory: &Arc<Memory>) -> Option<Self> {
        let room =
            Some(items.len()).filter(|bytes| *bytes <= BYTES_MAX).and_then(|bytes| memory.reserve(bytes))?;
        Some(Self { base, items, room })
    }

    /// The turn has led to the response in `event`, the data of its last event.
    pub(crate) fn finish(mut self, event: &[u8]) -> Option<Remembered> {
        let last: LastEvent<'_> = serde_json::from_slice(event).ok()?;
        let output = inside(last.response.output.get())?;
        append(&mut self.items, output);
        let fits = self.items.len() <= BYTES_MAX && self.room.resize(self.items.len());
        fits.then(|| Remembered {
            id: last.response.id,
            base: self.base,
            items: self.items,
            _room: self.room,
        })
    }
}

#[derive(Deserialize)]
struct LastEvent<'a> {
    #[serde(borrow)]
    response: LastResponse<'a>,
}

#[derive(Deserialize)]
struct LastResponse<'a> {
    id: String,
    #[serde(borrow)]
    output: &'a RawValue,
}

/// Adds items to items.
pub(crate) fn append(items: &mut String, more: &str) {
    if !items.is_empty() && !more.is_empty() {
        items.push(',');
    }
    items.push_str(more);
}

/// What stands between the brackets of an array; none if `json` is none.
pub(crate) fn inside(json: &str) -> Option<&str> {
    json.trim().strip_prefix('[')?.strip_suffix(']').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(output: &str) -> Vec<u8> {
        format!(r#"{{"type":"response.completed","response":{{"id":"resp_1","output":{output}}}}}"#)
            .into_bytes()
    }

    #[test]
    fn a_response_is_remembered_with_all_that_led_to_it() {
        let memory = Memory::of(1 << 20, None);
        let check = |items: &str, output: &str, expected: &str| {
            let draft = Draft::new(None, items.to_owned(), &memory).unwrap();
            let remembered = draft.finish(&done(output)).unwrap();
            assert_eq!((remembered.id.as_str(), remembered.items.as_str()), ("resp_1", expected));
        };
        check(r#"{"a":1}"#, r#"[ {"b":2},{"c":3} ]"#, r#"{"a":1},{"b":2},{"c":3}"#);
        check("", r#"[{"b":2}]"#, r#"{"b":2}"#);
        check(r#"{"a":1}"#, "[]", r#"{"a":1}"#);
    }

    #[test]
    fn what_is_too_large_or_has_no_room_is_not_remembered() {
        let large = Memory::of(1 << 30, None);
        assert!(Draft::new(None, "x".repeat(BYTES_MAX + 1), &large).is_none());
        let output = format!("[\"{}\"]", "x".repeat(BYTES_MAX));
        assert!(Draft::new(None, "1".into(), &large).unwrap().finish(&done(&output)).is_none());
        let small = Memory::of(4, None);
        assert!(Draft::new(None, "12345".into(), &small).is_none());
        assert!(Draft::new(None, "1234".into(), &small).unwrap().finish(&done("[5]")).is_none());
        assert!(small.reserve(4).is_some(), "all of it was given back");
    }
}
