//! The body of `POST /v1/chat/completions`: checked, and passed on as it came.
//!
//! Only what every server agrees on is checked. Fields this file does not know are passed on, so that a caller can
//! use what is special to the model endpoint.

use crate::error::ApiError;
use crate::json::{self, Elements, Fields, Path, Text, Unknown, read_object};
use crate::object::Object;
use serde::de::{Error, IgnoredAny, MapAccess};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The most messages of one request.
const MESSAGES_MAX: usize = 10_000;

/// What the function must know of a chat completion request.
#[derive(Debug, Default)]
pub struct ChatRequest {
    /// Whether the answer is streamed.
    pub stream: bool,
    /// The model, when the request names one.
    pub model: Option<String>,
    /// A field besides `model` that some endpoint takes for the name of a model.
    pub other_models: Option<String>,
    /// Whether the answer has to be JSON.
    pub wants_json: bool,
    messages: Option<usize>,
    ranges: Vec<(&'static str, f64, f64)>,
}

struct Message;

#[derive(Deserialize)]
struct MessageFields<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(rename = "content")]
    _content: Option<Content>,
}

/// The part of `response_format` that is looked at.
#[derive(Deserialize)]
struct FormatField<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
}

struct Content;

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> serde::de::Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a string or an array of content parts")
            }

            fn visit_str<E>(self, _text: &str) -> Result<Content, E> {
                Ok(Content)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
                while parts.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Content)
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(message) = Object::<MessageFields>::deserialize(deserializer)?;
        match &*message.role {
            "system" | "developer" | "user" | "assistant" | "tool" | "function" => Ok(Self),
            other => Err(serde::de::Error::custom(format!("unknown role '{}'", crate::error::echo(other)))),
        }
    }
}

