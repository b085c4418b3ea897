//! A number beside the goal it was measured for.

use serde::Serialize;

/// Whether a goal was met.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    /// `None` when there is no number to judge, which does not meet the goal.
    pub(crate) found: Option<f64>,
    pub(crate) at_most: f64,
    pub(crate) met: bool,
}

impl Verdict {
    pub(crate) fn at_most(what: impl Into<String>, found: Option<f64>, at_most: f64) -> Self {
        let met = found.is_some_and(|found| found <= at_most);
        Self { what: what.into(), found, at_most, met }
    }

    /// One line for the table.
    pub(crate) fn line(&self) -> String {
        let found = self.found.map_or_else(|| "nothing measured".to_owned(), |found| format!("{found:.2}"));
        let word = if self.met { "met" } else { "MISSED" };
        format!("goal {word}: {} is {found}, to be at most {}\n", self.what, self.at_most)
    }
}

/// All lines.
pub(crate) fn lines(verdicts: &[Verdict]) -> String {
    verdicts.iter().map(Verdict::line).collect()
}

/// The middle of some values; of two middles, their mean.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some((sorted[middle - 1] + upper) / 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_up_to_its_bound_and_never_without_a_number() {
        for (found, met) in [(Some(1.1), true), (Some(1.11), false), (None, false), (Some(f64::NAN), false)] {
            assert_eq!(Verdict::at_most("x", found, 1.1).met, met, "{found:?}");
        }
        assert_eq!(
            Verdict::at_most("p99", Some(1.3), 1.1).line(),
            "goal MISSED: p99 is 1.30, to be at most 1.1\n"
        );
    }

    #[test]
    fn the_median_is_the_middle() {
        for (values, expected) in [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 2.0], Some(2.0)),
            (vec![4.0, 1.0, 2.0, 3.0], Some(2.5)),
        ] {
            assert_eq!(median(&values), expected);
        }
    }
}
