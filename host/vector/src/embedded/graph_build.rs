//! Building the graph of `graph`: places are added in batches. The neighbours of a batch are looked for side by side in the
//! graph as it stands, and among the batch itself; then the links are written. So threads share nothing that changes, and
//! the graph is the same however many there are.

use super::codes::Codes;
use super::graph::{Graph, NONE, Near, Scratch};
use std::ops::Range;

/// Places of a batch, at most. Each is compared with all others of its batch.
const BATCH_MAX: usize = 512;
/// A batch is at most this part of what is in the graph already.
const BATCH_SHARE: usize = 32;
/// Fewer pieces of work are not worth another thread.
const WORK_PER_THREAD_MIN: usize = 16;
const LEVEL_MAX: u8 = 12;

/// How a graph is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuildOptions {
    pub(crate) expansion: usize,
    pub(crate) threads: usize,
}

/// The neighbours chosen for a new place, layer by layer from 0 on.
struct Plan {
    local: u32,
    layers: Vec<Vec<u32>>,
}

/// A place at a layer that new places chose as their neighbour: it may choose them too.
struct Backlinks {
    level: u8,
    local: u32,
    sources: Range<usize>,
}

impl Graph {
    /// A graph of all vectors of `codes`.
    pub(crate) fn build(codes: &Codes, connectivity: u32, options: BuildOptions) -> Self {
        let mut graph = Self::new(connectivity);
        graph.extend(codes, options);
        graph
    }

    /// Adds the places of `codes` that are behind those the graph has.
    pub(crate) fn extend(&mut self, codes: &Codes, options: BuildOptions) {
        let had = self.levels.len();
        let places = u32::try_from(codes.len()).unwrap_or(u32::MAX);
        let first = u32::try_from(had).unwrap_or(u32::MAX);
        for local in first..places {
            self.push_place(local);
        }
        let mut new: Vec<u32> = (first..places).filter(|local| codes.has_vector(*local)).collect();
        // In an order of its own: chunks that lie side by side are alike, and a batch of those would see little of the rest.
        new.sort_unstable_by_key(|local| scatter(u64::from(*local)));
        let mut rest = new.as_slice();
        let mut linked = had;
        while !rest.is_empty() {
            let batch = (linked / BATCH_SHARE).clamp(1, BATCH_MAX).min(rest.len());
            let (now, later) = rest.split_at(batch);
            self.insert(codes, now, options);
            linked += batch;
            rest = later;
        }
    }

    fn push_place(&mut self, local: u32) {
        let level = level_of(local, self.connectivity);
        self.levels.push(level);
        self.base.resize(self.base.len() + self.capacity(0), NONE);
        self.upper_at.push(u32::try_from(self.upper.len()).unwrap_or(u32::MAX));
        self.upper.resize(self.upper.len() + usize::from(level) * self.capacity(1), NONE);
    }

    fn insert(&mut self, codes: &Codes, batch: &[u32], options: BuildOptions) {
        let plans = side_by_side(batch, options.threads, |local, scratch| {
            self.plan(codes, *local, batch, options.expansion, scratch)
        });
        let mut links = Vec::new();
        for plan in &plans {
            for (level, neighbours) in (0..).zip(&plan.layers) {
                self.write_list(plan.local, level, neighbours);
                links.extend(neighbours.iter().map(|neighbour| (level, *neighbour, plan.local)));
            }
        }
        self.link_back(codes, links, options.threads);
        let highest = batch.iter().max_by_key(|local| self.levels[**local as usize]);
        if let Some(highest) = highest
            && (self.entry == NONE || self.levels[*highest as usize] > self.top)
        {
            self.entry = *highest;
            self.top = self.levels[*highest as usize];
        }
    }

    /// Chooses neighbours for a new place, from the graph and from its own batch.
    fn plan(
        &self,
        codes: &Codes,
        local: u32,
        batch: &[u32],
        expansion: usize,
        scratch: &mut Scratch,
    ) -> Plan {
        let level = self.levels[local as usize];
        let probe = codes.row(local);
        let mut mates = Vec::new();
        codes.compare(probe, batch, &mut mates);
        let mates: Vec<Near> = batch
            .iter()
            .zip(mates)
            .filter(|(mate, _)| **mate != local)
            .map(|(mate, similarity)| Near { similarity, local: *mate })
            .collect();
        let mut layers = vec![Vec::new(); usize::from(level) + 1];
        let mut entries: Vec<Near> = self.descend(codes, probe, level, scratch).into_iter().collect();
        for layer in (0..=level).rev() {
            let mut found = Vec::new();
            if layer <= self.top && !entries.is_empty() {
                found = self.search_layer(codes, probe, &entries, expansion, layer, scratch, |_| true);
                entries.clone_from(&found);
            }
            let at_layer = |mate: &&Near| self.levels[mate.local as usize] >= layer;
            found.extend(mates.iter().filter(at_layer));
            found.sort_unstable_by(|one, other| other.cmp(one));
            found.truncate(expansion);
            layers[usize::from(layer)] = choose(codes, &found, self.connectivity as usize);
        }
        Plan { local, layers }
    }

