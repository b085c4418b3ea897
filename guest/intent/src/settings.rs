//! The component variables of intents, read once for each request.

use waggle_platform::Platform;
use waggle_search::{SearchSettings, SettingsError};

/// The variable with the intents.
pub const VARIABLE: &str = "intents";
const MODE: &str = "intent_mode";
const LIKENESS: &str = "intent_similarity";
/// How alike what is said is to examples when nobody knows whether it is meant, as a cosine, unless `intent_similarity`
/// says otherwise: about right for all-MiniLM-L6-v2.
const LIKENESS_DEFAULT: f64 = 0.45;

/// By what intents are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By vectors where there is an embedding model, else by a small model where there is one, else by words.
    Auto,
    /// By vectors; no model is asked for anything else.
    Embedding,
    /// By a small model.
    Model,
    /// Not at all.
    Off,
}

/// All of them.
#[derive(Debug, Clone, PartialEq)]
pub struct IntentSettings {
    /// `intents`: the list, as it stands there.
    pub intents: String,
    /// `intent_mode`.
    pub mode: Mode,
    /// `intent_similarity`: the likeness at which nobody knows, from 0 to 1.
    pub midpoint: f64,
    /// The models, and where they are.
    pub search: SearchSettings,
}

async fn text<P: Platform>(platform: &P, variable: &'static str) -> Result<String, SettingsError> {
    let unreadable = |reason| SettingsError::Unreadable { variable, reason };
    Ok(platform.variable(variable).await.map_err(unreadable)?.unwrap_or_default().trim().to_owned())
}

fn wrong(variable: &'static str, expected: &str, value: &str) -> SettingsError {
    SettingsError::Wrong { variable, expected: expected.to_owned(), value: waggle_openai::error::echo(value) }
}

impl IntentSettings {
    /// Reads the variables. Those that are not defined, or empty, have their defaults.
    ///
    /// # Errors
    /// A variable cannot be read, or is out of its range.
    pub async fn read<P: Platform>(platform: &P) -> Result<Self, SettingsError> {
        let mode = match text(platform, MODE).await?.as_str() {
            "" | "auto" => Mode::Auto,
            "embedding" => Mode::Embedding,
            "model" => Mode::Model,
            "off" => Mode::Off,
            other => return Err(wrong(MODE, "'auto' or 'embedding' or 'model' or 'off'", other)),
        };
        let likeness = text(platform, LIKENESS).await?;
        let midpoint =
            if likeness.is_empty() { Some(LIKENESS_DEFAULT) } else { likeness.parse::<f64>().ok() };
        let midpoint = midpoint.filter(|number| (0.0..=1.0).contains(number));
        Ok(Self {
            intents: text(platform, VARIABLE).await?,
            mode,
            midpoint: midpoint.ok_or_else(|| wrong(LIKENESS, "a number from 0 to 1", &likeness))?,
            search: SearchSettings::read(platform).await?,
        })
    }
}
