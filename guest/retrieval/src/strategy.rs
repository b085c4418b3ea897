//! How a file is cut into chunks: `chunking_strategy`.

use serde::{Deserialize, Serialize};
use waggle_openai::json::read_raw;
use waggle_openai::{ApiError, Whole, object::Object};

/// The bounds of `max_chunk_size_tokens`.
const TOKENS_MIN: u32 = 100;
const TOKENS_MAX: u32 = 4_096;

/// How a file is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Strategy {
    /// The most tokens of a chunk.
    pub(crate) max_chunk_size_tokens: u32,
    /// How many of them a chunk has in common with the one before, at most.
    pub(crate) chunk_overlap_tokens: u32,
}

impl Default for Strategy {
    /// What `auto` means.
    fn default() -> Self {
        Self { max_chunk_size_tokens: 800, chunk_overlap_tokens: 400 }
    }
}

/// A strategy as clients read it.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    r#type: &'static str,
    r#static: Strategy,
}

impl From<Strategy> for Shown {
    fn from(strategy: Strategy) -> Self {
        Self { r#type: "static", r#static: strategy }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    r#type: String,
    #[serde(default)]
    r#static: Option<Object<SentStatic>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SentStatic {
    max_chunk_size_tokens: Whole<u32>,
    chunk_overlap_tokens: Whole<u32>,
}

impl Strategy {
    /// Reads a strategy as clients write it; `param` is where it stands.
    ///
    /// # Errors
    /// 400 naming what is wrong.
    pub(crate) fn read(raw: &str, param: &str) -> Result<Self, ApiError> {
        let Some(Object(sent)) = read_raw::<Option<Object<Sent>>>(raw, param)? else {
            return Ok(Self::default());
        };
        match (&*sent.r#type, sent.r#static) {
            ("auto", None) => Ok(Self::default()),
            ("static", Some(Object(sent))) => Self::check(&sent, param),
            ("static", None) => Err(ApiError::missing(&format!("{param}.static"))),
            ("auto", Some(_)) => {
                Err(crate::problem::wrong(&format!("{param}.static"), "left out where 'type' is 'auto'"))
            }
            _ => Err(crate::problem::wrong(&format!("{param}.type"), "'auto' or 'static'")),
        }
    }

    fn check(sent: &SentStatic, param: &str) -> Result<Self, ApiError> {
        let Whole(max_chunk_size_tokens) = sent.max_chunk_size_tokens;
        let Whole(chunk_overlap_tokens) = sent.chunk_overlap_tokens;
        if !(TOKENS_MIN..=TOKENS_MAX).contains(&max_chunk_size_tokens) {
            let expected = format!("an integer from {TOKENS_MIN} to {TOKENS_MAX}");
            return Err(crate::problem::wrong(&format!("{param}.static.max_chunk_size_tokens"), &expected));
        }
        if chunk_overlap_tokens > max_chunk_size_tokens / 2 {
            let expected = "at most half of 'max_chunk_size_tokens'";
            return Err(crate::problem::wrong(&format!("{param}.static.chunk_overlap_tokens"), expected));
        }
        Ok(Self { max_chunk_size_tokens, chunk_overlap_tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Result<(u32, u32), &str>) {
        let read = Strategy::read(json, "s");
        let read = read.as_ref().map(|read| (read.max_chunk_size_tokens, read.chunk_overlap_tokens));
        assert_eq!(read.map_err(|error| error.param.as_deref().unwrap_or_default()), expected, "{json}");
    }

    #[test]
    fn a_strategy_is_held_to_its_bounds() {
        let written = |tokens: &str, overlap: &str| {
            format!(
                r#"{{"type":"static","static":{{"max_chunk_size_tokens":{tokens},"chunk_overlap_tokens":{overlap}}}}}"#
            )
        };
        let with = |tokens: i64, overlap: i64| written(&tokens.to_string(), &overlap.to_string());
        check("null", Ok((800, 400)));
        check(r#"{"type":"auto"}"#, Ok((800, 400)));
        check(&with(100, 50), Ok((100, 50)));
        check(&with(4096, 0), Ok((4096, 0)));
        check(&with(99, 0), Err("s.static.max_chunk_size_tokens"));
        check(&with(4097, 0), Err("s.static.max_chunk_size_tokens"));
        check(&with(100, 51), Err("s.static.chunk_overlap_tokens"));
        check(&with(100, -1), Err("s"));
        check(&written("778.0", "1e2"), Ok((778, 100)));
        check(&written("778.5", "0"), Err("s"));
        check(&written("4097.0", "0"), Err("s.static.max_chunk_size_tokens"));
        check(r#"{"type":"static"}"#, Err("s.static"));
        check(r#"{"type":"other"}"#, Err("s.type"));
        check("[]", Err("s"));
        check(r#"{"type":"auto","x":1}"#, Err("s"));
    }
}
