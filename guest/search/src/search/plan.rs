//! Which indexes are asked together, and how: those whose vectors are of one model are one.

use super::request::Searched;
use crate::settings::{EmbeddingModel, SearchMode};

/// Indexes that are searched as if they were one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Together<'r> {
    /// The model of their vectors; `None`: they are searched by their words alone.
    pub(super) embedding: Option<&'r EmbeddingModel>,
    /// Whether their words are searched.
    pub(super) by_words: bool,
    /// Their places in the request.
    pub(super) places: Vec<usize>,
}

/// Puts the indexes of a request together. `can_embed` says whether there is a model to embed with at all.
pub(super) fn plan(indexes: &[Searched], mode: SearchMode, can_embed: bool) -> Vec<Together<'_>> {
    let mut all: Vec<Together<'_>> = Vec::new();
    for (place, searched) in indexes.iter().enumerate() {
        let embedding = searched.embedding.as_ref().filter(|_| can_embed && mode != SearchMode::Lexical);
        // Where there are no vectors, words are all there is to search by.
        let by_words = mode != SearchMode::Dense || embedding.is_none();
        match all.iter_mut().find(|together| together.embedding == embedding) {
            Some(together) => together.places.push(place),
            None => all.push(Together { embedding, by_words, places: vec![place] }),
        }
    }
    all
}

/// How all of them are searched, in one word.
pub(super) fn mode_of(all: &[Together<'_>]) -> SearchMode {
    let by_vectors = all.iter().any(|together| together.embedding.is_some());
    let by_words = all.iter().any(|together| together.by_words);
    match (by_vectors, by_words) {
        (true, true) => SearchMode::Hybrid,
        (true, false) => SearchMode::Dense,
        (false, _) => SearchMode::Lexical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searched(model: Option<&str>) -> Searched {
        let embedding = model.map(|name| EmbeddingModel { name: name.to_owned(), dimensions: Some(4) });
        Searched { store: "s".to_owned(), index: "i".to_owned(), embedding }
    }

    fn check(
        models: &[Option<&str>],
        mode: SearchMode,
        can_embed: bool,
        expected: &[(Option<&str>, bool, &[usize])],
        told: SearchMode,
    ) {
        let indexes: Vec<Searched> = models.iter().map(|model| searched(*model)).collect();
        let all = plan(&indexes, mode, can_embed);
        let seen: Vec<(Option<&str>, bool, &[usize])> = all
            .iter()
            .map(|one| (one.embedding.map(|model| &*model.name), one.by_words, one.places.as_slice()))
            .collect();
        assert_eq!(seen, expected, "{models:?} {mode:?}");
        assert_eq!(mode_of(&all), told, "{models:?} {mode:?}");
    }

    #[test]
    fn indexes_of_one_model_are_searched_together() {
        use SearchMode::{Dense, Hybrid, Lexical};
        let (a, b) = (Some("a"), Some("b"));
        check(&[a, a], Hybrid, true, &[(a, true, &[0, 1])], Hybrid);
        check(&[a, b, a], Hybrid, true, &[(a, true, &[0, 2]), (b, true, &[1])], Hybrid);
        check(&[a, a], Dense, true, &[(a, false, &[0, 1])], Dense);
        check(&[a, None], Dense, true, &[(a, false, &[0]), (None, true, &[1])], Hybrid);
        check(&[a, None], Lexical, true, &[(None, true, &[0, 1])], Lexical);
        check(&[a, None], Hybrid, false, &[(None, true, &[0, 1])], Lexical);
        check(&[None], Dense, true, &[(None, true, &[0])], Lexical);
        check(&[], Hybrid, true, &[], Lexical);
    }
}