impl<'de> Fields<'de> for ChatRequest {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, path: &Path, map: &mut A) -> Result<bool, A::Error> {
        let mut number = |name, upper| -> Result<(), A::Error> {
            let value = map.next_value::<Option<f64>>()?;
            self.ranges.extend(value.map(|value| (name, value, upper)));
            Ok(())
        };
        match name {
            "model" => {
                let Text(model) = map.next_value()?;
                // Of two, we and the endpoint might each believe another.
                if self.model.replace(model.into_owned()).is_some() {
                    return Err(A::Error::custom("it is there twice"));
                }
            }
            "messages" => {
                let messages: Vec<Message> = map.next_value_seed(Elements::new(path, MESSAGES_MAX))?;
                self.messages = Some(messages.len());
            }
            "response_format" => {
                let raw: &RawValue = map.next_value()?;
                let format = serde_json::from_str::<FormatField<'_>>(raw.get());
                self.wants_json = format.is_ok_and(|format| format.kind.starts_with("json"));
            }
            "stream" => self.stream = map.next_value::<Option<bool>>()?.unwrap_or(false),
            "temperature" => number("temperature", 2.0)?,
            "top_p" => number("top_p", 1.0)?,
            "max_tokens" | "max_completion_tokens" | "n" => {
                map.next_value::<Option<std::num::NonZeroU64>>()?;
            }
            _ => {
                if names_models(name) {
                    self.other_models = Some(name.to_owned());
                }
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether an endpoint may find the names of models in the field `name`: `models` is OpenRouter's, `fallbacks` and
/// `model_list` are LiteLLM's, and servers written in Go take `Model` for `model`.
pub(crate) fn names_models(name: &str) -> bool {
    ["model", "models", "fallbacks", "model_list"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

impl ChatRequest {
    /// Reads and validates a request body.
    ///
    /// # Errors
    /// 400, with `param` naming the field that is wrong or missing.
    pub fn read(body: &[u8]) -> Result<Self, ApiError> {
        let mut request = Self::default();
        read_object(body, &mut request, Unknown::Skipped)?;
        match request.messages {
            None => return Err(ApiError::missing("messages")),
            Some(0) => {
                let message = "Invalid 'messages': an empty array. Send at least one message.";
                return Err(ApiError::invalid_param("messages", "empty_array", message));
            }
            Some(_) => {}
        }
        for (param, value, upper) in &request.ranges {
            if !(0.0..=*upper).contains(value) {
                let message = format!("Invalid value for '{param}': it must be a number from 0 to {upper}.");
                return Err(ApiError::invalid_param(*param, "invalid_value", message));
            }
        }
        Ok(request)
    }

    /// The body to pass on: as it came, with `model` put in front when the caller named none.
    pub fn forwarded(&self, body: Vec<u8>, default_model: &str) -> Vec<u8> {
        let brace = body.iter().position(|byte| *byte == b'{');
        let Some(brace) = brace.filter(|_| self.model.is_none()) else { return body };
        let mut out = Vec::with_capacity(body.len() + default_model.len() + 16);
        out.extend_from_slice(b"{\"model\":");
        json::push(&mut out, default_model);
        out.push(b',');
        out.extend_from_slice(body.get(brace + 1..).unwrap_or_default());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, param: Option<&str>) {
        let error = ChatRequest::read(body.as_bytes()).unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, param), "{body}: {error}");
    }

    #[test]
    fn wrong_requests_name_the_field() {
        check("{}", Some("messages"));
        check(r#"{"messages":[]}"#, Some("messages"));
        check(r#"{"messages":"hi"}"#, Some("messages"));
        check(r#"{"messages":[{"role":"user","content":"x"},{"content":"x"}]}"#, Some("messages[1]"));
        check(r#"{"messages":[{"role":"robot"}]}"#, Some("messages[0]"));
        check(r#"{"messages":[{"role":"user","content":3}]}"#, Some("messages[0]"));
        check(r#"{"messages":[{"role":"user","content":"x"}],"stream":"yes"}"#, Some("stream"));
        check(r#"{"messages":[{"role":"user","content":"x"}],"temperature":2.5}"#, Some("temperature"));
        check(r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":0}"#, Some("max_tokens"));
        check(r#"{"messages":[{"role":"user","content":"x"}],"model":null}"#, Some("model"));
        check(r#"{"model":"a","messages":[{"role":"user","content":"x"}],"m\u006fdel":"b"}"#, Some("model"));
        check("nonsense", None);
    }

    #[test]
    fn every_field_that_may_name_a_model_is_seen() {
        let read = |field: &str| {
            let body = format!(r#"{{"messages":[{{"role":"user"}}],"{field}":[]}}"#);
            ChatRequest::read(body.as_bytes()).unwrap().other_models
        };
        for field in ["Model", "MODEL", "models", "Models", "fallbacks", "model_list"] {
            assert_eq!(read(field).as_deref(), Some(field));
        }
        assert_eq!(read("\\u006dodels").as_deref(), Some("models"));
        for field in ["top_k", "modality", "user", "metadata"] {
            assert_eq!(read(field), None, "{field}");
        }
    }

    fn check_json(format: &str, wants_json: bool) {
        let body = format!(r#"{{"messages":[{{"role":"user"}}],"response_format":{format}}}"#);
        assert_eq!(ChatRequest::read(body.as_bytes()).unwrap().wants_json, wants_json, "{body}");
    }

    #[test]
    fn an_answer_that_has_to_be_json_is_known() {
        check_json("null", false);
        check_json(r#"{"type":"text"}"#, false);
        check_json(r#"{"type":"json_object"}"#, true);
        check_json(r#"{"type":"json_schema","json_schema":{}}"#, true);
        check_json("3", false);
    }

    #[test]
    fn the_default_model_is_put_in_only_when_none_is_named() {
        let named = br#"{"model":"m","messages":[{"role":"user","content":"x"}],"top_k":3}"#.to_vec();
        let request = ChatRequest::read(&named).unwrap();
        assert_eq!(request.forwarded(named.clone(), "default"), named);
        let unnamed = br#" {"messages":[{"role":"user","content":"x"}]}"#.to_vec();
        let request = ChatRequest::read(&unnamed).unwrap();
        let forwarded = String::from_utf8(request.forwarded(unnamed, "de\"f")).unwrap();
        assert_eq!(forwarded, r#"{"model":"de\"f","messages":[{"role":"user","content":"x"}]}"#);
    }
}
