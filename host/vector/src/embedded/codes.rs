//! The vectors of a part in memory: a byte for each number with a scale for each vector, or whole. Vectors have length 1, so
//! that the product of two is their cosine.
//!
//! The loops are plain Rust that the compiler makes wide; `pulp` chooses at run time among what was compiled for the
//! processor, without `unsafe` here.

use crate::Quantization;
use pulp::{Arch, WithSimd};
use std::sync::LazyLock;

static ARCH: LazyLock<Arch> = LazyLock::new(Arch::new);

/// Numbers that are added side by side.
const LANES: usize = 16;
const CODE_MAX: f32 = 127.0;

/// The vectors of chunks, by their place in the part. A chunk without a vector has one all the same, of scale 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Codes {
    dimensions: usize,
    scales: Vec<f32>,
    numbers: Numbers,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers {
    Int8(Vec<i8>),
    Full(Vec<f32>),
}

/// A vector to compare others with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Probe<'a> {
    Int8 { codes: &'a [i8], scale: f32 },
    Full(&'a [f32]),
}

/// A query's vector as the codes of an index are compared with.
#[derive(Clone, Debug)]
pub(crate) struct QueryCodes {
    codes: Vec<i8>,
    scale: f32,
    full: Vec<f32>,
}

impl QueryCodes {
    /// `unit_vector` has length 1.
    pub(crate) fn new(unit_vector: &[f32]) -> Self {
        let mut codes = Vec::new();
        let scale = quantize(unit_vector, &mut codes);
        Self { codes, scale, full: unit_vector.to_vec() }
    }
}

/// The vector with the same direction and length 1; none for one without direction.
pub(crate) fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let square: f64 = vector.iter().map(|number| f64::from(*number) * f64::from(*number)).sum();
    let length = square.sqrt();
    if !(length > 0.0 && length.is_finite()) {
        return None;
    }
    Some(vector.iter().map(|number| (f64::from(*number) / length) as f32).collect())
}

/// Appends the codes of a vector; returns what to multiply them with.
fn quantize(vector: &[f32], codes: &mut Vec<i8>) -> f32 {
    let greatest = vector.iter().fold(0.0_f32, |greatest, number| greatest.max(number.abs()));
    let factor = if greatest > 0.0 { CODE_MAX / greatest } else { 0.0 };
    codes.extend(vector.iter().map(|number| (number * factor).round() as i8));
    greatest / CODE_MAX
}

impl Codes {
    pub(crate) fn new(dimensions: u32, quantization: Quantization) -> Self {
        let numbers = match quantization {
            Quantization::Int8 => Numbers::Int8(Vec::new()),
            Quantization::None => Numbers::Full(Vec::new()),
        };
        Self { dimensions: dimensions as usize, scales: Vec::new(), numbers }
    }

    /// Those that were taken apart by [`Codes::raw`].
    pub(crate) fn from_raw(dimensions: u32, scales: Vec<f32>, numbers: Numbers) -> Option<Self> {
        let codes = Self { dimensions: dimensions as usize, scales, numbers };
        let length = match &codes.numbers {
            Numbers::Int8(numbers) => numbers.len(),
            Numbers::Full(numbers) => numbers.len(),
        };
        (length == codes.scales.len() * codes.dimensions).then_some(codes)
    }

    pub(crate) fn raw(&self) -> (&[f32], &Numbers) {
        (&self.scales, &self.numbers)
    }

    pub(crate) fn len(&self) -> usize {
        self.scales.len()
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let numbers = match &self.numbers {
            Numbers::Int8(numbers) => numbers.len(),
            Numbers::Full(numbers) => size_of_val(numbers.as_slice()),
        };
        numbers + size_of_val(self.scales.as_slice())
    }

    pub(crate) fn quantization(&self) -> Quantization {
        match &self.numbers {
            Numbers::Int8(_) => Quantization::Int8,
            Numbers::Full(_) => Quantization::None,
        }
    }

