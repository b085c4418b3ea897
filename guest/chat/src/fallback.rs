//! What a caller gets when no model answers: a text in the model's place, or the error, as the tenant chose.

use crate::language::Language;
use crate::platform::Platform;
use crate::settings::variable;
use waggle_model::ModelFailure;
use waggle_openai::metadata::Metadata;

/// The variable that chooses: `text` (the default) or `error`.
const MODE_VARIABLE: &str = "fallback";
/// The variable with the text; empty stands for the one in the caller's language.
const TEXT_VARIABLE: &str = "fallback_text";

/// Who reads an answer, as far as a text in its place depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reader {
    /// Their language.
    pub(crate) language: Language,
    /// Whether they asked for JSON: then no text can take the answer's place, and an error is what a program
    /// understands.
    pub(crate) wants_json: bool,
}

/// A text in the place of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fallback {
    /// The text.
    pub(crate) text: String,
    /// Why, as one word.
    pub(crate) reason: &'static str,
}

impl Fallback {
    /// The fallback for a failure; `None` when the caller is to read the error.
    ///
    /// It is looked up only now: a request whose model answers pays nothing for it. A variable that is wrong is told to
    /// the operator, and the caller reads the model's error.
    pub(crate) async fn find<P: Platform>(
        platform: &P,
        failure: &ModelFailure,
        reader: Reader,
    ) -> Option<Self> {
        if reader.wants_json || !failure.falls_back() {
            return None;
        }
        match configured(platform).await {
            Ok(text) => {
                let text = text?.unwrap_or_else(|| reader.language.busy().to_owned());
                Some(Self { text, reason: failure.reason() })
            }
            Err(reason) => {
                platform.log(&reason);
                None
            }
        }
    }

    /// Says in a response's metadata that it is a fallback, and why.
    pub(crate) fn mark(&self, metadata: &mut Metadata) {
        metadata.set("waggle_fallback", "true");
        metadata.set("waggle_fallback_reason", self.reason);
    }
}

/// What the tenant chose: `None` is the error, `Some(None)` the text in the caller's language.
async fn configured<P: Platform>(platform: &P) -> Result<Option<Option<String>>, String> {
    let read = async |name| variable(platform, name).await.map_err(|problem| problem.log.unwrap_or_default());
    match read(MODE_VARIABLE).await?.as_deref().map(str::trim) {
        None | Some("" | "text") => {}
        Some("error") => return Ok(None),
        Some(other) => {
            let told = format!("the variable '{MODE_VARIABLE}' must be 'text' or 'error', not '{other}'");
            return Err(told);
        }
    }
    let text = read(TEXT_VARIABLE).await?;
    Ok(Some(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())))
}
