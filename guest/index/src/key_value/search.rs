//! A search: which pages it looks at, both ways through them, the ranking, and the texts of what was found.

use super::catalogue::{self, Opened};
use super::dense::Dense;
use super::lexical::Lexical;
use super::page::read_texts;
use super::record::{Page, Publication};
use super::store::{Fault, Kind, each, key_of};
use super::top::Place;
use crate::filter::Filter;
use crate::fuse::{Weights, fuse};
use crate::{Chunk, Hit, IndexError, Query, bounds, words};
use std::collections::{BTreeMap, BTreeSet};
use waggle_conversation::Store;

/// What a search looks at.
struct Scope {
    groups: Vec<ScopedGroup>,
    pages: Vec<ScopedPage>,
}

struct ScopedGroup {
    /// The index's place among those that are searched.
    place: u32,
    name: String,
    publication: Publication,
}

struct ScopedPage {
    /// The index's number.
    index: u64,
    /// The group's place in the scope.
    group: usize,
    page: Page,
}

/// What was found before its texts are read.
#[derive(Debug, Clone, Copy)]
struct Found {
    place: Place,
    score: f32,
    text_score: Option<f32>,
    vector_score: Option<f32>,
}

/// Searches the indexes of these names. The query was checked, but for its vector.
pub(super) async fn search<S: Store>(
    store: &S,
    indexes: &[&str],
    query: &Query,
    filter: &Filter,
) -> Result<Vec<Hit>, Fault> {
    let scope = scope(store, indexes, query, filter).await?;
    let candidates = bounds::candidates(query);
    let by_words = match bounds::taken_text(query) {
        Some(text) => by_words(store, &scope, text, candidates).await?,
        None => Vec::new(),
    };
    let (nearest, cosines) = match &query.vector {
        Some(vector) => by_vectors(store, &scope, query, vector, &by_words).await?,
        None => Default::default(),
    };
    let found = rank(query, &by_words, &nearest, &cosines);
    let chunks = texts(store, &scope, &found).await?;
    Ok(hits(&scope, &found, chunks)?)
}

async fn scope<S: Store>(
    store: &S,
    indexes: &[&str],
    query: &Query,
    filter: &Filter,
) -> Result<Scope, IndexError> {
    let opened = catalogue::read_all(store, indexes).await?;
    let mut seen = BTreeSet::new();
    let mut scope = Scope { groups: Vec::new(), pages: Vec::new() };
    for (place, Opened { groups: index, shards, .. }) in (0u32..).zip(opened) {
        if let Some(vector) = &query.vector {
            bounds::vector(vector, index.settings.dimensions)?;
        }
        // An index that is named twice is searched once: all are searched as if they were one.
        if !seen.insert(index.index) {
            continue;
        }
        let mut groups = BTreeMap::new();
        for shard in shards {
            let published =
                shard.groups.into_iter().filter_map(|(name, group)| Some((name, group.published?)));
            groups.extend(published.filter(|(_, published)| filter.passes(&published.attributes())));
        }
        for (name, publication) in groups {
            scope.add(place, index.index, name, publication);
        }
    }
    Ok(scope)
}

impl Scope {
    fn add(&mut self, place: u32, index: u64, name: String, mut publication: Publication) {
        let group = self.groups.len();
        let pages = std::mem::take(&mut publication.pages);
        self.pages.extend(pages.into_iter().map(|page| ScopedPage { index, group, page }));
        self.groups.push(ScopedGroup { place, name, publication });
    }

    /// Hands one value of each of these pages on.
    async fn each<S: Store>(
        &self,
        store: &S,
        kind: Kind,
        pages: Vec<usize>,
        mut take: impl FnMut(usize, &Page, &[u8]) -> Option<()>,
    ) -> Result<(), Fault> {
        let chosen: Vec<(usize, &ScopedPage)> =
            pages.into_iter().filter_map(|place| Some((place, self.pages.get(place)?))).collect();
        let keys: Vec<String> = chosen.iter().map(|(_, page)| key_of(page.index, &page.page, kind)).collect();
        each(store, &keys, |read, value| {
            let (place, page) = chosen.get(read)?;
            take(*place, &page.page, value)
        })
        .await
    }

