//! Likeness by vectors: which intent's examples are nearest to what was said, and how sure that is.

use waggle_search::embed::cosine;

/// How many of an intent's examples count, the nearest ones.
const EXAMPLES_COUNTED: usize = 3;
/// How steeply confidence grows with likeness, and with the lead over the next intent.
const LIKENESS_WEIGHT: f64 = 10.0;
const LEAD_WEIGHT: f64 = 8.0;
/// The lead at which it counts neither for nor against, and more of which says no more.
const LEAD_NEUTRAL: f64 = 0.04;
const LEAD_MAX: f64 = 0.15;

/// An intent, and how sure it is that it is meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranked {
    /// The place of the intent.
    pub(crate) intent: usize,
    /// From 0 to 1.
    pub(crate) confidence: f64,
}

/// How sure it is, from 0 to 1: a logistic of how alike the examples are, `midpoint` being the likeness at which nobody
/// knows, and of the lead over the next intent, which is negative for all but the first.
fn confidence(likeness: f64, lead: f64, midpoint: f64) -> f64 {
    let lead = lead.clamp(-LEAD_MAX, LEAD_MAX) - LEAD_NEUTRAL;
    let evidence = LIKENESS_WEIGHT * (likeness - midpoint) + LEAD_WEIGHT * lead;
    1.0 / (1.0 + (-evidence).exp())
}

/// The likeness of an intent: half the nearest example's, half the mean of the nearest few, so that one odd example does not
/// decide alone.
fn likeness(mut cosines: Vec<f64>) -> f64 {
    cosines.sort_by(|one, other| other.total_cmp(one));
    cosines.truncate(EXAMPLES_COUNTED);
    let Some(first) = cosines.first().copied() else { return -1.0 };
    (first + cosines.iter().sum::<f64>() / cosines.len() as f64) / 2.0
}

/// The intents by how sure it is that they are meant, the surest first. `examples` are vectors of length 1, each with the
/// place of its intent.
pub(crate) fn rank<'v>(
    said: &[f32],
    examples: impl Iterator<Item = (usize, &'v [f32])>,
    intents: usize,
    midpoint: f64,
) -> Vec<Ranked> {
    let mut cosines: Vec<Vec<f64>> = vec![Vec::new(); intents];
    for (intent, vector) in examples {
        if let Some(of_intent) = cosines.get_mut(intent) {
            of_intent.push(f64::from(cosine(said, vector)));
        }
    }
    let mut likenesses: Vec<(usize, f64)> = cosines.into_iter().map(likeness).enumerate().collect();
    likenesses.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let first = likenesses.first().map_or(-1.0, |(_, likeness)| *likeness);
    let second = likenesses.get(1).map_or(-1.0, |(_, likeness)| *likeness);
    let ranked = likenesses.into_iter().enumerate().map(|(place, (intent, likeness))| {
        let lead = if place == 0 { likeness - second } else { likeness - first };
        Ranked { intent, confidence: confidence(likeness, lead, midpoint) }
    });
    ranked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIDPOINT: f64 = 0.45;

    fn ranked(said: &[f32], examples: &[(usize, [f32; 2])]) -> Vec<Ranked> {
        rank(said, examples.iter().map(|(intent, vector)| (*intent, vector.as_slice())), 2, MIDPOINT)
    }

    #[test]
    fn the_nearest_intent_is_first_and_surest() {
        let ranked = ranked(&[1.0, 0.0], &[(0, [0.0, 1.0]), (1, [1.0, 0.0]), (1, [0.8, 0.6])]);
        assert_eq!(ranked[0].intent, 1);
        assert!(ranked[0].confidence > 0.9 && ranked[1].confidence < 0.1, "{ranked:?}");
    }

    #[test]
    fn what_is_between_two_is_less_sure() {
        let alone = ranked(&[0.8, 0.6], &[(0, [1.0, 0.0])]);
        let between = ranked(&[0.8, 0.6], &[(0, [1.0, 0.0]), (1, [0.96, -0.28])]);
        let both = ranked(&[0.8, 0.6], &[(0, [1.0, 0.0]), (1, [1.0, 0.0])]);
        assert!(alone[0].confidence >= between[0].confidence, "{alone:?} {between:?}");
        assert!(between[0].confidence > both[0].confidence, "{between:?} {both:?}");
    }

    #[test]
    fn without_intents_nothing_is_ranked() {
        assert!(rank(&[1.0], std::iter::empty(), 0, MIDPOINT).is_empty());
    }

    proptest! {
        #[test]
        fn confidence_is_a_share_and_grows_with_likeness(low in -1.0f64..1.0, more in 0.0f64..1.0, lead in -2.0f64..2.0) {
            let (less_sure, surer) = (confidence(low, lead, MIDPOINT), confidence(low + more, lead, MIDPOINT));
            prop_assert!((0.0..=1.0).contains(&less_sure) && less_sure <= surer);
        }
    }
}
