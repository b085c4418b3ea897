//! Reading single variables.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use waggle_openai::error::echo;
use waggle_platform::Platform;

/// A variable that cannot be used; for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("the variable '{variable}' cannot be read: {reason}")]
    Unreadable {
        /// Its name.
        variable: &'static str,
        /// Why.
        reason: String,
    },
    /// It is not what it must be.
    #[error("the variable '{variable}' must be {expected}, not '{value}'")]
    Wrong {
        /// Its name.
        variable: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        value: String,
    },
    /// It is not there, and something else needs it.
    #[error("the variable '{variable}' is not set: give it as in '{hint}'")]
    Missing {
        /// Its name.
        variable: &'static str,
        /// An example.
        hint: &'static str,
    },
}

/// Reads variables.
pub(crate) struct Reader<'p, P> {
    pub(crate) platform: &'p P,
}

impl<P: Platform> Reader<'_, P> {
    /// A text without the space around it; `None` when nothing is left.
    pub(crate) async fn text(&self, variable: &'static str) -> Result<Option<String>, SettingsError> {
        let unreadable = |reason| SettingsError::Unreadable { variable, reason };
        let value = self.platform.variable(variable).await.map_err(unreadable)?;
        Ok(value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()))
    }

    /// A number in its range.
    pub(crate) async fn optional_number<N: FromStr + PartialOrd + Display>(
        &self,
        variable: &'static str,
        range: RangeInclusive<N>,
    ) -> Result<Option<N>, SettingsError> {
        let Some(value) = self.text(variable).await? else { return Ok(None) };
        let number = value.parse::<N>().ok().filter(|number| range.contains(number));
        let wrong = || {
            let expected = format!("a number from {} to {}", range.start(), range.end());
            SettingsError::Wrong { variable, expected, value: echo(&value) }
        };
        number.map(Some).ok_or_else(wrong)
    }

    pub(crate) async fn number<N: FromStr + PartialOrd + Display>(
        &self,
        variable: &'static str,
        default: N,
        range: RangeInclusive<N>,
    ) -> Result<N, SettingsError> {
        Ok(self.optional_number(variable, range).await?.unwrap_or(default))
    }

    /// One of a few words, each with what it stands for.
    pub(crate) async fn choice<T: Copy>(
        &self,
        variable: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> Result<T, SettingsError> {
        let Some(value) = self.text(variable).await? else { return Ok(default) };
        let chosen = choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice);
        let wrong = || {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("'{word}'")).collect();
            SettingsError::Wrong { variable, expected: words.join(" or "), value: echo(&value) }
        };
        chosen.ok_or_else(wrong)
    }
}