    pub(crate) fn dimensions(&self) -> u32 {
        u32::try_from(self.dimensions).unwrap_or(u32::MAX)
    }

    /// None, of the same dimensions and quantisation.
    pub(crate) fn empty(&self) -> Self {
        Self::new(self.dimensions(), self.quantization())
    }

    /// Appends a vector of length 1, or that a chunk has none.
    pub(crate) fn push(&mut self, unit_vector: Option<&[f32]>) {
        let zeros;
        let vector = match unit_vector {
            Some(vector) => vector,
            None => {
                zeros = vec![0.0; self.dimensions];
                &zeros
            }
        };
        let scale = match &mut self.numbers {
            Numbers::Int8(codes) => quantize(vector, codes),
            Numbers::Full(numbers) => {
                numbers.extend_from_slice(vector);
                if unit_vector.is_some() { 1.0 } else { 0.0 }
            }
        };
        self.scales.push(scale);
    }

    /// Appends that of another part at `local`, of the same dimensions and quantisation.
    pub(crate) fn push_from(&mut self, other: &Self, local: u32) {
        match (&mut self.numbers, other.row(local)) {
            (Numbers::Int8(codes), Probe::Int8 { codes: more, .. }) => codes.extend_from_slice(more),
            (Numbers::Full(numbers), Probe::Full(more)) => numbers.extend_from_slice(more),
            (Numbers::Int8(codes), Probe::Full(_)) => codes.resize(codes.len() + self.dimensions, 0),
            (Numbers::Full(numbers), Probe::Int8 { .. }) => {
                numbers.resize(numbers.len() + self.dimensions, 0.0)
            }
        }
        self.scales.push(other.scales[local as usize]);
    }

    pub(crate) fn has_vector(&self, local: u32) -> bool {
        self.scales[local as usize] > 0.0
    }

    /// The vector at `local`, to compare others with.
    pub(crate) fn row(&self, local: u32) -> Probe<'_> {
        let start = local as usize * self.dimensions;
        match &self.numbers {
            Numbers::Int8(codes) => Probe::Int8 {
                codes: &codes[start..start + self.dimensions],
                scale: self.scales[local as usize],
            },
            Numbers::Full(numbers) => Probe::Full(&numbers[start..start + self.dimensions]),
        }
    }

    pub(crate) fn probe<'a>(&self, query: &'a QueryCodes) -> Probe<'a> {
        match &self.numbers {
            Numbers::Int8(_) => Probe::Int8 { codes: &query.codes, scale: query.scale },
            Numbers::Full(_) => Probe::Full(&query.full),
        }
    }

    /// The cosines of the vectors at `locals` with `probe`, about, in place of what `similarities` has.
    pub(crate) fn compare(&self, probe: Probe<'_>, locals: &[u32], similarities: &mut Vec<f32>) {
        similarities.clear();
        ARCH.dispatch(Compare { codes: self, probe, locals: locals.iter().copied(), similarities });
    }

    /// The same for a run of places.
    pub(crate) fn compare_run(
        &self,
        probe: Probe<'_>,
        run: std::ops::Range<u32>,
        similarities: &mut Vec<f32>,
    ) {
        similarities.clear();
        ARCH.dispatch(Compare { codes: self, probe, locals: run, similarities });
    }
}

struct Compare<'a, Locals> {
    codes: &'a Codes,
    probe: Probe<'a>,
    locals: Locals,
    similarities: &'a mut Vec<f32>,
}