    /// Every place that was chosen as a neighbour gets the one that chose it, or the best of all it could have.
    fn link_back(&mut self, codes: &Codes, mut links: Vec<(u8, u32, u32)>, threads: usize) {
        links.sort_unstable();
        links.dedup();
        let mut targets: Vec<Backlinks> = Vec::new();
        for (at, (level, local, _)) in links.iter().enumerate() {
            match targets.last_mut() {
                Some(last) if (last.level, last.local) == (*level, *local) => last.sources.end = at + 1,
                _ => targets.push(Backlinks { level: *level, local: *local, sources: at..at + 1 }),
            }
        }
        let lists = side_by_side(&targets, threads, |target, _scratch| {
            let sources = links[target.sources.clone()].iter().map(|(_, _, source)| *source);
            self.with_backlinks(codes, target, sources)
        });
        for (target, list) in targets.iter().zip(lists) {
            self.write_list(target.local, target.level, &list);
        }
    }

    fn with_backlinks(
        &self,
        codes: &Codes,
        target: &Backlinks,
        sources: impl Iterator<Item = u32>,
    ) -> Vec<u32> {
        let mut list = self.neighbours(target.local, target.level).to_vec();
        for source in sources {
            if !list.contains(&source) {
                list.push(source);
            }
        }
        let capacity = self.capacity(target.level);
        if list.len() <= capacity {
            return list;
        }
        let mut similarities = Vec::new();
        codes.compare(codes.row(target.local), &list, &mut similarities);
        let near = list.iter().zip(similarities);
        let mut near: Vec<Near> =
            near.map(|(local, similarity)| Near { similarity, local: *local }).collect();
        near.sort_unstable_by(|one, other| other.cmp(one));
        choose(codes, &near, capacity)
    }

    fn write_list(&mut self, local: u32, level: u8, list: &[u32]) {
        let range = self.list_range(local, level);
        let place = if level == 0 { &mut self.base[range] } else { &mut self.upper[range] };
        place.fill(NONE);
        place.iter_mut().zip(list).for_each(|(place, neighbour)| *place = *neighbour);
    }
}

/// The paper's choice among what is near (best first): one is left out if it is nearer to one that was taken than to the place,
/// so that links lead in all directions.
fn choose(codes: &Codes, near: &[Near], most: usize) -> Vec<u32> {
    let mut chosen: Vec<u32> = Vec::with_capacity(most);
    let mut similarities = Vec::new();
    for candidate in near {
        if chosen.len() == most {
            break;
        }
        codes.compare(codes.row(candidate.local), &chosen, &mut similarities);
        if similarities.iter().all(|similarity| *similarity <= candidate.similarity) {
            chosen.push(candidate.local);
        }
    }
    chosen
}

