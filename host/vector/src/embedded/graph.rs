//! A graph that leads to the nearest vectors: HNSW (Malkov and Yashunin, 2016), over the codes of a part. Searching reads
//! it, `graph_build` makes it.

use super::codes::{Codes, Probe};
use std::{cmp::Reverse, collections::BinaryHeap};

/// No neighbour; what follows in a list is none either.
pub(crate) const NONE: u32 = u32::MAX;

/// A place of a part with its similarity; greater is nearer, and of equals the lesser place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Near {
    pub(crate) similarity: f32,
    pub(crate) local: u32,
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.similarity.total_cmp(&other.similarity).then_with(|| other.local.cmp(&self.local))
    }
}

/// The layers. Layer 0 has all places with a vector, twice `connectivity` neighbours each; those above have fewer and fewer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Graph {
    pub(crate) connectivity: u32,
    /// Where a search begins, or [`NONE`], and the highest layer.
    pub(crate) entry: u32,
    pub(crate) top: u8,
    /// The highest layer of each place.
    pub(crate) levels: Vec<u8>,
    /// Neighbours at layer 0, `2 * connectivity` per place.
    pub(crate) base: Vec<u32>,
    /// Where in `upper` the lists of a place begin, layer after layer from 1 on.
    pub(crate) upper_at: Vec<u32>,
    pub(crate) upper: Vec<u32>,
}

/// What a walk through the graph needs beside it; made once and used again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// A bit for each place that was looked at.
    visited: Vec<u64>,
    /// The words of `visited` that are not 0, so that little need be cleared.
    touched: Vec<u32>,
    candidates: BinaryHeap<Near>,
    results: BinaryHeap<Reverse<Near>>,
    locals: Vec<u32>,
    similarities: Vec<f32>,
}

impl Scratch {
    fn begin(&mut self, places: usize) {
        for word in self.touched.drain(..) {
            self.visited[word as usize] = 0;
        }
        self.visited.resize(places.div_ceil(64), 0);
        self.candidates.clear();
        self.results.clear();
    }

