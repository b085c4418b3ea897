//! `"a {{ name }} b"`: texts that refer to application variables, as Spin writes them.

use std::fmt;
use std::ops::Range;

/// A text with expressions. Two braces open an expression and there is no escape for them; blanks around the name do
/// not matter; a lone `}}` is text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself.
    Literal(String),
    /// A reference to an application variable, and the bytes of the template it takes, braces included.
    Variable {
        /// The variable's name, without blanks; not checked to exist.
        name: String,
        /// Bytes of the template's text.
        range: Range<usize>,
    },
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}` after it.
    #[error("`{{{{` is never closed")]
    Unclosed {
        /// Bytes of the template's text.
        range: Range<usize>,
    },
    /// `{{ }}`.
    #[error("`{{{{ }}}}` names no variable")]
    Empty {
        /// Bytes of the template's text.
        range: Range<usize>,
    },
}

impl TemplateError {
    /// The bytes of the template's text that are wrong.
    pub fn range(&self) -> Range<usize> {
        match self {
            Self::Unclosed { range } | Self::Empty { range } => range.clone(),
        }
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// If an expression is not closed or names nothing.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut position = 0;
        while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
            let Some((literal, after)) = rest.split_once("{{") else {
                parts.push(Part::Literal(rest.to_owned()));
                break;
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let start = position + literal.len();
            let Some((expression, _)) = after.split_once("}}") else {
                return Err(TemplateError::Unclosed { range: start..text.len() });
            };
            let range = start..start + expression.len() + 4;
            if expression.trim().is_empty() {
                return Err(TemplateError::Empty { range });
            }
            position = range.end;
            parts.push(Part::Variable { name: expression.trim().to_owned(), range });
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if no variable is referred to.
    pub fn is_literal(&self) -> bool {
        self.variables().next().is_none()
    }

    /// The pieces in order; no two literals stand side by side.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The names referred to, in order, repeats included, each with its bytes in the template's text.
    pub fn variables(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Variable { name, range } => Some((name.as_str(), range.clone())),
        })
    }

    /// The text with every name replaced by what `lookup` gives for it.
    ///
    /// # Errors
    /// The first name that `lookup` does not know.
    pub fn expand<S: AsRef<str>>(&self, lookup: impl Fn(&str) -> Option<S>) -> Result<String, &str> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable { name, .. } => text.push_str(lookup(name).ok_or(name.as_str())?.as_ref()),
            }
        }
        Ok(text)
    }
}

/// Writes the text as it was written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_expand_with_their_variables() {
        let check = |text: &str, expected: &str| {
            let template = Template::parse(text).unwrap();
            let found = template.expand(|name| match name {
                "a" => Some("1"),
                "b" => Some("{{ a }}"),
                _ => None,
            });
            assert_eq!(found.unwrap_or_else(|name| format!("no {name}")), expected, "{text}");
        };
        check("", "");
        check("plain }} { } text", "plain }} { } text");
        check("{{a}}", "1");
        check("x{{ a }}y{{\ta }}z", "x1y1z");
        check("{{a}}{{a}}", "11");
        // What a variable holds is never expanded again.
        check("{{ b }}", "{{ a }}");
        check("{{ c }}", "no c");
        check("{{ {a }}", "no {a");
        check("é{{ a }}é", "é1é");
    }

    #[test]
    fn mistakes_are_placed_in_the_text() {
        let check = |text: &str, marked: &str| {
            let range = Template::parse(text).unwrap_err().range();
            assert_eq!(&text[range], marked, "{text}");
        };
        check("a {{ b", "{{ b");
        check("é {{ }} x", "{{ }}");
        check("{{a}} {{ b }", "{{ b }");
    }
}
