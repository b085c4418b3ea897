//! A search over snapshots of indexes: candidates by words and by vectors, the exact cosine of each, their fusion, and the
//! texts of those that are left.

use super::best::Best;
use super::codes::{Probe, QueryCodes, cosine, unit};
use super::graph::Scratch;
use super::lexical::Lexical;
use super::part::Part;
use super::scoring::WordQuery;
use super::snapshot::Snapshot;
use crate::bounds::{candidates, check_dimensions, counted_text};
use crate::filter::passes;
use crate::fusion::{Fused, Weights, fuse};
use crate::{EmbeddedConfig, FilterNode, Hit, Query, VectorError};
use std::{collections::BTreeMap, sync::Arc};

/// Codes only say about how near a vector is, so somewhat more are looked at than are handed on.
const OVERSAMPLING: usize = 2;
/// Vectors that are looked at exactly, whatever is asked for.
const RESCORED_MIN: usize = 32;
/// Where fewer than one in so many may be found, comparing those is cheaper than walking past the others.
const SELECTIVE_SHARE: u64 = 10;
/// Places that are compared before the best are updated.
const RUN_PLACES: u32 = 1_024;

/// A chunk: the index by its place in the list, and its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    index: u32,
    slot: u32,
}

/// An index that is searched, and which of its groups may be found.
struct Target<'a> {
    index: u32,
    snapshot: &'a Snapshot,
    /// By the group's number; `None`: all.
    allowed: Option<Vec<bool>>,
    /// How many chunks may be found.
    chunks: u64,
}

impl<'a> Target<'a> {
    fn new(index: u32, snapshot: &'a Snapshot, filter: &[FilterNode]) -> Self {
        if filter.is_empty() {
            return Self { index, snapshot, allowed: None, chunks: snapshot.view.published_chunks };
        }
        let mut chunks = 0;
        let groups = snapshot.view.groups.iter().map(|(_, group)| {
            let published = group.as_ref().and_then(|group| group.published.as_ref());
            let passed = published.filter(|published| passes(filter, &published.attributes));
            chunks += passed.map_or(0, |published| published.slots.len() as u64);
            passed.is_some()
        });
        let allowed = Some(groups.collect());
        Self { index, snapshot, allowed, chunks }
    }

    /// Whether the chunk at a place of a part is published and may be found.
    fn accepts(&self, part: &Part, place: u32) -> bool {
        let place = place as usize;
        let is_allowed =
            |allowed: &Vec<bool>| allowed.get(part.groups[place] as usize).copied().unwrap_or_default();
        self.snapshot.view.live.contains(part.slots[place]) && self.allowed.as_ref().is_none_or(is_allowed)
    }

    fn key(&self, part: &Part, place: u32) -> Key {
        Key { index: self.index, slot: part.slots[place as usize] }
    }
}

/// Searches indexes as if they were one. The query is within its bounds.
pub(crate) fn search(
    snapshots: &[Arc<Snapshot>],
    query: &Query,
    config: &EmbeddedConfig,
) -> Result<Vec<Hit>, VectorError> {
    if let Some(vector) = &query.vector {
        for snapshot in snapshots {
            check_dimensions("the query's vector", vector, snapshot.view.settings)?;
        }
    }
    let targets = (0..).zip(snapshots).map(|(index, snapshot)| Target::new(index, snapshot, &query.filter));
    let targets: Vec<_> = targets.filter(|target| target.chunks > 0).collect();
    let count = candidates(query);
    let by_words = match &query.text {
        Some(text) if query.text_weight > 0.0 => by_words(&targets, counted_text(text), count)?,
        _ => Vec::new(),
    };
    let Some(vector) = query.vector.as_deref().and_then(unit) else {
        let none = BTreeMap::new();
        let fused = fuse(&by_words, &[], &none, Weights::of(query));
        return hits(snapshots, &fused, &none, query);
    };
    let exact = ExactScores { snapshots, vector: &vector };
    let mut scores = BTreeMap::new();
    let mut ranked = Vec::new();
    if query.vector_weight > 0.0 {
        let near = by_vector(&targets, &vector, (count * OVERSAMPLING).max(RESCORED_MIN), config);
        ranked = exact.rank(near, count, &mut scores)?;
    }
    for (key, _) in &by_words {
        exact.add(*key, &mut scores)?;
    }
    let fused = fuse(&by_words, &ranked, &scores, Weights::of(query));
    hits(snapshots, &fused, &scores, query)
}

