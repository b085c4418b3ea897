//! The pieces that chunks are made of: sentences, rows, items; none larger than a chunk may be.

use super::{ChunkRules, Counter};
use crate::document::{Block, BlockKind, Document};
use crate::sentence::sentences;
use std::ops::Range;
use std::rc::Rc;

/// Sentences are joined up to so many bytes, so that a text of nothing but periods is not millions of pieces.
const PIECE_BYTES_MIN: usize = 48;
/// A header or a question is repeated if it has at most this share of a chunk's tokens.
const REPEATED_SHARE: u32 = 4;

/// A stretch of the document that is not parted.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Where it stands in the document's text, without white space around it.
    pub(super) bytes: Range<usize>,
    pub(super) tokens: u32,
    pub(super) kind: BlockKind,
    /// The number of its block.
    pub(super) block: usize,
    pub(super) page: Option<u32>,
    /// The number of its section in [`Pieces::sections`].
    pub(super) section: usize,
    /// What is repeated before it where it begins a chunk, and how many tokens that has.
    pub(super) repeated: Option<(Range<usize>, u32)>,
}

impl Piece {
    pub(super) fn is_heading(&self) -> bool {
        matches!(self.kind, BlockKind::Heading { .. })
    }

    /// Whether it is of running text, which may be shared by two chunks.
    pub(super) fn flows(&self) -> bool {
        matches!(self.kind, BlockKind::Paragraph | BlockKind::List)
    }

    /// Whether its block is to stay whole.
    pub(super) fn is_kept_whole(&self) -> bool {
        matches!(
            self.kind,
            BlockKind::Table { .. } | BlockKind::Code | BlockKind::Record | BlockKind::QuestionAnswer
        )
    }
}

/// All pieces of a document.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) all: Vec<Piece>,
    /// The headings of each section, the topmost first.
    pub(super) sections: Vec<Vec<Rc<str>>>,
}

/// Parts a document into pieces.
pub(super) fn pieces(document: &Document, text: &str, rules: &ChunkRules, counter: &Counter<'_>) -> Pieces {
    let mut sections: Vec<Vec<Rc<str>>> = vec![Vec::new()];
    let mut open: Vec<(u8, Rc<str>)> = Vec::new();
    let mut all = Vec::new();
    for (number, block) in document.blocks.iter().enumerate() {
        if let BlockKind::Heading { level } = block.kind {
            open.retain(|(other, _)| *other < level);
            open.push((level, block.text.as_str().into()));
            sections.push(open.iter().map(|(_, heading)| Rc::clone(heading)).collect());
        }
        let section = sections.len() - 1;
        for bytes in parts(block) {
            let Some(bytes) = trimmed(text, block.offset + bytes.start..block.offset + bytes.end) else {
                continue;
            };
            let Block { kind, page, .. } = *block;
            all.push(Piece { bytes, tokens: 0, kind, block: number, page, section, repeated: None });
        }
    }
    let all = counted(text, all, rules, counter);
    let mut pieces = Pieces { all, sections };
    repeat(&mut pieces, rules);
    pieces
}

/// The parts of a block, in its own bytes.
fn parts(block: &Block) -> Vec<Range<usize>> {
    let text = block.text.as_str();
    match block.kind {
        BlockKind::Heading { .. } => std::iter::once(0..text.len()).collect(),
        BlockKind::Paragraph => joined(sentences(text)),
        BlockKind::List | BlockKind::Record => joined(lines(text)),
        BlockKind::Table { .. } => {
            let mut rows = lines(text).into_iter();
            rows.next().into_iter().chain(joined(rows.collect())).collect()
        }
        BlockKind::QuestionAnswer => {
            let question = text.find('\n').map_or(text.len(), |at| at + 1);
            let (_, answer) = text.split_at(question);
            let answer = joined(sentences(answer)).into_iter();
            let answer = answer.map(|part| question + part.start..question + part.end);
            std::iter::once(0..question).chain(answer).collect()
        }
        BlockKind::Code => paragraphs(text),
    }
}

/// Ranges that are joined until each has enough bytes.
fn joined(ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut long: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match long.last_mut() {
            Some(last) if last.len() < PIECE_BYTES_MIN => last.end = range.end,
            _ => long.push(range),
        }
    }
    long
}

fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let range = |line: &str| {
        let from = start;
        start += line.len();
        from..start
    };
    text.split_inclusive('\n').map(range).collect()
}

/// Lines up to a blank one.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    let mut is_new = true;
    for line in lines(text) {
        let is_blank = text.get(line.clone()).unwrap_or_default().trim().is_empty();
        match all.last_mut() {
            Some(last) if !is_new || last.len() < PIECE_BYTES_MIN => last.end = line.end,
            _ => all.push(line),
        }
        is_new = is_blank;
    }
    all
}

/// A range without white space at its ends, but with the indentation of its first line; `None` if nothing is left.
fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = text.get(range.clone())?;
    let end = range.start + part.trim_end().len();
    let blank = part.len() - part.trim_start().len();
    let indentation = part.get(..blank)?.rsplit('\n').next().map_or(0, str::len);
    let start = range.start + blank - indentation;
    (part.len() > blank).then_some(start..end)
}