    /// The places of those pages that have vectors.
    fn with_vectors(&self) -> Vec<usize> {
        let pages = self.pages.iter().enumerate();
        pages.filter(|(_, page)| page.page.vectors).map(|(place, _)| place).collect()
    }
}

async fn by_words<S: Store>(
    store: &S,
    scope: &Scope,
    text: &str,
    candidates: usize,
) -> Result<Vec<(Place, f32)>, Fault> {
    let mut lexical = Lexical::new(words::of_query(text));
    if lexical.is_empty() {
        return Ok(Vec::new());
    }
    let pages = (0..scope.pages.len()).collect();
    scope
        .each(store, Kind::Words, pages, |place, page, value| lexical.scan(place, &page.chunks, value))
        .await?;
    Ok(lexical.best(candidates))
}

/// The nearest chunks, if vectors are searched by, and the cosines of those and of what words have found.
async fn by_vectors<S: Store>(
    store: &S,
    scope: &Scope,
    query: &Query,
    vector: &[f32],
    by_words: &[(Place, f32)],
) -> Result<(Vec<Place>, BTreeMap<Place, f32>), Fault> {
    let is_taken = bounds::taken_vector(query).is_some();
    let mut pages = scope.with_vectors();
    if !is_taken {
        let asked: BTreeSet<usize> = by_words.iter().map(|(place, _)| place.page).collect();
        pages.retain(|page| asked.contains(page));
    }
    let candidates = if is_taken { bounds::candidates(query) } else { 0 };
    let mut dense = Dense::new(vector, candidates, by_words.iter().map(|(place, _)| *place));
    scope
        .each(store, Kind::Vectors, pages, |place, page, value| dense.scan(place, &page.chunks, value))
        .await?;
    Ok(dense.finish())
}

fn rank(
    query: &Query,
    by_words: &[(Place, f32)],
    nearest: &[Place],
    cosines: &BTreeMap<Place, f32>,
) -> Vec<Found> {
    let text_scores: BTreeMap<Place, f32> = by_words.iter().copied().collect();
    let vector_score_min = query.vector.as_ref().and(query.vector_score_min);
    let found =
        fuse(by_words, nearest, cosines, Weights::of(query)).into_iter().map(|(place, score)| Found {
            place,
            score,
            text_score: text_scores.get(&place).copied(),
            vector_score: cosines.get(&place).copied(),
        });
    let is_near = |found: &Found| {
        vector_score_min.is_none_or(|least| found.vector_score.is_some_and(|score| score >= least))
    };
    found.filter(is_near).take(query.limit as usize).collect()
}

/// The texts of what was found.
async fn texts<S: Store>(store: &S, scope: &Scope, found: &[Found]) -> Result<BTreeMap<Place, Chunk>, Fault> {
    let wanted: BTreeSet<Place> = found.iter().map(|found| found.place).collect();
    let pages: BTreeSet<usize> = wanted.iter().map(|place| place.page).collect();
    let mut chunks = BTreeMap::new();
    let take = |page: usize, _: &Page, value: &[u8]| {
        read_texts(value, |chunk| {
            let place = Place { page, ordinal: chunk.ordinal };
            if wanted.contains(&place) {
                chunks.insert(place, chunk);
            }
        })
    };
    scope.each(store, Kind::Texts, pages.into_iter().collect(), take).await?;
    Ok(chunks)
}

fn hits(scope: &Scope, found: &[Found], mut chunks: BTreeMap<Place, Chunk>) -> Result<Vec<Hit>, IndexError> {
    let hit = |found: &Found| {
        let group = scope.pages.get(found.place.page).and_then(|page| scope.groups.get(page.group))?;
        let chunk = chunks.remove(&found.place)?;
        Some(Hit {
            index: group.place,
            group: group.name.clone(),
            version: group.publication.version,
            chunks: group.publication.chunks,
            attributes: group.publication.attributes(),
            ordinal: chunk.ordinal,
            heading: chunk.heading,
            text: chunk.text,
            note: chunk.note,
            score: found.score,
            vector_score: found.vector_score,
            text_score: found.text_score,
        })
    };
    let hits: Option<Vec<Hit>> = found.iter().map(hit).collect();
    hits.ok_or_else(|| IndexError::Damaged("a page has words of a chunk and not its text".to_owned()))
}
