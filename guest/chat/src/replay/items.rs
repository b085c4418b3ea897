//! The events of a stored response whose model added and ended its items itself.

use super::ObjectView;
use crate::output::{Output, read_stored};
use crate::trace::Step;
use std::ops::Range;
use waggle_model::responses::{DeltaKind, OutputItem};
use waggle_openai::item::{Item, Part};

/// The steps by which each item from that one on begins, is said in one piece, and ends before the next one.
pub(super) fn one_by_one(view: &ObjectView<'_>, first: usize) -> Vec<Step> {
    (first..view.output.len()).flat_map(|at| [Step::Grew { at, bytes: 0 }, Step::Ended { at }]).collect()
}

/// Lets the items grow and end by these steps. What a text cites, and how probable it was, comes with its end.
pub(super) fn say(output: &mut Output, view: &ObjectView<'_>, steps: &[Step]) -> Option<()> {
    let items: Vec<OutputItem> =
        view.output.iter().map(|raw| read_stored(raw)).collect::<Result<_, _>>().ok()?;
    let mut said: Vec<Option<usize>> = vec![None; items.len()];
    for step in steps {
        match *step {
            Step::Ended { at } => output.done(at, items.get(at)?.clone()).ok()?,
            Step::Grew { at, bytes } => {
                let item = items.get(at)?;
                let said = said.get_mut(at)?;
                if said.is_none() {
                    output.added(at, item.clone()).ok()?;
                }
                let begin = said.unwrap_or(0);
                let end = begin.checked_add(bytes)?;
                if bytes > 0 {
                    grow(output, at, item.item.as_ref()?, begin..end)?;
                }
                *said = Some(end);
            }
        }
    }
    Some(())
}

fn grow(output: &mut Output, at: usize, item: &Item<'_>, range: Range<usize>) -> Option<()> {
    let (summary, content): (&[Part<'_>], &[Part<'_>]) = match item {
        Item::FunctionCall { arguments, .. } => return output.arguments(at, arguments.get(range)?).ok(),
        Item::Message { parts, .. } => (&[], parts),
        Item::Reasoning { summary, content, .. } => (summary, content),
        _ => return None,
    };
    let parts = summary.iter().enumerate().chain(content.iter().enumerate());
    let mut before = 0;
    for (index, part) in parts {
        let words = part.words();
        if range.start < before + words.len() {
            let kind = match part {
                Part::Text(_) => DeltaKind::Text,
                Part::Refusal(_) => DeltaKind::Refusal,
                Part::Reasoning(_) => DeltaKind::Reasoning,
                Part::Summary(_) => DeltaKind::Summary,
                _ => return None,
            };
            let delta = words.get(range.start - before..range.end - before)?;
            return output.delta(at, index, kind, delta, Vec::new()).ok();
        }
        before += words.len();
    }
    None
}
