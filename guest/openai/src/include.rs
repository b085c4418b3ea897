//! The `include` field: what a client wants to have besides.

use crate::error::{ApiError, echo};
use crate::json::Text;

/// What OpenAI's API knows. Some of it belongs to tools this server does not have, and so there is nothing to include.
const KNOWN: [&str; 8] = [
    ENCRYPTED_REASONING,
    LOGPROBS,
    "message.input_image.image_url",
    SEARCH_RESULTS,
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
];
/// The log probabilities of the model's words.
const LOGPROBS: &str = "message.output_text.logprobs";
/// What a model thought, in a form only its maker can read.
const ENCRYPTED_REASONING: &str = "reasoning.encrypted_content";
/// What a search in the tenant's knowledge has found.
const SEARCH_RESULTS: &str = "file_search_call.results";
/// The most values of one request; each is there once, so a longer list repeats itself.
pub const INCLUDES_MAX: usize = 2 * KNOWN.len();

/// What is to be included, as far as it changes anything here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Include {
    /// Whether the log probabilities of the model's words are.
    pub logprobs: bool,
    /// Whether what the model thought is, encrypted, so that it can be sent back.
    pub encrypted_reasoning: bool,
    /// Whether what a search in the tenant's knowledge has found is.
    pub search_results: bool,
}

impl Include {
    /// Reads the values of the field.
    ///
    /// # Errors
    /// 400 naming the first value that is unknown, as `include[0]`.
    pub fn read(values: &[Text<'_>]) -> Result<Self, ApiError> {
        for (index, value) in values.iter().enumerate() {
            if !KNOWN.contains(&&**value) {
                let param = format!("include[{index}]");
                let known = KNOWN.join("', '");
                let message = format!("Invalid value for '{param}': '{}'. Known are '{known}'.", echo(value));
                return Err(ApiError::invalid_param(param, "invalid_value", message));
            }
        }
        let has = |wanted: &str| values.iter().any(|value| &**value == wanted);
        Ok(Self {
            logprobs: has(LOGPROBS),
            encrypted_reasoning: has(ENCRYPTED_REASONING),
            search_results: has(SEARCH_RESULTS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_named_by_its_place() {
        let values = |texts: &[&'static str]| -> Vec<Text<'static>> {
            texts.iter().map(|text| Text((*text).into())).collect()
        };
        assert_eq!(Include::read(&values(&[])), Ok(Include::default()));
        assert_eq!(
            Include::read(&values(&["reasoning.encrypted_content", LOGPROBS])),
            Ok(Include { logprobs: true, encrypted_reasoning: true, search_results: false })
        );
        let results = Include { search_results: true, ..Include::default() };
        assert_eq!(Include::read(&values(&["file_search_call.results"])), Ok(results));
        let error = Include::read(&values(&[LOGPROBS, "secrets"])).unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some("include[1]")));
    }
}
