//! Which tokenizer counts a model's tokens: the one that `[model.NAME]` says, else that of the model by its name.

use std::collections::HashMap;
use waggle_egress::upstream::{ModelConfig, UpstreamsConfig};
use waggle_engine::{TokenCount, TokenCounts};
use waggle_tokenizer::{Encoding, UnknownEncoding};

/// How a configured model's tokens are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// By this encoding.
    Encoding(Encoding),
    /// By the name that a request gives.
    Name,
    /// By a name that is unknown.
    Nothing,
}

/// How the tokens of each model are counted, for all tenants.
#[derive(Debug, Default)]
pub(crate) struct Tokenizers {
    named: HashMap<String, By>,
    /// By how the names begin, the longest beginning first.
    families: Vec<(String, By)>,
}

/// The models whose `tokenizer` there is not.
pub(crate) fn mistakes(config: &UpstreamsConfig) -> impl Iterator<Item = (&str, UnknownEncoding)> {
    config.models().iter().filter_map(|(pattern, model)| {
        let mistake = Encoding::parse(model.tokenizer.as_deref()?).err()?;
        Some((pattern.as_str(), mistake))
    })
}

impl By {
    fn of(model: &ModelConfig) -> Self {
        let said = model.tokenizer.as_deref().and_then(|name| Encoding::parse(name).ok());
        match (said, &model.model) {
            (Some(encoding), _) => Self::Encoding(encoding),
            (None, None) => Self::Name,
            // An alias counts as the model it stands for.
            (None, Some(name)) => Encoding::of_model(name.as_str()).map_or(Self::Nothing, Self::Encoding),
        }
    }
}

impl Tokenizers {
    pub(crate) fn new(config: &UpstreamsConfig) -> Self {
        let mut all = Self::default();
        for (pattern, model) in config.models() {
            match pattern.prefix() {
                Some(beginning) => all.families.push((beginning.to_owned(), By::of(model))),
                None => drop(all.named.insert(pattern.as_str().to_owned(), By::of(model))),
            }
        }
        all.families.sort_by_key(|(beginning, _)| std::cmp::Reverse(beginning.len()));
        all
    }

    /// The encoding of a model; `None` where none is known.
    fn encoding(&self, model: &str) -> Option<Encoding> {
        let of_family = || self.families.iter().find(|(beginning, _)| model.starts_with(beginning.as_str()));
        let by = self.named.get(model).or_else(|| of_family().map(|(_, by)| by));
        match by.copied().unwrap_or(By::Name) {
            By::Encoding(encoding) => Some(encoding),
            By::Name => Encoding::of_model(model),
            By::Nothing => None,
        }
    }
}

impl TokenCounts for Tokenizers {
    fn count(&self, model: &str, texts: &[String]) -> Vec<TokenCount> {
        // A vocabulary takes some ten MiB: none is loaded for a guess.
        let counted = match self.encoding(model) {
            Some(encoding) => waggle_tokenizer::count(encoding, texts),
            None => texts.iter().map(|text| waggle_tokenizer::estimate(text)).collect(),
        };
        let told =
            |one: waggle_tokenizer::Counted| TokenCount { tokens: one.tokens, is_estimate: one.is_estimate };
        counted.into_iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use waggle_egress::upstream::{BaseUrl, ModelName, UpstreamConfig, UpstreamName};

    fn config(models: &[(&str, Option<&str>, Option<&str>)]) -> UpstreamsConfig {
        let name = UpstreamName::parse("u").unwrap();
        let upstream = UpstreamConfig::at(BaseUrl::parse("http://127.0.0.1:9/v1").unwrap());
        let models = models.iter().map(|(pattern, model, tokenizer)| {
            let model = ModelConfig {
                model: model.map(|name| ModelName::parse(name).unwrap()),
                tokenizer: tokenizer.map(str::to_owned),
                ..ModelConfig::at(name.clone())
            };
            ((*pattern).to_owned(), model)
        });
        let models: BTreeMap<String, ModelConfig> = models.collect();
        UpstreamsConfig::new(BTreeMap::from([("u".to_owned(), upstream)]), models).unwrap()
    }

    #[test]
    fn a_model_is_counted_as_it_is_configured_else_by_its_name() {
        use Encoding::{Cl100kBase, O200kBase};
        let tokenizers = Tokenizers::new(&config(&[
            ("small", Some("gpt-4o-mini"), None),
            ("older", Some("gpt-4"), None),
            ("own", Some("llama"), None),
            ("gpt-4-of-another-maker", Some("llama"), None),
            ("qwen*", None, Some("cl100k_base")),
            ("qwen-new", Some("gpt-4"), Some("o200k_base")),
            ("*", None, None),
        ]));
        let check = |model: &str, expected: Option<Encoding>| {
            assert_eq!(tokenizers.encoding(model), expected, "{model}");
        };
        check("small", Some(O200kBase));
        check("older", Some(Cl100kBase));
        check("own", None);
        check("gpt-4-of-another-maker", None);
        check("qwen-2.5", Some(Cl100kBase));
        check("qwen-new", Some(O200kBase));
        check("gpt-4o", Some(O200kBase));
        check("demo", None);
    }

    #[test]
    fn what_a_model_without_a_tokenizer_counts_is_an_estimate() {
        let counted = Tokenizers::default().count("demo", &["a few words".to_owned()]);
        assert!(counted[0].is_estimate && counted[0].tokens > 0, "{counted:?}");
    }

    #[test]
    fn a_tokenizer_that_there_is_not_is_a_mistake() {
        let config = config(&[("a", None, Some("o200k_base")), ("b", None, Some("sentencepiece"))]);
        let found: Vec<&str> = mistakes(&config).map(|(model, _)| model).collect();
        assert_eq!(found, ["b"]);
    }
}
