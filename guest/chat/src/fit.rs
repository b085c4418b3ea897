//! Whether all that a turn stands on goes to the model, for a caller who wants nothing left out.

use crate::settings::Settings;
use crate::tokens::SaidTokens;
use waggle_conversation::window::{Window, WindowLimits};
use waggle_openai::ApiError;
use waggle_openai::parameters::Parameters;

/// How much of what came before a turn is read, and what is said when that is not all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit {
    /// What is left of the window beside the input.
    limits: WindowLimits,
    /// Whether a caller has said that nothing may be left out. That it is OpenAI's default does not say so: there a whole
    /// conversation fits into a model's context, and here it need not fit into the window.
    whole: bool,
    /// Whether the input itself is longer than the window.
    too_long: bool,
}

impl Fit {
    pub(crate) fn new(settings: &Settings, parameters: &Parameters, items: usize, said: SaidTokens) -> Self {
        let tokens = said.input + said.instructions;
        Self {
            limits: settings.window.without(items, tokens),
            whole: parameters.truncation.as_deref() == Some("disabled"),
            too_long: tokens > settings.window.tokens_max,
        }
    }

    /// How much to read: one more where it is to be known whether there is more.
    pub(crate) fn limits(&self) -> WindowLimits {
        if self.whole { self.limits.and_one() } else { self.limits }
    }

    /// Holds what was read to it.
    ///
    /// # Errors
    /// 400 `context_length_exceeded`: something would be left out, and nothing may be.
    pub(crate) fn check(&self, window: &Window) -> Result<(), ApiError> {
        if self.whole && (self.too_long || window.exceeds(self.limits)) {
            let message = "Your input, with what it continues, exceeds the window of this server. Shorten it, or let \
                           'truncation' be 'auto': then the oldest turns are left out.";
            return Err(ApiError::invalid_param("input", "context_length_exceeded", message));
        }
        Ok(())
    }
}
