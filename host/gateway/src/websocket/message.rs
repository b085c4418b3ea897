//! A client's message, and the body of the request that is made of it.

use super::fault::Fault;
use super::memory::{Draft, Remembered, append, inside};
use super::room::Memory;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::sync::Arc;

/// Fields of a message; a request has some thirty.
const FIELDS_MAX: usize = 128;
/// Fields of streamed requests over HTTP that mean nothing here, and must not be sent.
const NOT_HERE: [&str; 3] = ["stream", "stream_options", "background"];

/// A turn that a message asks for.
#[derive(Debug)]
pub(crate) struct Create {
    /// The request's body.
    pub(crate) body: Bytes,
    /// What to remember of it, if its response is not stored.
    pub(crate) draft: Option<Draft>,
    /// Whether it goes on from what the connection remembers.
    pub(crate) continues: bool,
}

/// Why there is no turn.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is no JSON object: whoever sends it speaks something else.
    NoObject(Fault),
    /// It asks for what there is not.
    Request(Fault),
}

impl Create {
    /// Reads a message of a connection that remembers `last`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(text: &str, last: Option<&Remembered>, memory: &Arc<Memory>) -> Result<Self, Unfit> {
        let mut fields: Fields<'_> =
            serde_json::from_str(text).map_err(|error| Unfit::NoObject(unreadable(&error)))?;
        fields.check().map_err(Unfit::Request)?;
        let named = fields.text("previous_response_id");
        let last = last.filter(|last| named.as_ref().is_some_and(|named| *named == last.id));
        let input = fields.get("input").map_or(Some(String::new()), items);
        // What is no list of items is for the function to refuse; so is what cannot go together.
        let is_plain = fields.get("conversation").is_none_or(is_null);
        let (items, base) = match (last, input) {
            (Some(last), Some(more)) => {
                let mut items = last.items.clone();
                append(&mut items, &more);
                fields.remove("input");
                fields.remove("previous_response_id");
                (Some(items), last.base.clone())
            }
            (_, input) => (input, named),
        };
        let rewritten = last.and(items.as_deref()).map(|items| (items, base.as_deref()));
        let body = fields.body(rewritten).into();
        let is_stored = fields.get("store").is_none_or(|store| store.get().trim() != "false");
        let draft =
            items.filter(|_| !is_stored && is_plain).and_then(|items| Draft::new(base, items, memory));
        Ok(Self { body, draft, continues: last.is_some() })
    }
}

fn unreadable(error: &serde_json::Error) -> Fault {
    Fault::invalid("invalid_json", format!("A message must be one JSON object: {error}."))
}

