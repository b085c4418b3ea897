//! Reading a JSON object field by field so that every mistake is reported with the path of its field, in one pass.

use crate::error::{ApiError, echo};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cell::Cell;
use std::cell::RefCell;
use std::fmt;

/// Appends `value` as JSON.
///
/// Our own types cannot fail to serialise, nor can a `Vec` fail to take bytes, so there is no error to report.
pub fn push<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok());
}

/// A string that borrows from the input unless it holds an escape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Where in the body the reader stands, for the `param` of an error.
#[derive(Debug, Default)]
pub struct Path {
    field: RefCell<String>,
    index: Cell<Option<usize>>,
    unknown: Cell<bool>,
}

impl Path {
    /// Says that the reader is at element `index` of the field's array, or has left it.
    pub fn at(&self, index: Option<usize>) {
        self.index.set(index);
    }

    fn enter(&self, field: &str) {
        let mut current = self.field.borrow_mut();
        current.clear();
        current.push_str(field);
        self.index.set(None);
    }

    fn param(&self) -> Option<String> {
        let field = self.field.borrow();
        match self.index.get() {
            _ if field.is_empty() => None,
            Some(index) => Some(format!("{field}[{index}]")),
            None => Some(field.clone()),
        }
    }
}

/// What takes the fields of one object.
pub trait Fields<'de> {
    /// Reads the value of field `name` from `map`. `false`, with the value left unread, when there is no such field.
    ///
    /// # Errors
    /// Whatever reading the value fails with.
    fn read<A: MapAccess<'de>>(&mut self, name: &str, path: &Path, map: &mut A) -> Result<bool, A::Error>;
}

/// What to do with fields nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// They are an error that names them.
    Refused,
    /// They are skipped.
    Skipped,
}

struct ObjectVisitor<'f, F> {
    fields: &'f mut F,
    path: &'f Path,
    unknown: Unknown,
}

impl<'de, F: Fields<'de>> Visitor<'de> for ObjectVisitor<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            self.path.enter(&name);
            if !self.fields.read(&name, self.path, &mut map)? {
                if self.unknown == Unknown::Refused {
                    self.path.unknown.set(true);
                    return Err(A::Error::custom("unknown field"));
                }
                map.next_value::<IgnoredAny>()?;
            }
        }
        self.path.enter("");
        Ok(())
    }
}

/// Reads `body`, which must be one JSON object and nothing else, into `fields`.
///
/// # Errors
/// 400: the body is not JSON, is not an object, or a field is unknown or wrong (`param` names it).
pub fn read_object<'de, F: Fields<'de>>(
    body: &'de [u8],
    fields: &mut F,
    unknown: Unknown,
) -> Result<(), ApiError> {
    let path = Path::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    deserializer
        .deserialize_map(ObjectVisitor { fields, path: &path, unknown })
        .and_then(|()| deserializer.end())
        .map_err(|error| explain(&error, &path))
}

fn explain(error: &serde_json::Error, path: &Path) -> ApiError {
    let param = path.param();
    match param {
        Some(param) if path.unknown.get() => {
            let param = echo(&param);
            let message = format!("Unknown parameter: '{param}'.");
            ApiError::invalid_param(param, "unknown_parameter", message)
        }
        Some(param) if error.is_data() => invalid_value(echo(&param), &error.to_string()),
        None if error.is_data() => {
            ApiError::invalid(format!("The request body must be a JSON object: {error}."))
        }
        _ => ApiError {
            code: Some("invalid_json"),
            ..ApiError::invalid(format!("The request body is not valid JSON: {error}."))
        },
    }
}

/// The error for a value that serde refused, with the code that fits its `reason`.
pub fn invalid_value(param: impl Into<String>, reason: &str) -> ApiError {
    let param = param.into();
    let code = match reason {
        _ if reason.starts_with("unknown field") => "unknown_parameter",
        _ if reason.starts_with("missing field") => "missing_required_parameter",
        _ if reason.starts_with("invalid type") => "invalid_type",
        _ => "invalid_value",
    };
    let message = format!("Invalid value for '{param}': {}.", echo_reason(reason));
    ApiError::invalid_param(param, code, message)
}

