//! When two questions are the same: a digest of all that the answer depends on.

use std::borrow::Cow;

use ring::digest::{Context, SHA256};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::ask::Question;
use super::text::normalised;

/// The largest body of a question that is looked at, in bytes. A larger one hardly comes twice.
pub const QUESTION_BYTES_MAX: usize = 256 * 1024;
/// The end of the paths of the API whose answers are understood.
const PATH_END: &str = "/chat/completions";
/// Members that do not count: who asks, and what is told beside the answer.
const LEFT_OUT: [&str; 5] = ["user", "metadata", "stream_options", "safety_identifier", "prompt_cache_key"];
/// What every digest begins with: another rule makes other digests.
const RULE: &[u8] = b"waggle answer 1";

/// The digest of a question, by SHA-256. It cannot be aimed at, so that two questions with the same one are the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The key of `question` on the shelf with this number. `None` when the question is none whose answer is understood:
    /// another path, too large, not a JSON object, or with a member that stands there twice.
    pub(crate) fn of(shelf: u64, question: &Question<'_>) -> Option<Self> {
        if !question.path.ends_with(PATH_END) || question.body.len() > QUESTION_BYTES_MAX {
            return None;
        }
        let members = sorted(serde_json::from_slice(question.body).ok()?)?;
        let mut hasher = Hasher(Context::new(&SHA256));
        hasher.bytes(RULE);
        hasher.number(shelf);
        hasher.bytes(question.path.as_bytes());
        hasher.bytes(question.model.as_bytes());
        // An absent `stream` is a false one.
        let streams = members.iter().any(|(name, value)| name == "stream" && value.get() == "true");
        hasher.number(u64::from(streams));
        for (name, value) in &members {
            match name.as_ref() {
                name if LEFT_OUT.contains(&name) => {}
                "stream" if matches!(value.get(), "true" | "false") => {}
                "messages" => hasher.messages(value),
                name => hasher.member(name, value),
            }
        }
        hasher.finish()
    }
}

/// The members of an object in the order in which they stand, their values not looked at.
struct Members<'a>(List<'a>);
type List<'a> = Vec<Member<'a>>;
type Member<'a> = (Cow<'a, str>, &'a RawValue);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// The members by name; `None` when a name stands there twice.
fn sorted(Members(mut members): Members<'_>) -> Option<List<'_>> {
    members.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let differ = |pair: &[Member<'_>]| matches!(pair, [one, other] if one.0 != other.0);
    members.windows(2).all(differ).then_some(members)
}

fn members_of(value: &RawValue) -> Option<List<'_>> {
    sorted(serde_json::from_str(value.get()).ok()?)
}

#[derive(Deserialize)]
struct Role<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
}

/// A part of a message's content that is nothing but text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextPart<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// Takes what counts, so that two different sequences of calls never give it the same bytes: strings come with their
/// length, JSON ends with a byte that no JSON has outside of a string.
struct Hasher(Context);

impl Hasher {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn member(&mut self, name: &str, value: &RawValue) {
        self.bytes(name.as_bytes());
        self.json(value);
    }

