//! The body of `POST /v1/embeddings`: checked, and passed on as it came.

use crate::error::ApiError;
use crate::json::{Fields, Path, Text, Unknown, read_object};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de::IgnoredAny};
use std::fmt;

/// The most inputs of one request.
pub const INPUTS_MAX: usize = 2048;
/// The most tokens of one input that is given as tokens.
const TOKENS_MAX: usize = 8192;

/// What the function must know of an embeddings request.
#[derive(Debug, Default)]
pub struct EmbeddingRequest {
    /// The model, when the request names one.
    pub model: Option<String>,
    /// A field besides `model` that some endpoint takes for the name of a model.
    pub other_models: Option<String>,
    input: Option<Input>,
}

/// That there is an input: a text, tokens, or an array of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Input;

/// What an array of inputs holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Text,
    Token,
    Tokens,
}

impl<'de> Fields<'de> for EmbeddingRequest {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, _path: &Path, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "model" => {
                let Text(model) = map.next_value()?;
                // Of two, we and the endpoint might each believe another.
                if self.model.replace(model.into_owned()).is_some() {
                    return Err(A::Error::custom("it is there twice"));
                }
            }
            "input" => self.input = Some(map.next_value()?),
            "dimensions" => {
                map.next_value::<Option<std::num::NonZeroU32>>()?;
            }
            "encoding_format" => match map.next_value::<Option<Text<'_>>>()? {
                None => {}
                Some(Text(format)) if format == "float" || format == "base64" => {}
                Some(_) => return Err(A::Error::custom("it must be 'float' or 'base64'")),
            },
            _ => {
                if crate::chat::names_models(name) {
                    self.other_models = Some(name.to_owned());
                }
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl EmbeddingRequest {
    /// Reads and validates a request body.
    ///
    /// # Errors
    /// 400, with `param` naming the field that is wrong or missing.
    pub fn read(body: &[u8]) -> Result<Self, ApiError> {
        let mut request = Self::default();
        read_object(body, &mut request, Unknown::Skipped)?;
        if request.input.is_none() {
            return Err(ApiError::missing("input"));
        }
        Ok(request)
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, an array of strings, or arrays of tokens")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Input, E> {
        if text.is_empty() { Err(E::custom("it must not be empty")) } else { Ok(Input) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Input, A::Error> {
        let Some(first) = sequence.next_element::<Element>()? else {
            return Err(A::Error::custom("it must not be empty"));
        };
        let elements_max = if first == Element::Token { TOKENS_MAX } else { INPUTS_MAX };
        let mut count = 1;
        while let Some(element) = sequence.next_element::<Element>()? {
            if element != first {
                return Err(A::Error::custom("its elements must be of one kind"));
            }
            count += 1;
            if count > elements_max {
                return Err(A::Error::custom(format!("at most {elements_max} elements are accepted")));
            }
        }
        Ok(Input)
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, a token or an array of tokens")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
        if text.is_empty() { Err(E::custom("an input must not be empty")) } else { Ok(Element::Text) }
    }

    fn visit_u64<E: Error>(self, _token: u64) -> Result<Element, E> {
        Ok(Element::Token)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Element, A::Error> {
        let mut count = 0;
        while sequence.next_element::<u64>()?.is_some() {
            count += 1;
            if count > TOKENS_MAX {
                while sequence.next_element::<IgnoredAny>()?.is_some() {}
                return Err(A::Error::custom(format!("an input has at most {TOKENS_MAX} tokens")));
            }
        }
        if count == 0 { Err(A::Error::custom("an input must not be empty")) } else { Ok(Element::Tokens) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, accepted: bool) {
        let body = format!(r#"{{"model":"m","input":{input}}}"#);
        let read = EmbeddingRequest::read(body.as_bytes());
        assert_eq!(read.is_ok(), accepted, "{input:.80}: {read:?}");
        if let Err(error) = read {
            assert_eq!((error.status, error.param.as_deref()), (400, Some("input")), "{error}");
        }
    }

    #[test]
    fn an_input_is_text_or_tokens_or_an_array_of_one_of_them() {
        for input in [r#""x""#, r#"["x","y"]"#, "[1,2]", "[[1,2],[3]]"] {
            check(input, true);
        }
        for input in
            [r#""""#, "[]", r#"["x",""]"#, "[[]]", r#"["x",1]"#, "[1,[2]]", "[-1]", "null", "3", "{}"]
        {
            check(input, false);
        }
        let many = |element: &str, count: usize| format!("[{}]", vec![element; count].join(","));
        check(&many(r#""x""#, INPUTS_MAX), true);
        check(&many(r#""x""#, INPUTS_MAX + 1), false);
        check(&many("1", TOKENS_MAX), true);
        check(&many("1", TOKENS_MAX + 1), false);
        check(&format!("[{}]", many("1", TOKENS_MAX + 1)), false);
    }

    #[test]
    fn wrong_requests_name_the_field() {
        for (body, param) in [
            ("{}", "input"),
            (r#"{"input":"x","model":"a","model":"b"}"#, "model"),
            (r#"{"input":"x","dimensions":0}"#, "dimensions"),
            (r#"{"input":"x","encoding_format":"hex"}"#, "encoding_format"),
        ] {
            let error = EmbeddingRequest::read(body.as_bytes()).unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(param)), "{body}");
        }
    }
}