/// Counts the tokens of pieces; parts those that are larger than a chunk until none is.
fn counted(text: &str, pieces: Vec<Piece>, rules: &ChunkRules, counter: &Counter<'_>) -> Vec<Piece> {
    let slice = |piece: &Piece| text.get(piece.bytes.clone()).unwrap_or_default();
    // Before anything is counted: what is much too long is parted, so that counting is not repeated over the whole.
    let bytes_max = (rules.tokens_max as usize).saturating_mul(8).min(rules.text_bytes_max);
    let mut pieces = parted(text, pieces, |piece| piece.bytes.len() > bytes_max);
    let mut fresh = vec![true; pieces.len()];
    while fresh.contains(&true) {
        let texts: Vec<&str> =
            pieces.iter().zip(&fresh).filter(|(_, fresh)| **fresh).map(|(piece, _)| slice(piece)).collect();
        let mut tokens = counter.count(&texts).into_iter();
        for (piece, _) in pieces.iter_mut().zip(&fresh).filter(|(_, fresh)| **fresh) {
            piece.tokens = tokens.next().unwrap_or(0);
        }
        let is_too_large =
            |piece: &Piece| piece.tokens > rules.tokens_max && slice(piece).chars().nth(1).is_some();
        let mut next = Vec::with_capacity(pieces.len());
        fresh.clear();
        for piece in pieces {
            let halves = if is_too_large(&piece) { halves(text, &piece) } else { None };
            match halves {
                Some(halves) => {
                    fresh.extend(halves.iter().map(|_| true));
                    next.extend(halves);
                }
                None => {
                    fresh.push(false);
                    next.push(piece);
                }
            }
        }
        pieces = next;
    }
    pieces
}

/// Halves pieces, and their halves, for as long as they are too large.
fn parted(text: &str, pieces: Vec<Piece>, is_too_large: impl Fn(&Piece) -> bool) -> Vec<Piece> {
    let mut done = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let mut waiting = vec![piece];
        while let Some(piece) = waiting.pop() {
            match if is_too_large(&piece) { halves(text, &piece) } else { None } {
                Some(halves) => waiting.extend(halves.into_iter().rev()),
                None => done.push(piece),
            }
        }
    }
    done
}

/// The parts of a piece, two of them unless one is blank; `None` where it cannot be parted.
fn halves(text: &str, piece: &Piece) -> Option<Vec<Piece>> {
    let slice = text.get(piece.bytes.clone())?;
    let cut = piece.bytes.start + cut(slice)?;
    let part = |range: Range<usize>| Some(Piece { bytes: trimmed(text, range)?, ..piece.clone() });
    let halves = [part(piece.bytes.start..cut), part(cut..piece.bytes.end)];
    Some(halves.into_iter().flatten().collect())
}

/// Where a text is best parted near its middle: after a line, a clause, a word, else between characters.
fn cut(text: &str) -> Option<usize> {
    let middle = text.len() / 2;
    let (from, to) = (text.len() / 4, text.len() - text.len() / 4);
    let mut best: Option<(u8, usize, usize)> = None;
    for (at, character) in text.char_indices() {
        let after = at + character.len_utf8();
        if after < from || after >= to.max(from + 1) {
            continue;
        }
        let worth = match character {
            '\n' => 0,
            ',' | ';' | '，' | '；' | '、' | '：' | '|' => 1,
            _ if character.is_whitespace() => 2,
            _ => 3,
        };
        let candidate = (worth, after.abs_diff(middle), after);
        if best.is_none_or(|best| candidate < best) {
            best = Some(candidate);
        }
    }
    let first = text.chars().next().map_or(0, char::len_utf8);
    let cut = best.map_or(first, |(_, _, after)| after);
    (cut > 0 && cut < text.len()).then_some(cut)
}

/// Notes what is repeated: the header of a table before its other rows, a question before the parts of its answer.
fn repeat(pieces: &mut Pieces, rules: &ChunkRules) {
    let mut first: Option<(usize, Range<usize>, u32)> = None;
    for piece in &mut pieces.all {
        let has_head = matches!(piece.kind, BlockKind::Table { header: true } | BlockKind::QuestionAnswer);
        match &first {
            Some((block, bytes, tokens)) if *block == piece.block => {
                let fits =
                    *tokens <= rules.tokens_max / REPEATED_SHARE && bytes.len() < rules.text_bytes_max / 2;
                piece.repeated = (has_head && fits).then(|| (bytes.clone(), *tokens));
            }
            _ => first = Some((piece.block, piece.bytes.clone(), piece.tokens)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parted_after_a_line_rather_than_a_word() {
        assert_eq!(cut("one two\nthree four five"), Some(8));
        assert_eq!(cut("one two three"), Some(4));
        assert_eq!(cut("one, two three"), Some(4));
        assert_eq!(cut("一二三四"), Some(6));
        assert_eq!(cut("一"), None);
        assert_eq!(cut(""), None);
        assert_eq!(cut("一a"), Some(3));
    }

    #[test]
    fn code_is_parted_at_blank_lines() {
        let long = "x".repeat(PIECE_BYTES_MIN);
        let text = format!("{long}\n  y\n\n{long}\n");
        let found: Vec<&str> = paragraphs(&text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, [format!("{long}\n  y\n\n"), format!("{long}\n")]);
    }
}
