//! Prompts as an operator writes them down: JSON with gaps, `{{name}}`, that a client fills in.

use super::shape::{PromptArgument, PromptMessage, PromptText, ServedPrompt};
use super::{ServerFailure, ServerPrompts};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The most prompts of a set.
const PROMPTS_MAX: usize = 256;
/// The longest prompt once it is filled in, in bytes.
const FILLED_BYTES_MAX: usize = 256 << 10;

/// Why prompts cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptSetError {
    /// They are no JSON of that shape; the text says where.
    #[error("prompts are a JSON array of {{name, title?, description?, arguments?, messages}}: {0}")]
    Shape(String),
    /// Two have one name.
    #[error("two prompts are called '{0}'")]
    Twice(String),
    /// A gap has no argument that would fill it.
    #[error("prompt '{prompt}' has a gap '{gap}' that is not among its arguments")]
    Gap {
        /// The prompt.
        prompt: String,
        /// The gap.
        gap: String,
    },
    /// There are more than may be.
    #[error("more than {PROMPTS_MAX} prompts")]
    TooMany,
}

/// Prompts that are the same for every caller.
#[derive(Debug, Clone, Default)]
pub struct PromptSet(Vec<Template>);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    name: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    arguments: Vec<Argument>,
    messages: Vec<TemplateMessage>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    required: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateMessage {
    #[serde(default)]
    role: Role,
    text: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    #[default]
    User,
    Assistant,
}

/// A part of a text.
enum Part<'a> {
    Text(&'a str),
    Gap(&'a str),
}

/// `text` cut at its gaps. A brace pair without its end is text.
fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(inside) = rest.strip_prefix("{{")
            && let Some(end) = inside.find("}}")
        {
            let (name, after) = inside.split_at(end);
            rest = after.get(2..).unwrap_or_default();
            return Some(Part::Gap(name.trim()));
        }
        // What begins like a gap and is none goes with the text before the next that may be one.
        let start = if rest.starts_with("{{") { 2 } else { 0 };
        let end =
            rest.get(start..).and_then(|tail| tail.find("{{")).map_or(rest.len(), |found| start + found);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Part::Text(text))
    })
}

impl PromptSet {
    /// Reads prompts: an array of `{"name", "title"?, "description"?, "arguments"?: [{"name", "description"?,
    /// "required"?}], "messages": [{"role"?: "user" | "assistant", "text"}]}`. An empty text is an empty set.
    ///
    /// # Errors
    /// It is something else, has a name twice, or a gap that nothing fills.
    pub fn read(json: &str) -> Result<Self, PromptSetError> {
        if json.trim().is_empty() {
            return Ok(Self::default());
        }
        let templates: Vec<Template> =
            serde_json::from_str(json).map_err(|error| PromptSetError::Shape(error.to_string()))?;
        if templates.len() > PROMPTS_MAX {
            return Err(PromptSetError::TooMany);
        }
        let mut names = BTreeSet::new();
        for template in &templates {
            if !names.insert(&template.name) {
                return Err(PromptSetError::Twice(template.name.clone()));
            }
            let is_known = |gap: &str| template.arguments.iter().any(|argument| argument.name == gap);
            for part in template.messages.iter().flat_map(|message| parts(&message.text)) {
                if let Part::Gap(gap) = part
                    && !is_known(gap)
                {
                    return Err(PromptSetError::Gap { prompt: template.name.clone(), gap: gap.to_owned() });
                }
            }
        }
        Ok(Self(templates))
    }
}

impl Template {
    fn served(&self) -> ServedPrompt {
        let arguments = self.arguments.iter().map(|argument| PromptArgument {
            name: argument.name.clone(),
            description: argument.description.clone(),
            required: argument.required,
        });
        ServedPrompt {
            name: self.name.clone(),
            title: self.title.clone(),
            description: self.description.clone(),
            arguments: arguments.collect(),
        }
    }

