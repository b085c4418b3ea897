//! A tenant's table of tiers: which models they are, and what makes a question hard for this tenant.

use serde::Deserialize;
use serde::de::Error as _;

/// The most keywords of one list.
const KEYWORDS_MAX: usize = 100;
/// The longest keyword, in characters.
const KEYWORD_CHARACTERS_MAX: usize = 64;
/// The longest model name, in bytes.
const NAME_BYTES_MAX: usize = 256;

const SMALL_DEFAULT: &str = "small";
const LARGE_DEFAULT: &str = "large";
/// Some 150 words, or as many Chinese characters as tokens: more than a customer's usual question.
const LARGE_OVER_TOKENS_DEFAULT: u64 = 200;
/// Ten turns.
const LARGE_OVER_ITEMS_DEFAULT: usize = 20;

/// The table. As JSON, every key of it may be left out:
///
/// ```json
/// {"small": "qwen-small", "large": "gpt-5", "large_over_tokens": 400, "large_over_items": 20,
///  "large_keywords": ["refund*"], "small_keywords": ["opening hours"], "builtin_keywords": true}
/// ```
///
/// A keyword is looked for without regard to capitals: as whole words, or as a part of the text where it begins or
/// ends in a script without spaces. A `*` at its end stands for any rest of the word.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TierTable {
    /// The model for simple questions.
    pub small: String,
    /// The model for hard ones.
    pub large: String,
    /// A question of more estimated tokens is hard.
    pub large_over_tokens: u64,
    /// A question with more items before it is hard.
    pub large_over_items: usize,
    /// Words that make a question hard, whatever else is in it.
    pub large_keywords: Vec<String>,
    /// Words that make it simple.
    pub small_keywords: Vec<String>,
    /// Whether the built-in words count as well.
    pub builtin_keywords: bool,
}

impl Default for TierTable {
    fn default() -> Self {
        Self {
            small: SMALL_DEFAULT.to_owned(),
            large: LARGE_DEFAULT.to_owned(),
            large_over_tokens: LARGE_OVER_TOKENS_DEFAULT,
            large_over_items: LARGE_OVER_ITEMS_DEFAULT,
            large_keywords: Vec::new(),
            small_keywords: Vec::new(),
            builtin_keywords: true,
        }
    }
}

/// Why a text is no table.
#[derive(Debug, thiserror::Error)]
pub enum TierTableError {
    /// It is not the JSON that was expected; the message says what is, and at which line and column.
    #[error(
        "{0}; it must be a JSON object with any of the keys small, large, large_over_tokens, large_over_items, \
         large_keywords, small_keywords and builtin_keywords"
    )]
    Syntax(#[from] serde_json::Error),
    /// A value is out of its range.
    #[error("'{key}' must be {expected}")]
    Value {
        /// The key.
        key: String,
        /// What it must be.
        expected: String,
    },
}

impl TierTable {
    /// Reads a table from JSON. An empty text is the default.
    ///
    /// # Errors
    /// Which key is unknown, of the wrong type or out of its range, and where.
    pub fn read(json: &str) -> Result<Self, TierTableError> {
        if json.trim().is_empty() {
            return Ok(Self::default());
        }
        if json.trim_start().starts_with('[') {
            // It would be read as the values of an object without its keys.
            return Err(serde_json::Error::custom("an array at line 1 column 1").into());
        }
        let mut table: Self = serde_json::from_str(json)?;
        for (key, name) in [("small", &table.small), ("large", &table.large)] {
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name == super::AUTO {
                let expected = format!("the name of a model, of 1 to {NAME_BYTES_MAX} bytes, and not 'auto'");
                return Err(TierTableError::Value { key: key.to_owned(), expected });
            }
        }
        for (key, keywords) in
            [("large_keywords", &mut table.large_keywords), ("small_keywords", &mut table.small_keywords)]
        {
            check_keywords(key, keywords)?;
            for keyword in keywords {
                *keyword = super::words::plain(keyword, KEYWORD_CHARACTERS_MAX).trim().to_owned();
            }
        }
        Ok(table)
    }
}

fn check_keywords(key: &str, keywords: &[String]) -> Result<(), TierTableError> {
    let wrong = |key: String, expected: String| Err(TierTableError::Value { key, expected });
    if keywords.len() > KEYWORDS_MAX {
        return wrong(key.to_owned(), format!("a list of at most {KEYWORDS_MAX} keywords"));
    }
    for (index, keyword) in keywords.iter().enumerate() {
        let says_something = keyword.trim_end_matches('*').chars().any(char::is_alphanumeric);
        if !says_something || keyword.chars().count() > KEYWORD_CHARACTERS_MAX {
            let expected = format!("1 to {KEYWORD_CHARACTERS_MAX} characters, a letter or digit among them");
            return wrong(format!("{key}[{index}]"), expected);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_may_be_left_out() {
        for nothing in ["", "  ", "{}"] {
            assert_eq!(TierTable::read(nothing).unwrap(), TierTable::default(), "{nothing:?}");
        }
        let table = TierTable::read(
            r#"{"small":"qwen-small","large":"gpt-5","large_over_tokens":400,"large_keywords":["  Refund  NOW "]}"#,
        );
        let expected = TierTable {
            small: "qwen-small".into(),
            large: "gpt-5".into(),
            large_over_tokens: 400,
            large_keywords: vec!["refund now".into()],
            ..TierTable::default()
        };
        assert_eq!(table.unwrap(), expected);
    }

    fn check(json: &str, told: &[&str]) {
        let error = TierTable::read(json).unwrap_err().to_string();
        for part in told {
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn a_mistake_says_where_it_is_and_what_is_expected() {
        check("small=qwen", &["line 1 column 1", "JSON object"]);
        check(r#"["a","b"]"#, &["an array at line 1", "JSON object"]);
        check("{\n  \"smal\": \"x\"}", &["unknown field `smal`", "`small`", "line 2"]);
        check(r#"{"large_over_tokens":-1}"#, &["-1", "line 1 column 23"]);
        check(r#"{"large_over_items":"many"}"#, &["many", "column"]);
        check(r#"{"large_keywords":"x"}"#, &["sequence", "column"]);
        check(r#"{"small":""}"#, &["'small'", "1 to 256 bytes"]);
        check(r#"{"large":"auto"}"#, &["'large'", "not 'auto'"]);
        check(r#"{"small_keywords":["ok","*"]}"#, &["'small_keywords[1]'", "letter"]);
        check(&format!(r#"{{"large_keywords":["{}"]}}"#, "x".repeat(65)), &["'large_keywords[0]'", "64"]);
        let many = vec!["\"x\""; 101].join(",");
        check(&format!(r#"{{"large_keywords":[{many}]}}"#), &["'large_keywords'", "100"]);
    }
}
