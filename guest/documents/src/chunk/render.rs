//! Chunks as text: what stretches of pieces say, with the headings they stand under, and within the bounds.

use super::assemble::Stretch;
use super::piece::{Piece, Pieces};
use super::{ChunkError, ChunkRules, Counter};
use crate::document::cut;
use std::ops::Range;
use std::rc::Rc;

/// What stands between the headings of a chunk.
const PATH_SEPARATOR: &str = " > ";

/// A chunk without its number.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) heading: String,
    pub(super) text: String,
    pub(super) pages: Option<(u32, u32)>,
    pub(super) bytes: Range<usize>,
    pub(super) tokens: u32,
}

/// Makes chunks of stretches. The sum of tokens was an estimate; what turns out too large is parted once more.
///
/// # Errors
/// [`ChunkError::TooMany`].
pub(super) fn render(
    text: &str,
    pieces: &Pieces,
    stretches: Vec<Stretch>,
    rules: &ChunkRules,
    counter: &Counter<'_>,
) -> Result<Vec<Rendered>, ChunkError> {
    let mut waiting: Vec<(Stretch, Option<Rendered>)> =
        stretches.into_iter().map(|stretch| (stretch, None)).collect();
    loop {
        if waiting.len() > rules.chunks_max {
            return Err(ChunkError::TooMany(rules.chunks_max));
        }
        let is_counted = count_new(text, pieces, &mut waiting, rules, counter);
        if is_counted {
            return Ok(waiting.into_iter().filter_map(|(_, rendered)| rendered).collect());
        }
        let is_too_large =
            |chunk: &Rendered| chunk.tokens > rules.tokens_max || chunk.text.len() > rules.text_bytes_max;
        let mut next = Vec::with_capacity(waiting.len());
        for (stretch, rendered) in waiting {
            match rendered {
                Some(chunk) if is_too_large(&chunk) => match smaller(&stretch, pieces) {
                    Some(parts) => next.extend(parts.into_iter().map(|part| (part, None))),
                    None => next.push((stretch, Some(chunk))),
                },
                rendered => next.push((stretch, rendered)),
            }
        }
        waiting = next;
    }
}

/// Renders and counts what is not rendered yet; whether there was nothing of the kind.
fn count_new(
    text: &str,
    pieces: &Pieces,
    waiting: &mut [(Stretch, Option<Rendered>)],
    rules: &ChunkRules,
    counter: &Counter<'_>,
) -> bool {
    let mut fresh: Vec<&mut Rendered> = Vec::new();
    for (stretch, rendered) in waiting.iter_mut().filter(|(_, rendered)| rendered.is_none()) {
        *rendered = one(text, pieces, stretch, rules);
        fresh.extend(rendered.as_mut());
    }
    let texts: Vec<&str> = fresh.iter().map(|chunk| chunk.text.as_str()).collect();
    let tokens = counter.count(&texts);
    for (chunk, tokens) in fresh.iter_mut().zip(tokens) {
        chunk.tokens = tokens;
    }
    fresh.is_empty()
}

/// What a stretch is parted into: without what it repeats, else its halves; `None` for a single piece.
fn smaller(stretch: &Stretch, pieces: &Pieces) -> Option<Vec<Stretch>> {
    let Range { start, end } = stretch.pieces;
    let repeats = stretch.repeats && pieces.all.get(start).is_some_and(|piece| piece.repeated.is_some());
    if end - start < 2 {
        return repeats.then(|| vec![Stretch { pieces: start..end, repeats: false }]);
    }
    let middle = start + (end - start) / 2;
    Some(vec![
        Stretch { pieces: start..middle, repeats: stretch.repeats },
        Stretch { pieces: middle..end, repeats: stretch.repeats },
    ])
}

/// `None` for a stretch without pieces, which there is none of.
fn one(text: &str, pieces: &Pieces, stretch: &Stretch, rules: &ChunkRules) -> Option<Rendered> {
    let all = pieces.all.get(stretch.pieces.clone())?;
    let last = all.last()?;
    let path = common_path(all, pieces);
    // Headings at the beginning that are in the path need not be in the text.
    let is_told = |piece: &Piece| piece.is_heading() && path.starts_with(section(pieces, piece));
    let first = all.iter().find(|piece| !is_told(piece)).unwrap_or(last);
    let bytes = first.bytes.start..last.bytes.end;
    let own = text.get(bytes.clone())?;
    let repeated =
        first.repeated.as_ref().filter(|_| stretch.repeats).and_then(|(range, _)| text.get(range.clone()));
    let text = match repeated {
        Some(repeated) => format!("{repeated}\n{own}"),
        None => own.to_owned(),
    };
    let page = |piece: &Piece| piece.page;
    let pages = all.iter().find_map(page).zip(all.iter().rev().find_map(page));
    Some(Rendered { heading: heading(path, rules), text, pages, bytes, tokens: 0 })
}

fn section<'a>(pieces: &'a Pieces, piece: &Piece) -> &'a [Rc<str>] {
    pieces.sections.get(piece.section).map_or(&[], Vec::as_slice)
}

/// The headings that all of the stretch stands under. Of headings alone: those above the first one.
fn common_path<'a>(all: &[Piece], pieces: &'a Pieces) -> &'a [Rc<str>] {
    let mut bodies = all.iter().filter(|piece| !piece.is_heading()).map(|piece| section(pieces, piece));
    let Some(first) = bodies.next() else {
        let path = all.first().map_or(&[][..], |piece| section(pieces, piece));
        return path.split_last().map_or(path, |(_, above)| above);
    };
    let alike = |path: &[Rc<str>], other: &[Rc<str>]| {
        path.iter().zip(other).take_while(|(one, other)| one == other).count()
    };
    let length = bodies.fold(first.len(), |length, other| alike(first.get(..length).unwrap_or(first), other));
    first.get(..length).unwrap_or(first)
}

/// The path as a text; too long a one loses its topmost headings, then the end of the last.
fn heading(path: &[Rc<str>], rules: &ChunkRules) -> String {
    for start in 0..path.len() {
        let joined = path.get(start..).unwrap_or_default().join(PATH_SEPARATOR);
        if joined.len() <= rules.heading_bytes_max {
            return joined;
        }
    }
    path.last().map_or_else(String::new, |last| cut(last, rules.heading_bytes_max).to_owned())
}
