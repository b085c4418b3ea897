//! Changing one member of a JSON object, or of the events of a stream of them, and leaving every other byte as it is.

use crate::sse::EVENT_BYTES_MAX;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;
use waggle_openai::json;

#[derive(Deserialize)]
struct ModelMember<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// What is to be changed in an answer on its way through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    /// What its `model` is to say.
    pub model: Option<String>,
    /// A member to be put in front: its name, and its value as JSON.
    pub member: Option<(&'static str, Vec<u8>)>,
}

/// Where in `object` the value of its member `model` stands.
fn model_in(object: &[u8]) -> Option<Range<usize>> {
    if object.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let raw = serde_json::from_slice::<ModelMember<'_>>(object).ok()?.model?;
    let start = (raw.get().as_ptr() as usize).checked_sub(object.as_ptr() as usize)?;
    Some(start..start + raw.get().len())
}

/// The object `body` with `model` as its member `model`: in the old one's place, else in front. What is no object stays
/// as it is.
pub fn with_model(body: Vec<u8>, model: &str) -> Vec<u8> {
    let patch = match model_in(&body) {
        Some(_) => Patch { model: Some(model.to_owned()), member: None },
        None => {
            let mut value = Vec::with_capacity(model.len() + 2);
            json::push(&mut value, model);
            Patch { model: None, member: Some(("model", value)) }
        }
    };
    patch.apply(body)
}

impl Patch {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.model.is_none() && self.member.is_none()
    }

    /// Applies the patch to an object. What is no object, or has two models, stays as it is there.
    pub fn apply(&self, mut object: Vec<u8>) -> Vec<u8> {
        if let Some(model) = &self.model
            && let Some(at) = model_in(&object)
        {
            let mut value = Vec::with_capacity(model.len() + 2);
            json::push(&mut value, model);
            object.splice(at, value);
        }
        let Some((name, value)) = &self.member else { return object };
        let Some(brace) = object.iter().position(|byte| !byte.is_ascii_whitespace()) else { return object };
        if object.get(brace) != Some(&b'{') {
            return object;
        }
        let empty = object.iter().skip(brace + 1).find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
        let mut front = Vec::with_capacity(name.len() + value.len() + 4);
        json::push(&mut front, *name);
        front.push(b':');
        front.extend_from_slice(value);
        if !empty {
            front.push(b',');
        }
        object.splice(brace + 1..brace + 1, front);
        object
    }
}

/// Splits a stream of events into whole events, and applies a patch to the objects in them: its model to each, its
/// member to the first.
#[derive(Debug, Default)]
pub struct EventPatcher {
    patch: Patch,
    /// What stands after the last whole event.
    rest: Vec<u8>,
}

/// Where the last event that is whole ends; no event ends before `from`.
fn whole_events(bytes: &[u8], from: usize) -> usize {
    let ends = |at: usize| {
        let before = bytes.get(..at).unwrap_or_default();
        [&b"\n\n"[..], b"\n\r\n", b"\r\r"].iter().any(|end| before.ends_with(end))
    };
    (from + 1..=bytes.len()).rev().find(|at| ends(*at)).unwrap_or(0)
}

impl EventPatcher {
    /// Applies `patch`.
    pub fn new(patch: Patch) -> Self {
        Self { patch, rest: Vec::new() }
    }

    /// Takes a chunk and returns all events that are whole with it.
    ///
    /// What has no end within [`EVENT_BYTES_MAX`] is no event, and is passed on as it came.
    pub fn push(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.rest);
        let known = bytes.len();
        if bytes.is_empty() {
            bytes = chunk;
        } else {
            bytes.extend_from_slice(&chunk);
        }
        let end = if bytes.len() > EVENT_BYTES_MAX { bytes.len() } else { whole_events(&bytes, known) };
        self.rest = bytes.split_off(end);
        self.patched(bytes)
    }

    /// What is left when the stream ends.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.rest);
        self.patched(rest)
    }

    /// Drops what is left, for a stream that goes on with something else.
    pub fn discard(&mut self) {
        self.rest = Vec::new();
    }

    fn patched(&mut self, events: Vec<u8>) -> Vec<u8> {
        if self.patch.is_empty() {
            return events;
        }
        let mut out = Vec::with_capacity(events.len() + 128);
        for line in events.split_inclusive(|byte| *byte == b'\n') {
            let value = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
            match value {
                Some(object) if object.first() == Some(&b'{') => {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(&self.patch.apply(object.to_vec()));
                    self.patch.member = None;
                    let end = line.trim_ascii_end().len();
                    out.extend_from_slice(line.get(end..).unwrap_or_default());
                }
                _ => out.extend_from_slice(line),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(body: &str, expected: &str) {
        let out = String::from_utf8(with_model(body.as_bytes().to_vec(), "l\"m")).unwrap();
        assert_eq!(out, expected);
    }

    #[test]
    fn the_model_is_put_in_and_every_other_byte_stays() {
        check(
            r#" {"a": 1,  "model" : "auto" ,"b":{"model":"x"}} "#,
            r#" {"a": 1,  "model" : "l\"m" ,"b":{"model":"x"}} "#,
        );
        check(r#"{"m\u006fdel":"auto"}"#, r#"{"m\u006fdel":"l\"m"}"#);
        check(r#"{"a":"é"}"#, r#"{"model":"l\"m","a":"é"}"#);
        check("{ }", r#"{"model":"l\"m" }"#);
        check("[1]", "[1]");
        check("", "");
    }

    fn patcher() -> EventPatcher {
        EventPatcher::new(Patch { model: Some("m".into()), member: Some(("w", b"{\"k\":1}".to_vec())) })
    }

    fn pass(patcher: &mut EventPatcher, chunks: &[&[u8]]) -> String {
        let mut out: Vec<u8> = chunks.iter().flat_map(|chunk| patcher.push(chunk.to_vec())).collect();
        out.extend(patcher.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn events_are_patched_wherever_they_are_cut() {
        let stream =
            ": ping\r\n\r\ndata: {\"model\":\"a\",\"x\":1}\n\ndata:{\"model\":\"b\"}\r\n\r\ndata: [DONE]\n\n";
        let expected = ": ping\r\n\r\ndata: {\"w\":{\"k\":1},\"model\":\"m\",\"x\":1}\n\ndata: {\"model\":\"m\"}\r\n\r\ndata: [DONE]\n\n";
        for size in [1, 2, 3, 7, 1000] {
            let chunks: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            assert_eq!(pass(&mut patcher(), &chunks), expected, "in chunks of {size}");
        }
    }

    #[test]
    fn only_whole_events_come_out() {
        let mut patcher = patcher();
        assert_eq!(patcher.push(b"data: {\"x\"".to_vec()), b"");
        assert_eq!(patcher.push(b":1}\n\ndata: {\"y\"".to_vec()), b"data: {\"w\":{\"k\":1},\"x\":1}\n\n");
        patcher.discard();
        assert_eq!(patcher.finish(), b"");
        let endless = vec![b'x'; EVENT_BYTES_MAX + 1];
        assert_eq!(patcher.push(endless.clone()), endless);
    }

    proptest! {
        #[test]
        fn without_a_patch_no_byte_changes(chunks in prop::collection::vec("[a{}:\\r\\n ]{0,9}", 0..12)) {
            let bytes: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
            prop_assert_eq!(pass(&mut EventPatcher::default(), &bytes), chunks.concat());
        }
    }
}
