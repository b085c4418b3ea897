//! The variable `models`: which models a request may name.

use crate::platform::Platform;
use crate::problem::Problem;
use crate::settings::variable;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use waggle_openai::ApiError;
use waggle_openai::error::echo;
use waggle_openai::json::{self, Text};

/// The variable.
const VARIABLE: &str = "models";
/// What stands for any model, or any rest of a name.
const ANY: &str = "*";

/// Names separated by commas; a `*` at the end of one stands for any rest. Nothing else is special, and capitals count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Models(String);

#[derive(Deserialize)]
struct ModelList<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Model<'a> {
    #[serde(borrow)]
    id: Text<'a>,
}

#[derive(Serialize)]
struct KeptModels<'a> {
    object: &'static str,
    data: Vec<&'a RawValue>,
}

impl Models {
    /// Those that `pattern` allows. An empty one allows none.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Where the variable is not defined, every model may be named. One that is defined and empty allows none: a
    /// restriction must not turn into its opposite.
    pub(crate) async fn read<P: Platform>(platform: &P) -> Result<Self, Problem> {
        Ok(Self(variable(platform, VARIABLE).await?.unwrap_or_else(|| ANY.to_owned())))
    }

    fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.split(',').map(str::trim).filter(|pattern| !pattern.is_empty())
    }

    /// Whether every model may be named.
    pub fn is_any(&self) -> bool {
        self.patterns().any(|pattern| pattern == ANY)
    }

    /// Whether `model` may be named.
    pub fn allow(&self, model: &str) -> bool {
        self.patterns().any(|pattern| match pattern.strip_suffix(ANY) {
            Some(start) => model.starts_with(start),
            None => model == pattern,
        })
    }

    /// Refuses a model that may not be named as OpenAI refuses one that does not exist.
    pub(crate) fn check(&self, model: &str) -> Result<(), ApiError> {
        if self.allow(model) {
            return Ok(());
        }
        Err(Self::unknown(model))
    }

    /// 404, as OpenAI answers a model that does not exist.
    pub(crate) fn unknown(model: &str) -> ApiError {
        let message = format!("The model `{}` does not exist or you do not have access to it.", echo(model));
        ApiError::rejected(404, Some("model_not_found"), message)
    }

    /// The models of an endpoint's list that may be named, as a list; `more`, one model's object, is added unless it
    /// is `None`.
    pub(crate) fn keep(&self, list: &[u8], more: Option<&RawValue>) -> serde_json::Result<Vec<u8>> {
        let ModelList { mut data } = serde_json::from_slice(list)?;
        data.retain(|raw| {
            serde_json::from_str(raw.get()).is_ok_and(|model: Model<'_>| self.allow(&model.id))
        });
        data.extend(more);
        let mut out = Vec::with_capacity(list.len() + 128);
        json::push(&mut out, &KeptModels { object: "list", data });
        Ok(out)
    }
}

/// The ids of the models of an endpoint's list.
///
/// # Errors
/// It is no list of models.
pub(crate) fn ids(list: &[u8]) -> serde_json::Result<Vec<String>> {
    let ModelList { data } = serde_json::from_slice(list)?;
    let id = |raw: &RawValue| {
        serde_json::from_str::<Model<'_>>(raw.get()).ok().map(|model| model.id.0.into_owned())
    };
    Ok(data.into_iter().filter_map(id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pattern: &str, allowed: &[&str], refused: &[&str]) {
        let models = Models::new(pattern);
        for model in allowed {
            assert!(models.allow(model), "'{pattern}' refuses '{model}'");
        }
        for model in refused {
            assert!(!models.allow(model), "'{pattern}' allows '{model}'");
        }
    }

    #[test]
    fn names_are_compared_whole_unless_a_star_ends_them() {
        check("*", &["", "a", "org/name:7b", "*"], &[]);
        check("a", &["a"], &["", "A", "ab", "a ", "b", "*"]);
        check("a, b*", &["a", "b", "bc", "b*"], &["ab", "c", ""]);
        check("gpt-*,ft:gpt-*:bank:*", &["gpt-5", "ft:gpt-*:bank:x"], &["ft:gpt-5:bank:x", "gpt"]);
        check("a*b", &["a*b"], &["ab", "axb"]);
        check("a**", &["a*", "a*x"], &["a", "ab"]);
        for nothing in ["", " ", ",", " , ,"] {
            check(nothing, &[], &["", " ", "a", ","]);
        }
    }

    /// The rule once more, spelled out letter by letter.
    fn matches(pattern: &[char], model: &[char]) -> bool {
        match (pattern, model) {
            (['*'], _) | ([], []) => true,
            ([first, pattern @ ..], [letter, model @ ..]) => first == letter && matches(pattern, model),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_list_allows_what_one_of_its_patterns_allows(
            patterns in prop::collection::vec("[ab*]{0,4}", 0..4),
            model in "[ab*]{0,5}",
        ) {
            let expected = patterns.iter().filter(|pattern| !pattern.is_empty()).any(|pattern| {
                let letters = |text: &str| text.chars().collect::<Vec<_>>();
                matches(&letters(pattern), &letters(&model))
            });
            prop_assert_eq!(Models::new(patterns.join(",")).allow(&model), expected);
            prop_assert_eq!(Models::new(patterns.join(" ,  ")).allow(&model), expected);
            let models = Models::new(patterns.join(","));
            prop_assert!(!models.is_any() || models.allow(&model));
        }

        #[test]
        fn any_text_can_be_a_list_and_a_model(pattern in ".{0,40}", model in ".{0,40}") {
            let models = Models::new(pattern);
            prop_assert_eq!(models.check(&model).is_ok(), models.allow(&model));
        }
    }
}
