//! Stored items, as far as a model must see them. Texts stay JSON string literals, to be spliced into a request.

use super::part::Annotation;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A stored item.
#[derive(Debug, Deserialize)]
pub struct StoredItem<'a> {
    /// `message`, `function_call`, `function_call_output`, `reasoning`, `compaction`, or that of a tool that runs elsewhere.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Who speaks, when it is a message.
    pub role: Option<&'a str>,
    /// The parts of a message.
    #[serde(borrow, default)]
    pub content: Vec<StoredPart<'a>>,
    /// Whether it is an [`Item::Fallback`](super::Item::Fallback).
    #[serde(rename = "waggle_fallback", default)]
    pub fallback: bool,
    /// The call, for the two function kinds.
    #[serde(borrow)]
    pub call_id: Option<&'a RawValue>,
    /// The function that is called.
    #[serde(borrow)]
    pub name: Option<&'a RawValue>,
    /// The arguments of the call.
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
    /// What the function returned: a string, or an array of parts.
    #[serde(borrow)]
    pub output: Option<&'a RawValue>,
}

/// A part of a stored message: one of text, refusal, image and file is there.
#[derive(Debug, Deserialize)]
pub struct StoredPart<'a> {
    /// The text.
    #[serde(borrow)]
    pub text: Option<&'a RawValue>,
    /// The refusal.
    #[serde(borrow)]
    pub refusal: Option<&'a RawValue>,
    /// Where an image is.
    #[serde(borrow)]
    pub image_url: Option<&'a RawValue>,
    /// How closely a model is to look at it.
    pub detail: Option<&'a str>,
    /// Where a file is.
    #[serde(borrow)]
    pub file_url: Option<&'a RawValue>,
    /// A file's content.
    #[serde(borrow)]
    pub file_data: Option<&'a RawValue>,
    /// Its name.
    #[serde(borrow)]
    pub filename: Option<&'a RawValue>,
}

impl StoredPart<'_> {
    /// Whether it is more than words.
    pub fn is_more_than_words(&self) -> bool {
        self.image_url.is_some() || self.file_data.is_some()
    }
}

/// Only the id of a stored item.
#[derive(Debug, Deserialize)]
pub struct StoredId<'a> {
    /// The id.
    pub id: &'a str,
}

/// A stored item's text, for whoever shows it to people: nothing for a call of a function or its output.
#[derive(Debug, Deserialize)]
pub struct StoredText {
    /// Who speaks, when it is a message.
    pub role: Option<String>,
    /// The parts of a message.
    #[serde(default)]
    pub content: Vec<StoredTextPart>,
    /// Whether it is an [`Item::Fallback`](super::Item::Fallback).
    #[serde(rename = "waggle_fallback", default)]
    pub fallback: bool,
}

/// A part of a stored message, as text.
#[derive(Debug, Deserialize)]
pub struct StoredTextPart {
    /// The text.
    #[serde(default)]
    pub text: String,
    /// The refusal.
    #[serde(default)]
    pub refusal: String,
    /// What the text cites.
    #[serde(default)]
    pub annotations: Vec<Annotation>,
}

impl StoredText {
    /// All of it as one text.
    pub fn text(&self) -> String {
        self.content.iter().flat_map(|part| [part.text.as_str(), part.refusal.as_str()]).collect()
    }
}