/// The fields of a message, as they were written.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| *value)
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(field, _)| field != name);
    }

    /// The value of a field that is a string.
    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Finds what no turn can be made of.
    fn check(&mut self) -> Result<(), Fault> {
        if self.text("type").as_deref() != Some("response.create") {
            let message = "`type` must be `response.create`: there are no other messages.";
            return Err(Fault::invalid("invalid_value", message).of("type"));
        }
        for name in NOT_HERE {
            // It is so in any case, and clients that are in wide use say it.
            let is_granted =
                name == "stream" && self.get(name).is_some_and(|value| value.get().trim() == "true");
            if !is_granted && !self.get(name).is_none_or(is_null) {
                let message =
                    format!("`{name}` is not for WebSockets: every response is streamed, none runs behind.");
                return Err(Fault::invalid("unsupported_parameter", message).of(name));
            }
        }
        if self.get("generate").is_some_and(|value| value.get().trim() == "false") {
            let message =
                "`generate: false` is not supported: there is nothing to warm up; send the turn itself.";
            return Err(Fault::invalid("unsupported_parameter", message).of("generate"));
        }
        self.0.retain(|(name, _)| name != "type" && name != "generate" && !NOT_HERE.contains(&&**name));
        Ok(())
    }

    /// The body of a streamed request; `rewritten` are its whole input and where that goes on from.
    fn body(&self, rewritten: Option<(&str, Option<&str>)>) -> String {
        let mut body = String::from(r#"{"stream":true"#);
        for (name, value) in &self.0 {
            add(&mut body, name, value.get());
        }
        if let Some((items, base)) = rewritten {
            add(&mut body, "input", &format!("[{items}]"));
            if let Some(base) = base {
                add(&mut body, "previous_response_id", &quoted(base));
            }
        }
        body.push('}');
        body
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Self::Value = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    // Two readers of one message could each believe another of them.
                    if fields.iter().any(|(known, _)| *known == name) {
                        let name: String = name.chars().take(100).collect();
                        return Err(A::Error::custom(format_args!("the field {name:?} is there twice")));
                    }
                    if fields.len() == FIELDS_MAX {
                        return Err(A::Error::custom(format_args!("it has more than {FIELDS_MAX} fields")));
                    }
                    fields.push((name, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object).map(Self)
    }
}

/// The items of an input: those of the list, or one for a text. None where it is neither.
fn items(input: &RawValue) -> Option<String> {
    let text = input.get().trim();
    if is_null(input) {
        return Some(String::new());
    }
    if text.starts_with('"') {
        return Some(format!(r#"{{"type":"message","role":"user","content":{text}}}"#));
    }
    inside(text).map(str::to_owned)
}

fn is_null(value: &RawValue) -> bool {
    value.get().trim() == "null"
}

fn add(body: &mut String, name: &str, value: &str) {
    body.push(',');
    body.push_str(&quoted(name));
    body.push(':');
    body.push_str(value);
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn memory() -> Arc<Memory> {
        Memory::of(1 << 20, None)
    }

    fn read(message: &Value, last: Option<&Remembered>) -> Create {
        Create::read(&message.to_string(), last, &memory()).unwrap()
    }

    fn body(create: &Create) -> Value {
        serde_json::from_slice(&create.body).unwrap()
    }

    fn finish(create: Create, id: &str, output: &Value) -> Option<Remembered> {
        let event = json!({"type": "response.completed", "response": {"id": id, "output": output}});
        create.draft?.finish(event.to_string().as_bytes())
    }

    #[test]
    fn a_message_becomes_the_body_of_a_streamed_request() {
        let message = json!({"type": "response.create", "model": "m", "input": "Hi \u{1F41D}\n", "stream": true,
            "generate": true, "previous_response_id": "resp_0"});
        let expected = json!({"model": "m", "input": "Hi \u{1F41D}\n", "stream": true, "previous_response_id": "resp_0"});
        let create = read(&message, None);
        assert_eq!(body(&create), expected);
        assert!(!create.continues && create.draft.is_none(), "what is stored need not be remembered");
    }

    #[test]
    fn what_is_not_for_websockets_is_refused_by_name() {
        let check = |field: &str, value: Value, code: &'static str| {
            let mut message = json!({"type": "response.create", "input": "Hi"});
            message[field] = value;
            let unfit = Create::read(&message.to_string(), None, &memory()).unwrap_err();
            let Unfit::Request(fault) = unfit else { panic!("{unfit:?}") };
            let event: Value = serde_json::from_str(&fault.event()).unwrap();
            assert_eq!(
                (event["error"]["param"].as_str(), event["error"]["code"].as_str()),
                (Some(field), Some(code))
            );
        };
        check("type", json!("response.cancel"), "invalid_value");
        check("type", json!(7), "invalid_value");
        check("stream", json!(false), "unsupported_parameter");
        check("stream_options", json!({}), "unsupported_parameter");
        check("background", json!(false), "unsupported_parameter");
        check("generate", json!(false), "unsupported_parameter");
    }

    #[test]
    fn what_is_no_object_with_distinct_fields_is_no_message() {
        let many: String = (0..=FIELDS_MAX).map(|n| format!(r#""f{n}":0,"#)).collect();
        let many = format!("{{{many}\"type\":\"response.create\"}}");
        for text in ["", "[]", "\"x\"", "{", "{} {}", r#"{"type":1,"type":2}"#, &many] {
            let unfit = Create::read(text, None, &memory()).unwrap_err();
            assert!(matches!(unfit, Unfit::NoObject(_)), "{text}");
        }
    }

    #[test]
    fn a_response_that_is_not_stored_is_gone_on_from_by_its_items() {
        let first = read(&json!({"type": "response.create", "input": "One", "store": false}), None);
        let said = json!([{"type": "message", "role": "assistant", "content": "1"}]);
        let last = finish(first, "resp_1", &said).unwrap();
        let message = json!({"type": "response.create", "previous_response_id": "resp_1", "store": false,
            "input": [{"type": "message", "role": "user", "content": "Two"}]});
        let second = read(&message, Some(&last));
        let items = json!([
            {"type": "message", "role": "user", "content": "One"},
            {"type": "message", "role": "assistant", "content": "1"},
            {"type": "message", "role": "user", "content": "Two"},
        ]);
        assert_eq!(body(&second), json!({"stream": true, "store": false, "input": items}));
        assert!(second.continues);
        let third = finish(second, "resp_2", &json!([])).unwrap();
        let message = json!({"type": "response.create", "previous_response_id": "resp_2", "input": null});
        let third = read(&message, Some(&third));
        assert_eq!(body(&third), json!({"stream": true, "input": items}));
        assert!(third.draft.is_none(), "this one is stored");
    }

    #[test]
    fn what_goes_on_from_a_stored_response_goes_on_from_it_again() {
        let message = json!({"type": "response.create", "input": "Two", "store": false,
            "previous_response_id": "resp_\"1\""});
        let first = read(&message, None);
        assert!(!first.continues);
        let last = finish(first, "resp_2", &json!([])).unwrap();
        let message = json!({"type": "response.create", "input": [], "previous_response_id": "resp_2"});
        let items = json!([{"type": "message", "role": "user", "content": "Two"}]);
        let expected = json!({"stream": true, "input": items, "previous_response_id": "resp_\"1\""});
        assert_eq!(body(&read(&message, Some(&last))), expected);
    }

    #[test]
    fn other_ids_and_other_inputs_are_left_to_the_function() {
        let first = read(&json!({"type": "response.create", "input": "One", "store": false}), None);
        let last = finish(first, "resp_1", &json!([])).unwrap();
        for message in [
            json!({"input": "Two", "previous_response_id": "resp_9"}),
            json!({"input": {"not": "items"}, "previous_response_id": "resp_1", "store": false}),
            json!({"input": "Two", "previous_response_id": 7}),
            json!({"input": "Two"}),
        ] {
            let (mut sent, mut expected) = (message.clone(), message);
            sent["type"] = json!("response.create");
            expected["stream"] = json!(true);
            assert_eq!(body(&read(&sent, Some(&last))), expected);
        }
        let message =
            json!({"type": "response.create", "input": "One", "store": false, "conversation": "conv_1"});
        assert!(read(&message, None).draft.is_none(), "the items of a conversation are not the connection's");
    }
}
