//! The shapes in which intents are asked for and told, by clients and by other functions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The path for clients.
pub const RECOGNISE_PATH: &str = "/v1/intents/recognise";
/// The path for other functions, which no route of the application leads to: its answer has what a turn is to be told.
pub const TURN_PATH: &str = "/v1/intents/turn";
/// The longest text that is looked at, in bytes; a longer one is refused.
pub const INPUT_BYTES_MAX: usize = 32 << 10;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecogniseRequest {
    /// What was said, of 1 to [`INPUT_BYTES_MAX`] bytes.
    pub input: String,
    /// The id of the conversation that it was said in, which remembers what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// In which language questions are asked: `zh`, else English; without it, that of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// A name of this turn: asked again under it, the answer is the same, and nothing is remembered twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
}

/// By what an intent was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// By an example's own words.
    Words,
    /// By vectors.
    Embedding,
    /// By a small model.
    Model,
    /// It answers what was asked before.
    Conversation,
    /// By nothing: nobody was there to compare it.
    Nothing,
}

/// What else could be meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The intent.
    pub name: String,
    /// How sure that would be, from 0 to 1.
    pub confidence: f64,
}

/// What is meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recognition {
    /// `intent`.
    pub object: String,
    /// The intent, or `unknown`.
    pub name: String,
    /// How sure that is, from 0 to 1; of `unknown`, how sure the best intent is.
    pub confidence: f64,
    /// By what.
    pub by: By,
    /// What else could be meant, the surest first, at most 3.
    pub alternatives: Vec<Alternative>,
    /// The values of its slots that are known.
    pub slots: Map<String, Value>,
    /// The required slots that have none.
    pub missing: Vec<String>,
    /// What to ask for the first of them; `None` where nothing is missing, or it was asked for in vain.
    pub question: Option<String>,
}

/// What the model of a turn is told of its intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guidance {
    /// What the intent is.
    pub description: String,
    /// What the tenant says of it.
    pub instructions: String,
    /// The tools that the turn gets: `LABEL` or `LABEL.FUNCTION`.
    pub tools: Vec<String>,
}

/// What is meant, for a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnRecognition {
    /// That.
    pub recognition: Recognition,
    /// None of `unknown`.
    pub guidance: Option<Guidance>,
}