/// `work` on each piece, in the order of the pieces, by several threads if there is enough to do.
fn side_by_side<Piece: Sync, Done: Send>(
    pieces: &[Piece],
    threads: usize,
    work: impl Fn(&Piece, &mut Scratch) -> Done + Sync,
) -> Vec<Done> {
    let threads = threads.min(pieces.len() / WORK_PER_THREAD_MIN).max(1);
    let share = pieces.len().div_ceil(threads).max(1);
    let run = |pieces: &[Piece]| {
        let mut scratch = Scratch::default();
        pieces.iter().map(|piece| work(piece, &mut scratch)).collect::<Vec<_>>()
    };
    if threads == 1 {
        return run(pieces);
    }
    std::thread::scope(|scope| {
        let (first, rest) = pieces.split_at(share);
        let others: Vec<_> = rest.chunks(share).map(|pieces| scope.spawn(move || run(pieces))).collect();
        let mut done = run(first);
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}

/// The highest layer of a place: as random as a draw, and always the same.
fn level_of(local: u32, connectivity: u32) -> u8 {
    let draw = (scatter(u64::from(local) ^ 0x5eed) >> 11) as f64 / (1_u64 << 53) as f64;
    let level = -(1.0 - draw).ln() / f64::from(connectivity.max(2)).ln();
    (level as u8).min(LEVEL_MAX)
}

/// The finaliser of SplitMix64: numbers side by side become as good as random.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Quantization, embedded::codes::unit};

    const DIMENSIONS: u32 = 32;

    fn draw(seed: u64) -> f32 {
        (scatter(seed) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    /// Vectors around some centres, those of one centre side by side.
    fn clustered(count: u64, clusters: u64) -> Codes {
        let mut codes = Codes::new(DIMENSIONS, Quantization::Int8);
        for vector in 0..count {
            let centre = vector * clusters / count;
            let numbers = (0..u64::from(DIMENSIONS))
                .map(|at| draw(1_000_000_000 + centre * 1_000 + at) + 0.5 * draw(vector * 1_000 + at));
            codes.push(unit(&numbers.collect::<Vec<_>>()).as_deref());
        }
        codes
    }

    fn options(threads: usize) -> BuildOptions {
        BuildOptions { expansion: 100, threads }
    }

    fn exact(codes: &Codes, local: u32, count: usize, accept: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut similarities = Vec::new();
        codes.compare_run(codes.row(local), 0..u32::try_from(codes.len()).unwrap(), &mut similarities);
        let near = (0..).zip(similarities).filter(|(local, _)| accept(*local));
        let mut near: Vec<Near> = near.map(|(local, similarity)| Near { similarity, local }).collect();
        near.sort_unstable_by(|one, other| other.cmp(one));
        near.iter().take(count).map(|near| near.local).collect()
    }

    fn recall(codes: &Codes, graph: &Graph, accept: impl Fn(u32) -> bool + Copy) -> f64 {
        let mut scratch = Scratch::default();
        let (mut found, mut all) = (0, 0);
        for local in (0..u32::try_from(codes.len()).unwrap()).step_by(37) {
            let expected = exact(codes, local, 10, accept);
            let near = graph.search(codes, codes.row(local), 64, &mut scratch, accept);
            found += near.iter().take(10).filter(|near| expected.contains(&near.local)).count();
            all += expected.len();
        }
        found as f64 / f64::from(u32::try_from(all).unwrap())
    }

    #[test]
    fn nearly_all_of_the_nearest_are_found_in_clusters() {
        let codes = clustered(3_000, 30);
        let graph = Graph::build(&codes, 16, options(2));
        assert!(graph.is_sound(codes.len()));
        let all = recall(&codes, &graph, |_| true);
        assert!(all >= 0.95, "recall {all}");
        let filtered = recall(&codes, &graph, |local| local % 4 == 0);
        assert!(filtered >= 0.95, "recall among a quarter {filtered}");
    }

    #[test]
    fn a_graph_that_grew_finds_as_well_and_threads_change_nothing() {
        let all = clustered(2_000, 20);
        let mut first = Codes::new(DIMENSIONS, Quantization::Int8);
        (0..1_500).for_each(|local| first.push_from(&all, local));
        let mut graph = Graph::build(&first, 16, options(1));
        graph.extend(&all, options(1));
        assert!(graph.is_sound(all.len()));
        let grown = recall(&all, &graph, |_| true);
        assert!(grown >= 0.95, "recall {grown}");
        assert_eq!(Graph::build(&first, 16, options(1)), Graph::build(&first, 16, options(3)));
    }

    #[test]
    fn places_without_a_vector_are_never_found() {
        let mut codes = clustered(300, 3);
        (0..50).for_each(|_| codes.push(None));
        let graph = Graph::build(&codes, 8, options(1));
        let found = graph.search(&codes, codes.row(0), 1_000, &mut Scratch::default(), |_| true);
        assert!(found.iter().all(|near| near.local < 300) && found.len() > 290, "{}", found.len());
        let empty = Graph::build(&Codes::new(DIMENSIONS, Quantization::Int8), 8, options(1));
        assert!(empty.search(&codes, codes.row(0), 10, &mut Scratch::default(), |_| true).is_empty());
    }

    #[test]
    fn many_equal_vectors_do_no_harm() {
        let mut codes = Codes::new(2, Quantization::Int8);
        (0..500).for_each(|_| codes.push(Some(&[0.6, 0.8])));
        let graph = Graph::build(&codes, 8, options(1));
        let found = graph.search(&codes, codes.row(7), 20, &mut Scratch::default(), |_| true);
        assert!(!found.is_empty() && found.iter().all(|near| near.similarity > 0.99));
    }
}
