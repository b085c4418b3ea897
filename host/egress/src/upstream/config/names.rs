//! Names of upstreams and models, checked once.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

/// The most bytes of an upstream's name.
pub const UPSTREAM_NAME_BYTES_MAX: usize = 64;
/// The most bytes of a model's name.
pub const MODEL_NAME_BYTES_MAX: usize = 128;

/// Why a name cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is no name of an upstream.
    #[error(
        "{found:?} is no name of an upstream; it has 1 to {UPSTREAM_NAME_BYTES_MAX} of the characters a-z, 0-9, `.`, `_` and `-`"
    )]
    Upstream {
        /// What was found, shortened.
        found: String,
    },
    /// It is no name of a model.
    #[error(
        "{found:?} is no name of a model; it has 1 to {MODEL_NAME_BYTES_MAX} visible ASCII characters, without `*`"
    )]
    Model {
        /// What was found, shortened.
        found: String,
    },
    /// It is neither a name of a model nor a pattern of such names.
    #[error(
        "{found:?} is neither a name of a model nor a pattern; it has 1 to {MODEL_NAME_BYTES_MAX} visible ASCII characters, and at most one `*`, at its end"
    )]
    Pattern {
        /// What was found, shortened.
        found: String,
    },
}

/// The name of an upstream: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct UpstreamName(Arc<str>);

impl UpstreamName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError::Upstream`].
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if (1..=UPSTREAM_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(NameError::Upstream { found: shorten(name) })
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UpstreamName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl Borrow<str> for UpstreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a model: 1 to 128 visible ASCII characters, without `*`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ModelName(Arc<str>);

impl ModelName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError::Model`].
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if is_visible(name, MODEL_NAME_BYTES_MAX) && !name.contains('*') {
            Ok(Self(name.into()))
        } else {
            Err(NameError::Model { found: shorten(name) })
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl TryFrom<String> for ModelName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which models a `[model.NAME]` is about: one by its name, or with one `*` at the end all whose names begin with what
/// stands before it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelPattern(Arc<str>);

impl ModelPattern {
    /// Checks a name or pattern.
    ///
    /// # Errors
    /// [`NameError::Pattern`].
    pub fn parse(pattern: &str) -> Result<Self, NameError> {
        let name = pattern.strip_suffix('*').unwrap_or(pattern);
        if is_visible(pattern, MODEL_NAME_BYTES_MAX) && !name.contains('*') {
            Ok(Self(pattern.into()))
        } else {
            Err(NameError::Pattern { found: shorten(pattern) })
        }
    }

    /// As it is written, `*` included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How the names begin that it is about; `None` where it is a name itself.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        self.0.strip_suffix('*')
    }

    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl Borrow<str> for ModelPattern {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_visible(name: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The beginning of what may be arbitrarily long.
pub(crate) fn shorten(text: &str) -> String {
    if text.len() <= MODEL_NAME_BYTES_MAX {
        return text.to_owned();
    }
    let mut end = MODEL_NAME_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_upstreams_are_short_and_plain() {
        let check = |name: &str, valid: bool| assert_eq!(UpstreamName::parse(name).is_ok(), valid, "{name}");
        check("openai", true);
        check("a.b_c-9", true);
        check(&"a".repeat(64), true);
        check(&"a".repeat(65), false);
        check("", false);
        check("OpenAI", false);
        check("a b", false);
        check("a/b", false);
        check("模型", false);
    }

    #[test]
    fn names_of_models_are_visible_and_patterns_end_in_one_star() {
        let check = |name: &str, is_name: bool, is_pattern: bool| {
            assert_eq!(ModelName::parse(name).is_ok(), is_name, "{name}");
            assert_eq!(ModelPattern::parse(name).is_ok(), is_pattern, "{name}");
        };
        check("gpt-5", true, true);
        check("vendor/model:free@2026", true, true);
        check("gpt-5*", false, true);
        check("*", false, true);
        check("*a", false, false);
        check("a*b*", false, false);
        check("a**", false, false);
        check("", false, false);
        check("a b", false, false);
        check("a\n", false, false);
        check(&"a".repeat(128), true, true);
        check(&"a".repeat(129), false, false);
    }

    #[test]
    fn what_is_too_long_is_shown_shortened() {
        let error = ModelName::parse(&"模".repeat(1_000)).unwrap_err().to_string();
        assert!(error.len() < 400 && error.contains('…'), "{error}");
    }
}