    /// Whether it was not visited yet.
    fn visit(&mut self, local: u32) -> bool {
        let word = &mut self.visited[(local / 64) as usize];
        let bit = 1 << (local % 64);
        if *word == 0 {
            self.touched.push(local / 64);
        }
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

impl Graph {
    pub(crate) fn new(connectivity: u32) -> Self {
        Self {
            connectivity,
            entry: NONE,
            top: 0,
            levels: Vec::new(),
            base: Vec::new(),
            upper_at: Vec::new(),
            upper: Vec::new(),
        }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.levels.len() + (self.base.len() + self.upper_at.len() + self.upper.len()) * size_of::<u32>()
    }

    /// Neighbours that a place may have at a layer.
    pub(crate) fn capacity(&self, level: u8) -> usize {
        self.connectivity as usize * if level == 0 { 2 } else { 1 }
    }

    /// Where the list of a place at a layer is: in `base` or `upper`.
    pub(crate) fn list_range(&self, local: u32, level: u8) -> std::ops::Range<usize> {
        let capacity = self.capacity(level);
        let start = match level {
            0 => local as usize * capacity,
            _ => self.upper_at[local as usize] as usize + (level as usize - 1) * capacity,
        };
        start..start + capacity
    }

    /// The neighbours of a place at a layer it is in.
    pub(crate) fn neighbours(&self, local: u32, level: u8) -> &[u32] {
        let range = self.list_range(local, level);
        let list = if level == 0 { &self.base[range] } else { &self.upper[range] };
        let length = list.iter().position(|neighbour| *neighbour == NONE).unwrap_or(list.len());
        &list[..length]
    }

    /// The nearest places that `accept` takes, about, the nearest first: `expansion` of them, fewer if there are.
    pub(crate) fn search(
        &self,
        codes: &Codes,
        probe: Probe<'_>,
        expansion: usize,
        scratch: &mut Scratch,
        accept: impl Fn(u32) -> bool,
    ) -> Vec<Near> {
        let Some(entry) = self.descend(codes, probe, 0, scratch) else { return Vec::new() };
        self.search_layer(codes, probe, &[entry], expansion, 0, scratch, accept)
    }

    /// The nearest place that is found by going down to the layer above `level`.
    pub(crate) fn descend(
        &self,
        codes: &Codes,
        probe: Probe<'_>,
        level: u8,
        scratch: &mut Scratch,
    ) -> Option<Near> {
        if self.entry == NONE {
            return None;
        }
        codes.compare(probe, &[self.entry], &mut scratch.similarities);
        let mut nearest = Near { similarity: scratch.similarities[0], local: self.entry };
        for layer in (level + 1..=self.top).rev() {
            loop {
                let neighbours = self.neighbours(nearest.local, layer);
                codes.compare(probe, neighbours, &mut scratch.similarities);
                let found = neighbours.iter().zip(&scratch.similarities);
                let best =
                    found.map(|(local, similarity)| Near { similarity: *similarity, local: *local }).max();
                match best {
                    Some(best) if best > nearest => nearest = best,
                    _ => break,
                }
            }
        }
        Some(nearest)
    }

    /// The nearest places at a layer that `accept` takes, the nearest first.
    #[expect(
        clippy::too_many_arguments,
        reason = "the algorithm's own; a struct of them would be made at each call"
    )]
    pub(crate) fn search_layer(
        &self,
        codes: &Codes,
        probe: Probe<'_>,
        entries: &[Near],
        expansion: usize,
        level: u8,
        scratch: &mut Scratch,
        accept: impl Fn(u32) -> bool,
    ) -> Vec<Near> {
        scratch.begin(self.levels.len());
        for near in entries {
            if scratch.visit(near.local) {
                scratch.candidates.push(*near);
                if accept(near.local) {
                    scratch.results.push(Reverse(*near));
                }
            }
        }
        while let Some(nearest) = scratch.candidates.pop() {
            let worst = scratch.results.peek().map(|worst| worst.0);
            if scratch.results.len() >= expansion && worst.is_some_and(|worst| nearest < worst) {
                break;
            }
            let mut locals = std::mem::take(&mut scratch.locals);
            locals.clear();
            locals
                .extend(self.neighbours(nearest.local, level).iter().filter(|local| scratch.visit(**local)));
            codes.compare(probe, &locals, &mut scratch.similarities);
            for (local, similarity) in locals.iter().zip(&scratch.similarities) {
                let near = Near { similarity: *similarity, local: *local };
                let is_full = scratch.results.len() >= expansion;
                if is_full && scratch.results.peek().is_some_and(|worst| near < worst.0) {
                    continue;
                }
                scratch.candidates.push(near);
                if accept(*local) {
                    scratch.results.push(Reverse(near));
                    if is_full {
                        scratch.results.pop();
                    }
                }
            }
            scratch.locals = locals;
        }
        let mut found: Vec<Near> = scratch.results.drain().map(|near| near.0).collect();
        found.sort_unstable_by(|one, other| other.cmp(one));
        found
    }

    /// Whether all that it says can be followed in a part of so many places; for one that was read from a file.
    pub(crate) fn is_sound(&self, places: usize) -> bool {
        let in_part = |local: &u32| *local == NONE || (*local as usize) < places;
        let connectivity = self.connectivity as usize;
        self.levels.len() == places
            && self.upper_at.len() == places
            && self.base.len() == places * connectivity * 2
            && in_part(&self.entry)
            && self.levels.get(self.entry as usize).is_none_or(|level| *level == self.top)
            && self.base.iter().chain(&self.upper).all(in_part)
            && self.levels.iter().zip(&self.upper_at).all(|(level, at)| {
                *at as usize + usize::from(*level) * connectivity <= self.upper.len() || *level == 0
            })
    }
}
