//! Encodings, and which model has which, as OpenAI's tiktoken maps them (`tiktoken/model.py`).

use std::fmt;

/// How a model cuts a text into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `o200k_base`: GPT-4o and later.
    O200kBase,
    /// `cl100k_base`: GPT-4, GPT-3.5 and the embedding models.
    Cl100kBase,
}

/// There is no encoding of that name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tokenizer has this name; there are `o200k_base` and `cl100k_base`")]
pub struct UnknownEncoding;

use Encoding::{Cl100kBase, O200kBase};

/// Models by their whole names.
const MODELS: [(&str, Encoding); 15] = [
    ("o1", O200kBase),
    ("o3", O200kBase),
    ("o4-mini", O200kBase),
    ("gpt-5", O200kBase),
    ("gpt-4.1", O200kBase),
    ("gpt-4o", O200kBase),
    ("gpt-4", Cl100kBase),
    ("gpt-3.5-turbo", Cl100kBase),
    ("gpt-3.5", Cl100kBase),
    ("gpt-35-turbo", Cl100kBase),
    ("davinci-002", Cl100kBase),
    ("babbage-002", Cl100kBase),
    ("text-embedding-ada-002", Cl100kBase),
    ("text-embedding-3-small", Cl100kBase),
    ("text-embedding-3-large", Cl100kBase),
];

/// Families by how their names begin; a longer beginning stands before one that it begins with. The ordinary tokens of
/// `gpt-oss-` (`o200k_harmony`) are those of `o200k_base`.
const FAMILIES: [(&str, Encoding); 17] = [
    ("o1-", O200kBase),
    ("o3-", O200kBase),
    ("o4-mini-", O200kBase),
    ("gpt-5-", O200kBase),
    ("gpt-4.5-", O200kBase),
    ("gpt-4.1-", O200kBase),
    ("chatgpt-4o-", O200kBase),
    ("gpt-4o-", O200kBase),
    ("gpt-oss-", O200kBase),
    ("gpt-4-", Cl100kBase),
    ("gpt-3.5-turbo-", Cl100kBase),
    ("gpt-35-turbo-", Cl100kBase),
    ("ft:gpt-4o", O200kBase),
    ("ft:gpt-4", Cl100kBase),
    ("ft:gpt-3.5-turbo", Cl100kBase),
    ("ft:davinci-002", Cl100kBase),
    ("ft:babbage-002", Cl100kBase),
];

impl Encoding {
    /// The encoding of that name.
    ///
    /// # Errors
    /// [`UnknownEncoding`].
    pub fn parse(name: &str) -> Result<Self, UnknownEncoding> {
        let all = [O200kBase, Cl100kBase];
        all.into_iter().find(|encoding| encoding.name() == name).ok_or(UnknownEncoding)
    }

    /// The encoding of a model; `None` of one that tiktoken does not know.
    #[must_use]
    pub fn of_model(model: &str) -> Option<Self> {
        let named = MODELS.iter().find(|(name, _)| *name == model);
        let of_family = || FAMILIES.iter().find(|(beginning, _)| model.starts_with(beginning));
        named.or_else(of_family).map(|(_, encoding)| *encoding)
    }

    /// Its name, as OpenAI calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            O200kBase => "o200k_base",
            Cl100kBase => "cl100k_base",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(model: &str, expected: Option<Encoding>) {
        assert_eq!(Encoding::of_model(model), expected, "{model}");
    }

    #[test]
    fn a_model_has_the_encoding_that_tiktoken_gives_it() {
        for model in
            ["gpt-4o", "gpt-4o-mini-2024-07-18", "gpt-4.1-nano", "o3-pro", "gpt-5-mini", "gpt-oss-20b"]
        {
            check(model, Some(O200kBase));
        }
        for model in ["gpt-4", "gpt-4-turbo", "gpt-3.5-turbo-0125", "text-embedding-3-small", "ft:gpt-4:x"] {
            check(model, Some(Cl100kBase));
        }
        check("ft:gpt-4o-mini:x", Some(O200kBase));
        for model in ["", "demo", "llama-3.1-8b", "gpt", "gpt-5.1", "GPT-4o", "o30"] {
            check(model, None);
        }
    }

    #[test]
    fn an_encoding_is_known_by_its_name() {
        for encoding in [O200kBase, Cl100kBase] {
            assert_eq!(Encoding::parse(encoding.name()), Ok(encoding));
        }
        assert_eq!(Encoding::parse("p50k_base"), Err(UnknownEncoding));
    }

    #[test]
    fn no_family_hides_behind_a_shorter_one() {
        for (index, (name, _)) in FAMILIES.iter().enumerate() {
            let mut before = FAMILIES.iter().take(index);
            assert!(before.all(|(earlier, _)| !name.starts_with(earlier)), "{name} is never reached");
        }
    }
}