    fn filled(&self, values: &BTreeMap<String, String>) -> Result<PromptText, ServerFailure> {
        let lacks = |argument: &&Argument| argument.required && !values.contains_key(&argument.name);
        if let Some(missing) = self.arguments.iter().find(lacks) {
            let message = format!("prompt '{}' needs the argument '{}'", self.name, missing.name);
            return Err(ServerFailure::Invalid(message));
        }
        let mut room = FILLED_BYTES_MAX;
        let mut messages = Vec::with_capacity(self.messages.len());
        for message in &self.messages {
            let mut text = String::new();
            for part in parts(&message.text) {
                text.push_str(match part {
                    Part::Text(text) => text,
                    Part::Gap(gap) => values.get(gap).map(String::as_str).unwrap_or_default(),
                });
                if text.len() > room {
                    let message = format!("the prompt would be longer than {FILLED_BYTES_MAX} bytes");
                    return Err(ServerFailure::Invalid(message));
                }
            }
            room -= text.len();
            messages.push(PromptMessage { by_assistant: message.role == Role::Assistant, text });
        }
        Ok(PromptText { description: self.description.clone(), messages })
    }
}

impl ServerPrompts for PromptSet {
    async fn prompts(&self) -> Result<Vec<ServedPrompt>, ServerFailure> {
        Ok(self.0.iter().map(Template::served).collect())
    }

    async fn prompt(
        &self,
        name: &str,
        arguments: &BTreeMap<String, String>,
    ) -> Result<PromptText, ServerFailure> {
        match self.0.iter().find(|template| template.name == name) {
            Some(template) => template.filled(arguments),
            None => Err(ServerFailure::Unknown(format!("there is no prompt '{name:.100}'"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use proptest::prelude::*;

    const SET: &str = r#"[{"name": "reply", "description": "An answer", "arguments":
        [{"name": "tone", "required": true}, {"name": "name"}],
        "messages": [{"text": "Answer {{ name }} in a {{tone}} tone. {{"}, {"role": "assistant", "text": "Dear"}]}]"#;

    fn filled(values: &[(&str, &str)]) -> Result<Vec<String>, ServerFailure> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let text = block_on(PromptSet::read(SET).unwrap().prompt("reply", &values))?;
        Ok(text.messages.into_iter().map(|message| message.text).collect())
    }

    #[test]
    fn gaps_are_filled_and_what_fills_them_is_not_looked_at_again() {
        let check = |values: &[(&str, &str)], expected: &str| {
            assert_eq!(filled(values).unwrap().first().map(String::as_str), Some(expected));
        };
        check(&[("tone", "kind"), ("name", "Ada")], "Answer Ada in a kind tone. {{");
        check(&[("tone", "kind")], "Answer  in a kind tone. {{");
        check(&[("tone", "{{name}}"), ("name", "Ada")], "Answer Ada in a {{name}} tone. {{");
    }

    #[test]
    fn what_is_missing_or_too_long_or_unknown_is_refused() {
        assert!(matches!(filled(&[]), Err(ServerFailure::Invalid(text)) if text.contains("'tone'")));
        let long = "x".repeat(FILLED_BYTES_MAX);
        assert!(matches!(filled(&[("tone", &long)]), Err(ServerFailure::Invalid(_))));
        let unknown = block_on(PromptSet::default().prompt("x", &BTreeMap::new()));
        assert!(matches!(unknown, Err(ServerFailure::Unknown(_))));
    }

    #[test]
    fn sets_that_cannot_work_are_refused_when_they_are_read() {
        let check = |json: &str, expected: &str| {
            let error = PromptSet::read(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("{", "JSON array");
        check(r#"[{"name": "a", "messages": [], "x": 1}]"#, "unknown field");
        check(r#"[{"name": "a", "messages": []}, {"name": "a", "messages": []}]"#, "two prompts");
        check(r#"[{"name": "a", "messages": [{"text": "{{b}}"}]}]"#, "gap 'b'");
        assert!(PromptSet::read("  ").unwrap().0.is_empty());
    }

    proptest! {
        #[test]
        fn cutting_a_text_loses_nothing(text in "[{}a]{0,30}") {
            let lengths = parts(&text).map(|part| match part {
                Part::Text(text) => text.len(),
                Part::Gap(gap) => gap.len() + "{{}}".len(),
            });
            prop_assert_eq!(lengths.sum::<usize>(), text.len());
        }
    }
}