impl<Locals: Iterator<Item = u32>> WithSimd for Compare<'_, Locals> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _simd: S) {
        let Self { codes, probe, locals, similarities } = self;
        let dimensions = codes.dimensions;
        match (&codes.numbers, probe) {
            (Numbers::Int8(numbers), Probe::Int8 { codes: probe, scale }) => {
                for local in locals {
                    let start = local as usize * dimensions;
                    let product = product_int8(&numbers[start..start + dimensions], probe);
                    similarities.push(product as f32 * scale * codes.scales[local as usize]);
                }
            }
            (Numbers::Full(numbers), Probe::Full(probe)) => {
                for local in locals {
                    let start = local as usize * dimensions;
                    similarities.push(product_f32(&numbers[start..start + dimensions], probe));
                }
            }
            // Parts of one index are coded alike.
            _ => similarities.extend(locals.map(|_local| 0.0)),
        }
    }
}

#[inline(always)]
fn product_int8(one: &[i8], other: &[i8]) -> i32 {
    // A loop rather than a chain of closures, each of which the compiler might leave where it may not be wide.
    let mut sum = 0;
    for (one, other) in one.iter().zip(other) {
        sum += i32::from(*one) * i32::from(*other);
    }
    sum
}

#[inline(always)]
fn product_f32(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (one_lanes, one_rest) = one.as_chunks::<LANES>();
    let (other_lanes, other_rest) = other.as_chunks::<LANES>();
    for (one, other) in one_lanes.iter().zip(other_lanes) {
        for lane in 0..LANES {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let mut sum = 0.0;
    for (one, other) in one_rest.iter().zip(other_rest) {
        sum += one * other;
    }
    for lane in sums {
        sum += lane;
    }
    sum
}

/// The cosine of two vectors of length 1, exact but for rounding.
pub(crate) fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let product: f64 = one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum();
    (product as f32).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vectors() -> impl Strategy<Value = Vec<Vec<f32>>> {
        (1_usize..100).prop_flat_map(|dimensions| {
            let vector = prop::collection::vec(-1.0_f32..1.0, dimensions);
            prop::collection::vec(vector, 2..8)
        })
    }

    proptest! {
        #[test]
        fn codes_are_close_to_the_cosine(vectors in vectors()) {
            let units: Vec<_> = vectors.iter().filter_map(|vector| unit(vector)).collect();
            prop_assume!(units.len() > 1);
            for (quantization, error_max) in [(Quantization::Int8, 0.02), (Quantization::None, 1e-5)] {
                let mut codes = Codes::new(u32::try_from(units[0].len()).unwrap(), quantization);
                units.iter().for_each(|unit| codes.push(Some(unit)));
                let query = QueryCodes::new(&units[0]);
                let (mut all, mut some) = (Vec::new(), Vec::new());
                codes.compare_run(codes.probe(&query), 0..u32::try_from(units.len()).unwrap(), &mut all);
                codes.compare(codes.row(0), &[1, 0], &mut some);
                prop_assert!((some[0] - all[1]).abs() < 1e-6 && (some[1] - all[0]).abs() < 1e-6);
                for (unit, about) in units.iter().zip(all) {
                    let exact = cosine(&units[0], unit);
                    prop_assert!((exact - about).abs() < error_max, "{quantization:?}: {exact} {about}");
                }
            }
        }
    }

    #[test]
    fn a_chunk_without_a_vector_is_told_from_the_others() {
        for quantization in [Quantization::Int8, Quantization::None] {
            let mut codes = Codes::new(2, quantization);
            codes.push(Some(&[0.6, 0.8]));
            codes.push(None);
            assert_eq!((codes.has_vector(0), codes.has_vector(1), codes.len()), (true, false, 2));
            let mut copy = Codes::new(2, quantization);
            copy.push_from(&codes, 1);
            copy.push_from(&codes, 0);
            assert_eq!((copy.has_vector(0), copy.has_vector(1)), (false, true));
        }
    }

    #[test]
    fn a_vector_without_direction_has_no_unit() {
        assert_eq!(unit(&[0.0, 0.0]), None);
        assert_eq!(unit(&[3.0, 4.0]), Some(vec![0.6, 0.8]));
        assert!(unit(&[f32::MAX, f32::MAX]).is_some());
    }
}
