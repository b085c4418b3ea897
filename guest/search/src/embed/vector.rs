//! What a vector must be.

use crate::failure::SearchFailure;
use crate::settings::EmbeddingModel;
use waggle_index::bounds::DIMENSIONS_MAX;
use waggle_model::ModelFailure;

/// Why a vector cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It has no direction: all zeros, or a number that is none.
    #[error("a vector has no direction")]
    NoDirection,
    /// It is longer than any may be, or empty.
    #[error("a vector has {0} numbers, where 1 to {DIMENSIONS_MAX} are accepted")]
    Length(usize),
    /// It is not as long as was asked for.
    #[error("a vector has {given} numbers, where 'embedding_dimensions' asks for {asked}")]
    NotAsAsked {
        /// How long it is.
        given: usize,
        /// How long it was to be.
        asked: u32,
    },
    /// Those of one answer are not all of one length.
    #[error("vectors of {0} and of {1} numbers came together")]
    Mixed(usize, usize),
}

/// The vector, with the length 1 in space.
///
/// # Errors
/// It is too long, of other dimensions than `asked`, or has no direction.
pub(super) fn checked(vector: Vec<f32>, asked: Option<u32>) -> Result<Vec<f32>, Unusable> {
    let given = vector.len();
    if given == 0 || given > DIMENSIONS_MAX as usize {
        return Err(Unusable::Length(given));
    }
    if let Some(asked) = asked.filter(|asked| *asked as usize != given) {
        return Err(Unusable::NotAsAsked { given, asked });
    }
    normalised(vector)
}

/// # Errors
/// It has no direction.
pub(super) fn normalised(mut vector: Vec<f32>) -> Result<Vec<f32>, Unusable> {
    let square: f64 = vector.iter().map(|number| f64::from(*number) * f64::from(*number)).sum();
    let length = square.sqrt();
    if !length.is_finite() || length <= f64::MIN_POSITIVE {
        return Err(Unusable::NoDirection);
    }
    for number in &mut vector {
        *number = (f64::from(*number) / length) as f32;
    }
    Ok(vector)
}

/// The vector for an index of `model`, whose vectors are not longer than that model is asked for now: where a longer one is
/// cut, its beginning is a vector of its own, as the makers of models have it that take such a wish (Matryoshka embeddings).
///
/// # Errors
/// It is shorter than those of the index.
pub(super) fn cut(mut vector: Vec<f32>, model: &EmbeddingModel) -> Result<Vec<f32>, SearchFailure> {
    let dimensions = model.dimensions.map_or(vector.len(), |dimensions| dimensions as usize);
    let unusable = |reason: String| SearchFailure::from(ModelFailure::NotACompletion(reason));
    if vector.len() < dimensions {
        let given = vector.len();
        return Err(unusable(format!("{given} numbers of '{}', whose index has {dimensions}", model.name)));
    }
    if vector.len() == dimensions {
        return Ok(vector);
    }
    vector.truncate(dimensions);
    normalised(vector).map_err(|error| unusable(error.to_string()))
}

/// # Errors
/// Two are of different length.
pub(super) fn same_length(vectors: &[Vec<f32>]) -> Result<(), Unusable> {
    let Some(first) = vectors.first() else { return Ok(()) };
    match vectors.iter().find(|vector| vector.len() != first.len()) {
        Some(other) => Err(Unusable::Mixed(first.len(), other.len())),
        None => Ok(()),
    }
}

/// The cosine of two vectors of length 1; 0 where their dimensions differ.
pub fn cosine(one: &[f32], other: &[f32]) -> f32 {
    if one.len() != other.len() {
        return 0.0;
    }
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_vector_is_refused() {
        assert_eq!(checked(vec![], None), Err(Unusable::Length(0)));
        assert_eq!(checked(vec![1.0; 4097], None), Err(Unusable::Length(4097)));
        assert_eq!(checked(vec![1.0; 3], Some(4)), Err(Unusable::NotAsAsked { given: 3, asked: 4 }));
        for vector in [vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0]] {
            assert_eq!(checked(vector.clone(), None), Err(Unusable::NoDirection), "{vector:?}");
        }
        assert_eq!(checked(vec![3.0, 4.0], Some(2)), Ok(vec![0.6, 0.8]));
        assert_eq!(same_length(&[vec![1.0], vec![1.0, 2.0]]), Err(Unusable::Mixed(1, 2)));
        assert_eq!(same_length(&[]), Ok(()));
    }

    #[test]
    fn a_vector_is_cut_to_its_index() {
        let model = |dimensions| EmbeddingModel { name: "m".to_owned(), dimensions };
        assert_eq!(cut(vec![0.6, 0.8], &model(None)).unwrap(), [0.6, 0.8]);
        assert_eq!(cut(vec![0.6, 0.8], &model(Some(2))).unwrap(), [0.6, 0.8]);
        assert_eq!(cut(vec![0.6, 0.8], &model(Some(1))).unwrap(), [1.0]);
        assert!(cut(vec![0.6, 0.8], &model(Some(3))).is_err());
        assert!(cut(vec![0.0, 1.0], &model(Some(1))).is_err());
    }

    proptest! {
        #[test]
        fn a_vector_that_is_taken_has_length_1(vector in prop::collection::vec(-1e6f32..1e6, 1..64)) {
            if let Ok(vector) = checked(vector, None) {
                prop_assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-4);
            }
        }
    }
}
