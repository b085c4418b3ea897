//! Keeping an answer, so that a question that is alike gets it without a model.

use super::FUNCTION;
use super::wire::keep_body;
use crate::platform::{NeighbourCall, Platform};
use serde_json::value::RawValue;
use waggle_model::failure::excerpt;

const PATH: &str = "/v1/retrieval/answers";
/// How long keeping may take, in milliseconds. The client has its answer, or nearly so.
const TIMEOUT_MS: u64 = 2_000;

/// What an answer may be kept by.
#[derive(Debug)]
pub(crate) struct Keepable {
    /// Under which.
    key: String,
    /// What it is given from, by its numbers, as it was found. Without any it is none that can be kept.
    pub(super) sources: Vec<Box<RawValue>>,
}

/// An answer that is to be kept.
#[derive(Debug)]
pub(crate) struct Kept {
    by: Keepable,
    text: String,
}

impl Keepable {
    /// Under this key, of nothing yet.
    pub(super) fn new(key: String) -> Self {
        Self { key, sources: Vec::new() }
    }

    /// With the answer, in which the numbers stand; `None`: with none that can be kept, so that who asks the same does not wait
    /// for one any longer.
    pub(crate) fn with(self, text: Option<String>) -> Kept {
        let text = text.filter(|_| !self.sources.is_empty());
        let by = if text.is_some() { self } else { Self::new(self.key) };
        Kept { by, text: text.unwrap_or_default() }
    }
}

impl Kept {
    /// Keeps it. A failure is told to the operator: the next question is answered by a model again.
    pub(crate) async fn run<P: Platform>(self, platform: &P) {
        let body = keep_body(&self.by.key, &self.text, &self.by.sources);
        let call = NeighbourCall::post(FUNCTION, PATH, body, TIMEOUT_MS);
        match platform.call_neighbour(call).await {
            Ok(answer) if (200..300).contains(&answer.status) => {}
            Ok(answer) => {
                let said = excerpt(&answer.body);
                platform
                    .log(&format!("knowledge: an answer was not kept: status {} '{said}'", answer.status));
            }
            Err(failure) => platform.log(&format!("knowledge: an answer was not kept: {failure}")),
        }
    }
}