/// The chunks that score best by their words, best first.
fn by_words(targets: &[Target<'_>], text: &str, count: usize) -> Result<Vec<(Key, f32)>, VectorError> {
    let parts =
        targets.iter().flat_map(|target| target.snapshot.parts.iter().map(move |part| (target, part)));
    let parts: Vec<_> = parts.collect();
    let lexical: Vec<&Lexical> = parts.iter().map(|(_, part)| &part.lexical).collect();
    let failed = |error: tantivy::TantivyError| VectorError::Other(format!("the index of words: {error}"));
    let Some(words) = WordQuery::new(text, &lexical).map_err(failed)? else { return Ok(Vec::new()) };
    let mut best = Best::new(count);
    let take = |part: usize, place: u32, score: f32| {
        let (target, part) = parts[part];
        let key = target.key(part, place);
        // Asked last: few come so far.
        if best.admits(key, score) && target.accepts(part, place) {
            best.push(key, score);
        }
        best.threshold()
    };
    words.each(take).map_err(failed)?;
    Ok(best.into_sorted())
}

/// The chunks whose vectors are about the nearest, in no order.
fn by_vector(targets: &[Target<'_>], vector: &[f32], count: usize, config: &EmbeddedConfig) -> Vec<Key> {
    let query = QueryCodes::new(vector);
    let mut best = Best::new(count);
    let mut scratch = Scratch::default();
    for target in targets {
        let is_selective = target.chunks <= u64::from(config.exact_chunks_max)
            || target.chunks * SELECTIVE_SHARE < target.snapshot.view.published_chunks;
        for part in &target.snapshot.parts {
            let probe = part.codes.probe(&query);
            match &part.graph {
                Some(graph) if !is_selective => {
                    let expansion = count.max(config.expansion_search as usize);
                    let accept = |place: u32| target.accepts(part, place);
                    let near = graph.search(&part.codes, probe, expansion, &mut scratch, accept);
                    near.iter().for_each(|near| best.push(target.key(part, near.local), near.similarity));
                }
                _ => scan(target, part, probe, &mut best),
            }
        }
    }
    best.into_sorted().into_iter().map(|(key, _)| key).collect()
}

/// Compares every vector of a part that may be found.
fn scan(target: &Target<'_>, part: &Part, probe: Probe<'_>, best: &mut Best<Key>) {
    let places = super::state::count(part.len());
    let mut similarities = Vec::new();
    // All of a run are compared where most may be found, since that is faster by place than by list.
    let is_dense = target.chunks * 2 >= target.snapshot.view.published_chunks;
    let mut offer = |place: u32, similarity: f32, is_accepted: bool| {
        if similarity >= best.threshold()
            && part.codes.has_vector(place)
            && (is_accepted || target.accepts(part, place))
        {
            best.push(target.key(part, place), similarity);
        }
    };
    for start in (0..places).step_by(RUN_PLACES as usize) {
        let run = start..places.min(start + RUN_PLACES);
        if is_dense {
            part.codes.compare_run(probe, run.clone(), &mut similarities);
            run.zip(&similarities).for_each(|(place, similarity)| offer(place, *similarity, false));
        } else {
            let accepted: Vec<u32> = run.filter(|place| target.accepts(part, *place)).collect();
            part.codes.compare(probe, &accepted, &mut similarities);
            accepted
                .iter()
                .zip(&similarities)
                .for_each(|(place, similarity)| offer(*place, *similarity, true));
        }
    }
}

/// Cosines by the vectors as they were given, not by their codes.
struct ExactScores<'a> {
    snapshots: &'a [Arc<Snapshot>],
    vector: &'a [f32],
}

impl ExactScores<'_> {
    fn add(&self, key: Key, scores: &mut BTreeMap<Key, f32>) -> Result<(), VectorError> {
        if scores.contains_key(&key) {
            return Ok(());
        }
        let snapshot = &self.snapshots[key.index as usize];
        let vector = snapshot.read_vector(&snapshot.view.entry(key.slot).located)?;
        scores.extend(vector.map(|vector| (key, cosine(&vector, self.vector))));
        Ok(())
    }

    /// The nearest `count` of `near`, the nearest first.
    fn rank(
        &self,
        near: Vec<Key>,
        count: usize,
        scores: &mut BTreeMap<Key, f32>,
    ) -> Result<Vec<Key>, VectorError> {
        let mut best = Best::new(count);
        for key in near {
            self.add(key, scores)?;
            if let Some(score) = scores.get(&key) {
                best.push(key, *score);
            }
        }
        Ok(best.into_sorted().into_iter().map(|(key, _)| key).collect())
    }
}

/// The best of what was found, with their texts.
fn hits(
    snapshots: &[Arc<Snapshot>],
    fused: &[Fused<Key>],
    scores: &BTreeMap<Key, f32>,
    query: &Query,
) -> Result<Vec<Hit>, VectorError> {
    let least = query.vector.as_ref().and(query.vector_score_min);
    let is_near = |found: &&Fused<Key>| {
        least.is_none_or(|least| scores.get(&found.key).is_some_and(|score| *score >= least))
    };
    let found = fused.iter().filter(is_near).take(query.limit as usize);
    let hits = found.map(|found| hit(&snapshots[found.key.index as usize], found, scores.get(&found.key)));
    hits.filter_map(Result::transpose).collect()
}

fn hit(
    snapshot: &Snapshot,
    found: &Fused<Key>,
    vector_score: Option<&f32>,
) -> Result<Option<Hit>, VectorError> {
    let entry = snapshot.view.entry(found.key.slot);
    let Some(group) = snapshot.view.group(entry.group) else { return Ok(None) };
    let Some(published) = &group.published else { return Ok(None) };
    let chunk = snapshot.read_chunk(&entry.located)?;
    Ok(Some(Hit {
        index: found.key.index,
        group: group.name.to_string(),
        version: published.version,
        chunks: super::state::count(published.slots.len()),
        attributes: published.attributes.to_vec(),
        ordinal: chunk.ordinal,
        heading: chunk.heading,
        text: chunk.text,
        note: chunk.note,
        score: found.score,
        vector_score: vector_score.copied(),
        text_score: found.text_score,
    }))
}