/// serde quotes the offending value, which may be long.
fn echo_reason(reason: &str) -> String {
    const REASON_CHARACTERS_MAX: usize = 400;
    if reason.len() <= REASON_CHARACTERS_MAX {
        return reason.to_owned();
    }
    let head: String = reason.chars().take(REASON_CHARACTERS_MAX / 2).collect();
    let tail: Vec<char> = reason.chars().rev().take(REASON_CHARACTERS_MAX / 2).collect();
    format!("{head} … {}", tail.into_iter().rev().collect::<String>())
}

/// Reads a small value that was kept raw, reporting mistakes under `param`.
///
/// # Errors
/// 400 naming `param`.
pub fn read_raw<'a, T: Deserialize<'a>>(raw: &'a str, param: &str) -> Result<T, ApiError> {
    serde_json::from_str(raw).map_err(|error| invalid_value(param, &error.to_string()))
}

/// Reads an array element by element, keeping `path` at the element that is being read.
pub struct Elements<'p, T> {
    path: &'p Path,
    elements_max: usize,
    element: std::marker::PhantomData<T>,
}

impl<'p, T> Elements<'p, T> {
    /// A reader for arrays of at most `elements_max` elements.
    pub fn new(path: &'p Path, elements_max: usize) -> Self {
        Self { path, elements_max, element: std::marker::PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Elements<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    // `null` stands for a field that was left out.
    fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut elements = Vec::new();
        loop {
            self.path.at(Some(elements.len()));
            let Some(element) = sequence.next_element()? else { break };
            if elements.len() == self.elements_max {
                self.path.at(None);
                return Err(A::Error::custom(format!("at most {} elements are accepted", self.elements_max)));
            }
            elements.push(element);
        }
        self.path.at(None);
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Example {
        name: Option<String>,
        numbers: Vec<u8>,
    }

    impl<'de> Fields<'de> for Example {
        fn read<A: MapAccess<'de>>(
            &mut self,
            name: &str,
            path: &Path,
            map: &mut A,
        ) -> Result<bool, A::Error> {
            match name {
                "name" => self.name = map.next_value()?,
                "numbers" => self.numbers = map.next_value_seed(Elements::new(path, 3))?,
                _ => return Ok(false),
            }
            Ok(true)
        }
    }

    fn check(body: &str, param: Option<&str>, code: Option<&str>) {
        let error = read_object(body.as_bytes(), &mut Example::default(), Unknown::Refused).unwrap_err();
        assert_eq!((error.status, error.param.as_deref(), error.code), (400, param, code), "{body}: {error}");
    }

    #[test]
    fn every_mistake_is_reported_with_its_path() {
        check(r#"{"name": 3}"#, Some("name"), Some("invalid_type"));
        check(r#"{"numbers": [1, 2, "x"]}"#, Some("numbers[2]"), Some("invalid_type"));
        check(r#"{"numbers": [1, 300]}"#, Some("numbers[1]"), Some("invalid_value"));
        check(r#"{"numbers": [1, 2, 3, 4]}"#, Some("numbers"), Some("invalid_value"));
        check(r#"{"nmae": "x"}"#, Some("nmae"), Some("unknown_parameter"));
        check(r#"{"name": "x""#, None, None.or(Some("invalid_json")));
        check("[]", None, None);
        check("", None, Some("invalid_json"));
        check("{} x", None, Some("invalid_json"));
    }

    #[test]
    fn unknown_fields_are_skipped_when_asked() {
        let mut fields = Example::default();
        read_object(br#"{"other": {"deep": [1]}, "name": "n"}"#, &mut fields, Unknown::Skipped).unwrap();
        assert_eq!(fields.name.as_deref(), Some("n"));
    }
}
