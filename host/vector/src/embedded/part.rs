//! A part of an index: some chunks that never change, with their words, their vectors in codes, and a graph where they are
//! many. An index is a list of parts; small ones are merged in the background. Which chunks are found is said by the slots.

use super::codes::{Codes, unit};
use super::graph::Graph;
use super::graph_build::BuildOptions;
use super::lexical::Lexical;
use super::state::Entry;
use crate::{Chunk, EmbeddedConfig, VectorError};
use std::sync::{Arc, atomic::AtomicBool};

/// A part whose graph is kept while it grows may have one dead place among so many; with more it is made anew.
const DEAD_SHARE_KEPT: usize = 5;

/// The words and vectors of chunks, whose slots are not known yet.
pub(crate) struct Content {
    pub(crate) lexical: Lexical,
    pub(crate) codes: Codes,
}

/// See the head of this file. A chunk's number in the part is its *place*.
pub(crate) struct Part {
    /// The slot of each place.
    pub(crate) slots: Box<[u32]>,
    /// The number of the group of each place.
    pub(crate) groups: Box<[u32]>,
    pub(crate) lexical: Lexical,
    pub(crate) codes: Codes,
    pub(crate) graph: Option<Graph>,
    /// The number of its file, if it has one.
    pub(crate) segment: Option<u64>,
    /// Whether it is being merged.
    pub(crate) is_merging: AtomicBool,
}

pub(crate) fn build_options(config: &EmbeddedConfig) -> BuildOptions {
    BuildOptions { expansion: config.expansion_build as usize, threads: config.build_threads }
}

fn engine(error: tantivy::TantivyError) -> VectorError {
    VectorError::Other(format!("the index of words: {error}"))
}

impl Content {
    /// Of chunks, with their vectors of length 1 beside them.
    pub(crate) fn build(
        chunks: &[Chunk],
        units: &[Option<Vec<f32>>],
        dimensions: u32,
        config: &EmbeddedConfig,
    ) -> Result<Self, VectorError> {
        let texts = chunks.iter().map(|chunk| (chunk.heading.as_str(), chunk.text.as_str()));
        let lexical = Lexical::build(texts).map_err(engine)?;
        let mut codes = Codes::new(dimensions, config.quantization);
        units.iter().for_each(|unit| codes.push(unit.as_deref()));
        Ok(Self { lexical, codes })
    }
}

/// The vectors of chunks, brought to length 1.
pub(crate) fn units(chunks: &[Chunk]) -> Vec<Option<Vec<f32>>> {
    chunks.iter().map(|chunk| chunk.vector.as_deref().and_then(unit)).collect()
}

/// Places of a part that go into a merged one.
struct Kept<'a> {
    part: &'a Part,
    keep: Vec<bool>,
}

impl Kept<'_> {
    fn dead(&self) -> usize {
        self.keep.iter().filter(|keep| !**keep).count()
    }

    /// Whether its graph can go on with few dead places in it.
    fn keeps_graph(&self) -> bool {
        self.part.graph.is_some() && self.dead() * DEAD_SHARE_KEPT <= self.keep.len()
    }
}

impl Part {
    pub(crate) fn new(content: Content, slots: Vec<u32>, groups: Vec<u32>) -> Self {
        let Content { lexical, codes } = content;
        Self {
            slots: slots.into(),
            groups: groups.into(),
            lexical,
            codes,
            graph: None,
            segment: None,
            is_merging: AtomicBool::new(false),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let graph = self.graph.as_ref().map_or(0, Graph::bytes);
        self.lexical.bytes() + self.codes.bytes() + graph + self.len() * 2 * size_of::<u32>()
    }

    /// Several parts as one, without what is not there any more. The largest graph is kept and grows, if little of it is
    /// dead; then its dead places stay too.
    pub(crate) fn merge(
        parts: &[Arc<Self>],
        entry: impl Fn(u32) -> Entry,
        config: &EmbeddedConfig,
    ) -> Result<Self, VectorError> {
        let is_there = |slot: &u32| entry(*slot).is_there();
        let kept = parts.iter().map(|part| Kept { part, keep: part.slots.iter().map(is_there).collect() });
        let mut parts: Vec<Kept<'_>> = kept.collect();
        parts.sort_by_key(|kept| std::cmp::Reverse((kept.part.graph.is_some(), kept.keep.len())));
        let mut graph = None;
        if let Some(first) = parts.first_mut()
            && first.keeps_graph()
        {
            first.keep.fill(true);
            graph = first.part.graph.clone();
        }
        Self::join(&parts, graph, entry, config)
    }

    fn join(
        parts: &[Kept<'_>],
        graph: Option<Graph>,
        entry: impl Fn(u32) -> Entry,
        config: &EmbeddedConfig,
    ) -> Result<Self, VectorError> {
        let words: Vec<_> = parts.iter().map(|kept| (&kept.part.lexical, kept.keep.as_slice())).collect();
        let lexical = Lexical::merge(&words).map_err(engine)?;
        let mut codes =
            parts.first().map_or_else(|| Codes::new(0, config.quantization), |kept| kept.part.codes.empty());
        let mut slots = Vec::new();
        for Kept { part, keep } in parts {
            for (place, slot) in (0..).zip(part.slots.iter()).filter(|(place, _)| keep[*place as usize]) {
                codes.push_from(&part.codes, place);
                slots.push(*slot);
            }
        }
        let groups = slots.iter().map(|slot| entry(*slot).group).collect();
        let mut part = Self {
            slots: slots.into(),
            groups,
            lexical,
            codes,
            graph,
            segment: None,
            is_merging: AtomicBool::new(false),
        };
        part.grow_graph(config);
        Ok(part)
    }

    /// Makes or completes the graph of a part that is large enough for one.
    pub(crate) fn grow_graph(&mut self, config: &EmbeddedConfig) {
        let wants_graph = self.len() > config.exact_chunks_max as usize && self.codes.dimensions() > 0;
        match &mut self.graph {
            Some(graph) => graph.extend(&self.codes, build_options(config)),
            None if wants_graph => {
                self.graph = Some(Graph::build(&self.codes, config.connectivity, build_options(config)));
            }
            None => {}
        }
    }
}