    /// A value as it is written, without the white space between its parts.
    fn json(&mut self, value: &RawValue) {
        let text = value.get().as_bytes();
        let (mut start, mut in_string, mut escaped) = (0, false, false);
        for (at, byte) in text.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b' ' | b'\t' | b'\n' | b'\r' if !in_string => {
                    self.0.update(text.get(start..at).unwrap_or_default());
                    start = at + 1;
                }
                _ => {}
            }
        }
        self.0.update(text.get(start..).unwrap_or_default());
        self.0.update(&[0]);
    }

    /// The messages, the last one of a user by what it says.
    fn messages(&mut self, value: &RawValue) {
        self.bytes(b"messages");
        let Ok(messages) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
            return self.json(value);
        };
        let is_users = |message: &&RawValue| {
            serde_json::from_str::<Role<'_>>(message.get()).is_ok_and(|role| role.role == "user")
        };
        let asked = messages.iter().rposition(is_users);
        self.number(messages.len() as u64);
        for (index, message) in messages.iter().enumerate() {
            let members = (asked == Some(index)).then(|| members_of(message)).flatten();
            match members {
                Some(members) => self.asked(&members),
                None => {
                    self.number(0);
                    self.json(message);
                }
            }
        }
    }

    fn asked(&mut self, members: &[Member<'_>]) {
        self.number(1);
        self.number(members.len() as u64);
        for (name, value) in members {
            self.bytes(name.as_bytes());
            if name != "content" {
                self.json(value);
            } else if let Ok(Name(text)) = serde_json::from_str(value.get()) {
                self.text(&text);
            } else if let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(value.get()) {
                self.parts(&parts);
            } else {
                self.number(2);
                self.json(value);
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.number(0);
        self.bytes(normalised(text).as_bytes());
    }

    fn parts(&mut self, parts: &[&RawValue]) {
        self.number(1);
        self.number(parts.len() as u64);
        for part in parts {
            match serde_json::from_str::<TextPart<'_>>(part.get()) {
                Ok(TextPart { kind, text }) if kind == "text" => self.text(&text),
                _ => {
                    self.number(2);
                    self.json(part);
                }
            }
        }
    }

    fn finish(self) -> Option<Key> {
        self.0.finish().as_ref().try_into().ok().map(Key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const PATH: &str = "/v1/chat/completions";

    fn key(body: &str) -> Option<Key> {
        Key::of(1, &Question { path: PATH, model: "small", body: body.as_bytes() })
    }

    fn asking(question: &str) -> String {
        json!({"model": "small", "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": question},
        ]})
        .to_string()
    }

    #[test]
    fn what_does_not_count_makes_no_difference() {
        fn check(one: &str, other: &str) {
            assert!(key(one).is_some() && key(one) == key(other), "{one}\n{other}");
        }
        check(r#"{"model":"a","n":1,"messages":[]}"#, "{ \"messages\" : [ ] ,\n\"n\":1, \"model\":\"a\"}");
        check(r#"{"messages":[]}"#, r#"{"messages":[],"user":"u","metadata":{"a":"b"},"stream_options":{}}"#);
        check(r#"{"messages":[]}"#, r#"{"messages":[],"safety_identifier":"s","prompt_cache_key":"k"}"#);
        check(r#"{"messages":[]}"#, r#"{"messages":[],"stream":false}"#);
        check(&asking("Where is it?"), &asking("  where IS\nit？"));
        check(
            r#"{"messages":[{"role":"user","content":"你好"}]}"#,
            r#"{"messages":[{"content":"\u4f60\u597d ","role":"user"}]}"#,
        );
        check(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"image_url"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"hi ","type":"text"},{"type":"image_url"}]}]}"#,
        );
        check(
            r#"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"A"}]}"#,
            r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"A"}]}"#,
        );
    }

    #[test]
    fn all_the_rest_counts() {
        fn check(one: &str, other: &str) {
            assert!(key(one).is_some() && key(other).is_some() && key(one) != key(other), "{one}\n{other}");
        }
        check(r#"{"messages":[]}"#, r#"{"messages":[],"stream":true}"#);
        check(r#"{"messages":[],"stream":false}"#, r#"{"messages":[],"stream":"true"}"#);
        check(r#"{"messages":[],"temperature":0}"#, r#"{"messages":[],"temperature":0.0}"#);
        check(r#"{"a":"x y"}"#, r#"{"a":"xy"}"#);
        check(r#"{"a":"\" "}"#, r#"{"a":"\""}"#);
        check(r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#);
        check(r#"{"a":12}"#, r#"{"a":1}"#);
        check(&asking("is it open"), &asking("is it open?"));
        check(
            r#"{"messages":[{"role":"user","content":"A"},{"role":"user","content":"b"}]}"#,
            r#"{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}"#,
        );
        check(
            r#"{"messages":[{"role":"system","content":"A"}]}"#,
            r#"{"messages":[{"role":"system","content":"a"}]}"#,
        );
        check(
            r#"{"messages":[{"role":"user","content":"a"}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}"#,
        );
        check(
            r#"{"messages":[{"role":"user","content":"a","name":"x"}]}"#,
            r#"{"messages":[{"role":"user","content":"a","name":"X"}]}"#,
        );
        check(
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"A"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"a"}}]}]}"#,
        );
    }

    #[test]
    fn shelf_path_and_model_count() {
        let body = asking("hi");
        let of = |shelf, path, model| Key::of(shelf, &Question { path, model, body: body.as_bytes() });
        let one = of(1, PATH, "small");
        assert!(one.is_some() && one == of(1, PATH, "small"));
        assert!(one != of(2, PATH, "small"));
        assert!(one != of(1, "/v2/chat/completions", "small"));
        assert!(one != of(1, PATH, "large"));
    }

    #[test]
    fn what_is_not_understood_has_no_key() {
        for body in ["", "[]", "null", "{", r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":1}"#, r#"{"a":1} x"#] {
            assert!(key(body).is_none(), "{body}");
        }
        assert!(key(&asking(&"x".repeat(QUESTION_BYTES_MAX))).is_none(), "too large");
        let question = Question { path: "/v1/embeddings", model: "m", body: b"{}" };
        assert!(Key::of(1, &question).is_none());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z \"\\\\\n]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn two_bodies_have_the_same_key_only_if_they_are_equal(one in value(), other in value()) {
            let body = |value: &Value| json!({"x": value}).to_string();
            prop_assert_eq!(key(&body(&one)) == key(&body(&other)), one == other);
        }

        #[test]
        fn white_space_between_values_never_counts(value in value()) {
            let body = json!({"x": value, "y": 1});
            prop_assert!(key(&body.to_string()) == key(&serde_json::to_string_pretty(&body).unwrap()));
        }

        #[test]
        fn any_bytes_are_taken(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Key::of(1, &Question { path: PATH, model: "m", body: &body });
        }
    }
}
