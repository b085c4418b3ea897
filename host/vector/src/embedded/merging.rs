//! Which parts of an index to merge; pure.
//!
//! Parts of a size are merged when there are several, so that each chunk is written anew a few times only and a search looks
//! at few parts. When an index has rested for a while, what is small is merged with what is large as well.

/// What is known of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Places.
    pub(crate) places: usize,
    /// Places whose chunk is there.
    pub(crate) there: usize,
}

/// Parts of about a size that are merged.
const MERGED_TOGETHER: usize = 4;
/// How much larger parts of the next size are.
const GROWTH: usize = 4;
/// All smaller ones are of one size.
const SMALLEST: usize = 64;
/// A part is made anew when of so many places one is dead.
const DEAD_SHARE: usize = 3;
/// At rest, the small parts must have so much of the largest to be worth merging with it.
const REST_SHARE: usize = 8;
/// At rest, parts so small together are merged whatever the largest has: it costs nothing.
const REST_PLACES: usize = 4_096;

/// The parts to merge now, by their numbers in `parts`; empty: none.
pub(crate) fn plan(parts: &[Shape], at_rest: bool) -> Vec<usize> {
    let dead = |shape: &Shape| shape.places > 0 && (shape.places - shape.there) * DEAD_SHARE > shape.places;
    if let Some(at) = parts.iter().position(|shape| dead(shape) || shape.places == 0) {
        return vec![at];
    }
    let mut by_size: Vec<usize> = (0..parts.len()).collect();
    by_size.sort_by_key(|at| parts[*at].places);
    if let Some(together) = same_size(parts, &by_size) {
        return together;
    }
    if at_rest && parts.len() > 1 && is_worth_it(parts) {
        return by_size;
    }
    Vec::new()
}

/// The smallest parts of a size, if there are enough of them; with all that is smaller.
fn same_size(parts: &[Shape], by_size: &[usize]) -> Option<Vec<usize>> {
    let sizes: Vec<u32> = by_size.iter().map(|at| size(parts[*at].places)).collect();
    let runs = sizes.chunk_by(|one, other| one == other);
    let mut seen = 0;
    for run in runs {
        seen += run.len();
        if run.len() >= MERGED_TOGETHER {
            return Some(by_size[..seen].to_vec());
        }
    }
    None
}

fn size(places: usize) -> u32 {
    (places / SMALLEST).max(1).ilog(GROWTH)
}

fn is_worth_it(parts: &[Shape]) -> bool {
    let largest = parts.iter().map(|shape| shape.places).max().unwrap_or_default();
    let others = parts.iter().map(|shape| shape.places).sum::<usize>() - largest;
    others * REST_SHARE >= largest || others + largest <= REST_PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(places: &[usize]) -> Vec<Shape> {
        places.iter().map(|places| Shape { places: *places, there: *places }).collect()
    }

    #[test]
    fn parts_of_a_size_are_merged_with_all_that_is_smaller() {
        let check = |places: &[usize], at_rest: bool, expected: &[usize]| {
            let mut merged = plan(&shapes(places), at_rest);
            merged.sort_unstable();
            assert_eq!(merged, expected, "{places:?} at rest: {at_rest}");
        };
        check(&[], true, &[]);
        check(&[10], true, &[]);
        check(&[10, 20, 30], false, &[]);
        check(&[10, 20, 30, 40], false, &[0, 1, 2, 3]);
        check(&[9_000, 10, 20, 30, 40], false, &[1, 2, 3, 4]);
        check(&[5, 300, 400, 500, 600, 90_000], false, &[0, 1, 2, 3, 4]);
        check(&[10, 20, 30], true, &[0, 1, 2]);
        check(&[1_000_000, 20, 30], true, &[]);
        check(&[1_000_000, 200_000], true, &[0, 1]);
        check(&[1_000_000, 200_000], false, &[]);
    }

    #[test]
    fn a_part_with_much_dead_is_made_anew_and_an_empty_one_goes() {
        let part = |places, there| Shape { places, there };
        assert_eq!(plan(&[part(100, 100), part(100, 60)], false), [1]);
        assert!(plan(&[part(100, 100), part(100, 70)], false).is_empty());
        assert_eq!(plan(&[part(1, 0)], false), [0]);
        assert_eq!(plan(&[part(0, 0)], false), [0]);
    }

    #[test]
    fn merging_ends_and_few_parts_are_left_however_chunks_come() {
        let (mut parts, mut written) = (Vec::<usize>::new(), 0);
        for call in 0..4_000 {
            parts.push(1 + call * 7 % 256);
            loop {
                let merged = plan(&shapes(&parts), false);
                if merged.is_empty() {
                    break;
                }
                let total: usize = merged.iter().map(|at| parts[*at]).sum();
                written += total;
                let mut at = 0;
                parts.retain(|_| {
                    at += 1;
                    !merged.contains(&(at - 1))
                });
                parts.push(total);
            }
            assert!(parts.len() <= 40, "{} parts", parts.len());
        }
        let total: usize = parts.iter().sum();
        assert!(written <= total * 12, "{written} written for {total}");
    }
}
