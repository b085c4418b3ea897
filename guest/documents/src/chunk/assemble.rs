//! Which pieces go together: a decision by their tokens and places, before any text is made.

use super::ChunkRules;
use super::piece::{Piece, Pieces};
use std::ops::Range;

/// Neighbouring pieces that are to be a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Their numbers.
    pub(super) pieces: Range<usize>,
    /// Whether what their first piece repeats stands before them.
    pub(super) repeats: bool,
}

/// Puts pieces together.
pub(super) fn stretches(pieces: &Pieces, rules: &ChunkRules) -> Vec<Stretch> {
    let mut assembler =
        Assembler { pieces, rules, done: Vec::new(), from: 0, tokens: 0, bytes: 0, has_body: false };
    for at in 0..pieces.all.len() {
        assembler.take(at);
    }
    assembler.close(pieces.all.len());
    assembler.done
}

struct Assembler<'a> {
    pieces: &'a Pieces,
    rules: &'a ChunkRules,
    done: Vec<Stretch>,
    /// The first piece of the chunk that is open.
    from: usize,
    /// About how many tokens and bytes it has.
    tokens: u32,
    bytes: usize,
    /// Whether it has more than headings.
    has_body: bool,
}

impl Assembler<'_> {
    fn piece(&self, at: usize) -> Option<&Piece> {
        self.pieces.all.get(at)
    }

    fn take(&mut self, at: usize) {
        let Some(piece) = self.pieces.all.get(at) else { return };
        if self.has_body {
            if self.begins_anew(at, piece) {
                self.close(at);
            } else if !self.fits(piece.tokens, piece.bytes.len()) {
                self.close_full(at, piece);
            }
        }
        self.add(at, piece);
    }

    fn add(&mut self, at: usize, piece: &Piece) {
        // Headings before everything else are the chunk's path, not its text.
        if piece.is_heading() && !self.has_body {
            return;
        }
        if !self.has_body
            && let Some((bytes, tokens)) = &piece.repeated
            && at == self.from
        {
            self.tokens += tokens + 1;
            self.bytes += bytes.len() + 1;
        }
        self.has_body |= !piece.is_heading();
        self.tokens = self.tokens.saturating_add(piece.tokens).saturating_add(1);
        self.bytes += piece.bytes.len() + 2;
    }

    fn fits(&self, tokens: u32, bytes: usize) -> bool {
        self.tokens.saturating_add(tokens) <= self.rules.tokens_max
            && self.bytes + bytes <= self.rules.text_bytes_max
    }

    /// Whether a piece begins a chunk although there is room in the one before.
    fn begins_anew(&self, at: usize, piece: &Piece) -> bool {
        let Some(before) = at.checked_sub(1).and_then(|before| self.piece(before)) else { return false };
        if before.block == piece.block {
            return false;
        }
        let is_question = |piece: &Piece| matches!(piece.kind, crate::document::BlockKind::QuestionAnswer);
        if is_question(piece) || is_question(before) {
            return true;
        }
        if piece.is_heading() {
            let depth = |piece: &Piece| self.pieces.sections.get(piece.section).map_or(0, Vec::len);
            let first = self.piece(self.from).map_or(0, depth);
            return self.tokens >= self.rules.section_tokens_min || depth(piece) < first;
        }
        piece.is_kept_whole() && {
            let (tokens, bytes) = self.whole(at, piece.block);
            tokens <= self.rules.tokens_max && bytes <= self.rules.text_bytes_max && !self.fits(tokens, bytes)
        }
    }

    /// The tokens and bytes of a block.
    fn whole(&self, at: usize, block: usize) -> (u32, usize) {
        let rest = self.pieces.all.get(at..).unwrap_or_default();
        let of_block = rest.iter().take_while(|piece| piece.block == block);
        of_block.fold((0, 0), |(tokens, bytes), piece| {
            (tokens.saturating_add(piece.tokens).saturating_add(1), bytes + piece.bytes.len() + 2)
        })
    }

    /// Ends the chunk before a piece.
    fn close(&mut self, at: usize) {
        // A heading belongs to what follows it.
        let mut end = at;
        while self.has_body
            && end > self.from
            && self.piece(end - 1).is_some_and(Piece::is_heading)
            && at < self.pieces.all.len()
        {
            end -= 1;
        }
        if end > self.from {
            self.done.push(Stretch { pieces: self.from..end, repeats: true });
        }
        (self.from, self.tokens, self.bytes, self.has_body) = (end, 0, 0, false);
    }

    /// Ends the chunk before a piece for which there is no room; running text is shared with the next one.
    fn close_full(&mut self, at: usize, piece: &Piece) {
        let first = self.from;
        self.close(at);
        if self.from != at || !piece.flows() {
            return;
        }
        let mut overlap = 0u32;
        let mut bytes = 0;
        let mut start = at;
        while start > first + 1
            && let Some(before) = self.piece(start - 1)
        {
            let more = overlap.saturating_add(before.tokens).saturating_add(1);
            let is_shared =
                before.flows() && before.section == piece.section && more <= self.rules.overlap_tokens;
            let has_room = more.saturating_add(piece.tokens) <= self.rules.tokens_max
                && bytes + before.bytes.len() + piece.bytes.len() + 2 <= self.rules.text_bytes_max;
            if !is_shared || !has_room {
                break;
            }
            overlap = more;
            bytes += before.bytes.len() + 2;
            start -= 1;
        }
        (self.from, self.tokens, self.bytes, self.has_body) = (start, overlap, bytes, start < at);
    }
}
