//! The API by which a model is asked.

use crate::responses;
use crate::sse::SseParser;

/// Which of OpenAI's two APIs a model is asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wire {
    /// Chat Completions, which nearly every endpoint has.
    #[default]
    Chat,
    /// Responses.
    Responses,
}

impl Wire {
    /// Where requests go, below the endpoint's base.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Responses => "/responses",
        }
    }

    /// A parser of its streams. An event of Responses may hold a whole answer.
    pub fn parser(self) -> SseParser {
        match self {
            Self::Chat => SseParser::default(),
            Self::Responses => SseParser::with_bound(responses::EVENT_BYTES_MAX),
        }
    }
}
