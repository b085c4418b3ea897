//! `api`: by which of OpenAI's two APIs an upstream can be asked for an answer.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer};

/// An API by which a model is asked for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `…/chat/completions`.
    ChatCompletions,
    /// `…/responses`.
    Responses,
}

impl Api {
    /// The API of calls to `path`, which has no query. `None` for all else that upstreams have, as embeddings.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        if path.ends_with("/chat/completions") {
            Some(Self::ChatCompletions)
        } else {
            path.ends_with("/responses").then_some(Self::Responses)
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChatCompletions => "chat_completions",
            Self::Responses => "responses",
        })
    }
}

/// The APIs of an upstream. The default has Chat Completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apis {
    chat_completions: bool,
    responses: bool,
}

impl Default for Apis {
    fn default() -> Self {
        Self { chat_completions: true, responses: false }
    }
}

impl Apis {
    /// Both.
    pub const ALL: Self = Self { chat_completions: true, responses: true };

    /// Whether `api` is among them. Calls of no such API go to any upstream.
    #[must_use]
    pub fn have(self, api: Option<Api>) -> bool {
        match api {
            None => true,
            Some(Api::ChatCompletions) => self.chat_completions,
            Some(Api::Responses) => self.responses,
        }
    }
}

impl<'de> Deserialize<'de> for Apis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<Api>::deserialize(deserializer)?;
        if list.is_empty() {
            let message =
                "no API is named; name \"chat_completions\", \"responses\" or both, or remove the key";
            return Err(de::Error::custom(message));
        }
        let has = |api| list.contains(&api);
        Ok(Self { chat_completions: has(Api::ChatCompletions), responses: has(Api::Responses) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_an_api_by_its_end() {
        let check = |path: &str, expected| assert_eq!(Api::of_path(path), expected, "{path}");
        check("/v1/chat/completions", Some(Api::ChatCompletions));
        check("/v1/responses", Some(Api::Responses));
        check("/v1/embeddings", None);
        check("/v1/completions", None);
        check("/v1/responses/resp_1", None);
    }

    #[test]
    fn an_upstream_has_the_apis_it_names() {
        let read = |api: &str| {
            #[derive(Deserialize)]
            struct Table {
                api: Apis,
            }
            toml::from_str::<Table>(&format!("api = {api}"))
                .map(|table| table.api)
                .map_err(|error| error.to_string())
        };
        let both = read(r#"["chat_completions", "responses"]"#).unwrap();
        assert_eq!(both, Apis::ALL);
        let one = read(r#"["responses"]"#).unwrap();
        assert!(one.have(Some(Api::Responses)) && !one.have(Some(Api::ChatCompletions)) && one.have(None));
        assert!(
            Apis::default().have(Some(Api::ChatCompletions)) && !Apis::default().have(Some(Api::Responses))
        );
        assert!(read("[]").unwrap_err().contains("no API is named"));
        assert!(read(r#"["embeddings"]"#).unwrap_err().contains("chat_completions"));
    }
}
