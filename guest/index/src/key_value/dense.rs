//! Searching by vectors: the cosine of each, exactly.

use super::codec::Reader;
use super::ordinals::Ordinals;
use super::page::normalized;
use super::top::{Place, Top};
use std::collections::BTreeMap;

/// What a search by vectors has seen.
pub(super) struct Dense {
    /// The question's vector, of length 1.
    vector: Vec<f32>,
    /// The nearest.
    top: Top,
    /// The cosines of chunks that are asked for one by one.
    asked: BTreeMap<Place, Option<f32>>,
}

impl Dense {
    /// A search for so many that are nearest to the vector, and for the cosines of those that are `asked` for.
    pub(super) fn new(vector: &[f32], count_max: usize, asked: impl Iterator<Item = Place>) -> Self {
        let asked = asked.map(|place| (place, None)).collect();
        Self { vector: normalized(vector), top: Top::new(count_max), asked }
    }

    /// Looks at a page's vectors, of those chunks that count. `None` if the page cannot be read.
    pub(super) fn scan(&mut self, page: usize, counting: &Ordinals, value: &[u8]) -> Option<()> {
        let mut reader = Reader::new(value)?;
        if reader.number()? != self.vector.len() as u64 {
            return None;
        }
        for _ in 0..reader.number()? {
            let (ordinal, vector) = (reader.small()?, reader.vector(self.vector.len())?);
            if !counting.contains(ordinal) {
                continue;
            }
            let place = Place { page, ordinal };
            let cosine = dot(&self.vector, vector);
            self.top.push(place, cosine);
            if let Some(asked) = self.asked.get_mut(&place) {
                *asked = Some(cosine);
            }
        }
        reader.is_over().then_some(())
    }

    /// The nearest, the nearest first; and the cosine of each of those and of each that was asked for and has a vector.
    pub(super) fn finish(self) -> (Vec<Place>, BTreeMap<Place, f32>) {
        let nearest = self.top.into_sorted();
        let asked = self.asked.into_iter().filter_map(|(place, cosine)| Some((place, cosine?)));
        let cosines = asked.chain(nearest.iter().copied()).collect();
        (nearest.into_iter().map(|(place, _)| place).collect(), cosines)
    }
}

/// The product of a vector and one that is given as its bytes, within what a cosine can be.
fn dot(left: &[f32], right: &[u8]) -> f32 {
    let (components, _none) = right.as_chunks::<4>();
    let products = left.iter().zip(components).map(|(left, right)| left * f32::from_le_bytes(*right));
    products.sum::<f32>().clamp(-1.0, 1.0)
}
