//! Reading JSON of a tenant's, with errors that say where something is wrong.

use crate::catalogue::IntentsError;
use serde_json::{Map, Value};

/// An object, and where it stands.
pub(crate) struct Fields<'v> {
    map: &'v Map<String, Value>,
    path: String,
}

/// What is wrong at a path.
pub(crate) fn wrong(at: impl Into<String>, reason: impl Into<String>) -> IntentsError {
    IntentsError { at: at.into(), reason: reason.into() }
}

/// A text that is not empty, and not longer than so many characters.
pub(crate) fn text_of(value: &Value, at: &str, characters_max: usize) -> Result<String, IntentsError> {
    let text = value.as_str().map(str::trim).ok_or_else(|| wrong(at, "it must be a text"))?;
    if text.is_empty() {
        return Err(wrong(at, "it is empty"));
    }
    if text.chars().count() > characters_max {
        return Err(wrong(at, format!("it is longer than {characters_max} characters")));
    }
    Ok(text.to_owned())
}

impl<'v> Fields<'v> {
    /// The object that stands at `path`, which has none but `known` fields.
    pub(crate) fn of(value: &'v Value, path: String, known: &[&str]) -> Result<Self, IntentsError> {
        let map = value.as_object().ok_or_else(|| wrong(&path, "it must be an object"))?;
        if let Some(unknown) = map.keys().find(|key| !known.contains(&key.as_str())) {
            let reason = format!("there is no such field; known are {}", known.join(", "));
            return Err(wrong(format!("{path}.{unknown}"), reason));
        }
        Ok(Self { map, path })
    }

    /// Where a field stands.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// The value of a field; `null` is as good as none.
    pub(crate) fn get(&self, name: &str) -> Option<&'v Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A text, if it is there.
    pub(crate) fn text(&self, name: &str, characters_max: usize) -> Result<Option<String>, IntentsError> {
        self.get(name).map(|value| text_of(value, &self.at(name), characters_max)).transpose()
    }

    /// A name: letters, digits, `_` and `-`, at most 64.
    pub(crate) fn name(&self, field: &str) -> Result<String, IntentsError> {
        const CHARACTERS_MAX: usize = 64;
        let at = self.at(field);
        let name = self.text(field, CHARACTERS_MAX)?.ok_or_else(|| wrong(&at, "it is missing"))?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let told = "it must be of letters, digits, '_' and '-'";
        if is_name { Ok(name) } else { Err(wrong(at, told)) }
    }

    /// Yes or no; `default` where it is not said.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, IntentsError> {
        let value = self.get(name).map(|value| value.as_bool().ok_or(()));
        value
            .transpose()
            .map(|flag| flag.unwrap_or(default))
            .map_err(|()| wrong(self.at(name), "it must be true or false"))
    }

    /// The elements of a list; none where it is not there.
    pub(crate) fn list(&self, name: &str, elements_max: usize) -> Result<&'v [Value], IntentsError> {
        let Some(value) = self.get(name) else { return Ok(&[]) };
        let list = value.as_array().ok_or_else(|| wrong(self.at(name), "it must be an array"))?;
        if list.len() > elements_max {
            return Err(wrong(
                self.at(name),
                format!("it has {} elements, at most {elements_max} may be", list.len()),
            ));
        }
        Ok(list)
    }

    /// A list of texts.
    pub(crate) fn texts(
        &self,
        name: &str,
        elements_max: usize,
        characters_max: usize,
    ) -> Result<Vec<String>, IntentsError> {
        let list = self.list(name, elements_max)?.iter().enumerate();
        list.map(|(place, value)| text_of(value, &format!("{}[{place}]", self.at(name)), characters_max))
            .collect()
    }
}
