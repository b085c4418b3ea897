//! The pieces of an item's content: text, refusals, images, files, reasoning.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// An estimate of the tokens of an image, by how closely a model looks at it; OpenAI's numbers for a square of 1024.
const IMAGE_TOKENS: u64 = 765;
/// The same for an image that is looked at in low detail.
const IMAGE_TOKENS_LOW: u64 = 85;
/// How many bytes of a file's base64 are taken for one token: most of a document's bytes are no words.
const FILE_BYTES_PER_TOKEN: usize = 16;

/// A piece of an item's content.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<'a> {
    /// Something said.
    Text(TextPart<'a>),
    /// The model refusing to answer.
    Refusal(Cow<'a, str>),
    /// An image.
    Image {
        /// Where it is, or itself as a `data:` URL.
        url: Cow<'a, str>,
        /// How closely the model is to look.
        detail: Detail,
    },
    /// A file.
    File {
        /// What it is called.
        filename: Option<Cow<'a, str>>,
        /// The file in base64, or as a `data:` URL.
        data: Cow<'a, str>,
    },
    /// A file that the model's endpoint fetches. Only models that are asked by Responses take one.
    FileUrl {
        /// What it is called.
        filename: Option<Cow<'a, str>>,
        /// Where it is.
        url: Cow<'a, str>,
    },
    /// What a model thought.
    Reasoning(Cow<'a, str>),
    /// What a model thought, in short.
    Summary(Cow<'a, str>),
}

/// Text, and what is known of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextPart<'a> {
    /// The text.
    pub text: Cow<'a, str>,
    /// What it cites.
    pub annotations: Vec<Citation>,
    /// How probable its tokens were, when that was asked for.
    pub logprobs: Vec<LogProb>,
}

/// How closely a model looks at an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// As it likes.
    #[default]
    Auto,
    /// At a small copy.
    Low,
    /// At its parts.
    High,
}

/// A place of the web that a text cites; `start_index` to `end_index`, in characters, is what refers to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlCitation {
    /// The first character.
    pub start_index: u64,
    /// The last character.
    pub end_index: u64,
    /// What is cited.
    pub url: String,
    /// Its title.
    #[serde(default)]
    pub title: String,
}

/// A file of the tenant's knowledge that a text cites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCitation {
    /// The file.
    pub file_id: String,
    /// What it is called.
    #[serde(default)]
    pub filename: String,
    /// Before which character of the text the citation belongs.
    pub index: u64,
}

/// What a text cites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type")]
pub enum Citation {
    /// A place of the web.
    #[serde(rename = "url_citation")]
    Url(UrlCitation),
    /// A file of the tenant's knowledge.
    #[serde(rename = "file_citation")]
    File(FileCitation),
}

/// An annotation, as items hold it.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Annotation {
    /// It cites a place of the web.
    UrlCitation(UrlCitation),
    /// It cites a file.
    FileCitation(FileCitation),
    /// Of a kind that stands for what this server does not have, such as files of a container.
    #[serde(other)]
    Other,
}

impl Annotation {
    /// The same of one that is kept.
    pub fn cites(&self) -> Option<Citation> {
        match self {
            Self::UrlCitation(citation) => Some(Citation::Url(citation.clone())),
            Self::FileCitation(citation) => Some(Citation::File(citation.clone())),
            Self::Other => None,
        }
    }

    /// What it cites, if it does.
    pub fn citation(self) -> Option<Citation> {
        match self {
            Self::UrlCitation(citation) => Some(Citation::Url(citation)),
            Self::FileCitation(citation) => Some(Citation::File(citation)),
            Self::Other => None,
        }
    }
}

/// How probable a token was.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LogProb {
    /// The token, and how probable it was.
    #[serde(flatten)]
    pub token: TokenLogProb,
    /// What else it might have been.
    pub top_logprobs: Vec<TokenLogProb>,
}

/// A token and the logarithm of its probability.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct TokenLogProb {
    /// The token.
    pub token: String,
    /// The natural logarithm of its probability.
    pub logprob: f64,
    /// Its bytes, of which one character may need those of several tokens.
    pub bytes: Vec<u8>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartJson<'a> {
    InputText {
        text: &'a str,
    },
    OutputText {
        text: &'a str,
        annotations: &'a [Citation],
        logprobs: &'a [LogProb],
    },
    Refusal {
        refusal: &'a str,
    },
    InputImage {
        image_url: &'a str,
        detail: Detail,
    },
    InputFile {
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_data: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_url: Option<&'a str>,
    },
    ReasoningText {
        text: &'a str,
    },
    SummaryText {
        text: &'a str,
    },
}

impl<'a> Part<'a> {
    /// A piece of text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(TextPart { text: text.into(), ..TextPart::default() })
    }

    /// Its words; an image and a file have none.
    pub fn words(&self) -> &str {
        match self {
            Self::Text(TextPart { text, .. })
            | Self::Refusal(text)
            | Self::Reasoning(text)
            | Self::Summary(text) => text,
            Self::Image { .. } | Self::File { .. } | Self::FileUrl { .. } => "",
        }
    }

    /// An estimate of the tokens a model counts for it beside its words: those of an image or a file.
    pub fn tokens_beyond_words(&self) -> u64 {
        match self {
            Self::Image { detail: Detail::Low, .. } => IMAGE_TOKENS_LOW,
            Self::Image { .. } => IMAGE_TOKENS,
            Self::File { data, .. } => data.len().div_ceil(FILE_BYTES_PER_TOKEN) as u64,
            // How long the file is, nobody here knows.
            Self::FileUrl { url, .. } => super::estimate_tokens(url),
            _ => 0,
        }
    }

    /// The part as JSON. What was said to a model and what one said are different parts.
    pub(super) fn to_json(&self, said_by_model: bool) -> PartJson<'_> {
        match self {
            Self::Text(part) if said_by_model => PartJson::OutputText {
                text: &part.text,
                annotations: &part.annotations,
                logprobs: &part.logprobs,
            },
            Self::Text(part) => PartJson::InputText { text: &part.text },
            Self::Refusal(refusal) => PartJson::Refusal { refusal },
            Self::Image { url, detail } => PartJson::InputImage { image_url: url, detail: *detail },
            Self::File { filename, data } => {
                PartJson::InputFile { filename: filename.as_deref(), file_data: Some(data), file_url: None }
            }
            Self::FileUrl { filename, url } => {
                PartJson::InputFile { filename: filename.as_deref(), file_data: None, file_url: Some(url) }
            }
            Self::Reasoning(text) => PartJson::ReasoningText { text },
            Self::Summary(text) => PartJson::SummaryText { text },
        }
    }

    /// Appends the part as an event and an item of the model's hold it.
    pub fn push_output(&self, out: &mut Vec<u8>) {
        crate::json::push(out, &self.to_json(true));
    }
}
