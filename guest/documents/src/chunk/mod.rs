//! Documents to chunks: pieces that are indexed and found by themselves.
//!
//! By structure: a chunk is a stretch of the document that ends where a section, a table, a list or at least a sentence does.
//! Sections are joined only while they are tiny. A question stays with its answer, a table is parted between its rows and
//! each part has its header again. Where running text is longer than a chunk, the next one begins with the last sentences of
//! the one before, so that no sentence stands without what it refers to.

mod assemble;
mod piece;
mod render;

use crate::document::Document;
use crate::hash::hash;
use std::ops::Range;

/// How a document is parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRules {
    /// How many tokens the text of a chunk has at most, by the given count; at least 16.
    pub tokens_max: u32,
    /// About how many tokens of running text two neighbours share; at most half of `tokens_max` counts.
    pub overlap_tokens: u32,
    /// A section with fewer tokens is joined with the next one.
    pub section_tokens_min: u32,
    /// How many bytes the text of a chunk has at most; at least 64.
    pub text_bytes_max: usize,
    /// How many bytes the headings of a chunk have at most; the topmost are left out first.
    pub heading_bytes_max: usize,
    /// How many chunks a document has at most.
    pub chunks_max: usize,
}

/// OpenAI's 800 and 400 tokens, and the bounds of `waggle:vector`.
impl Default for ChunkRules {
    fn default() -> ChunkRules {
        ChunkRules {
            tokens_max: 800,
            overlap_tokens: 400,
            section_tokens_min: 64,
            text_bytes_max: 32 << 10,
            heading_bytes_max: 1_024,
            chunks_max: 100_000,
        }
    }
}

impl ChunkRules {
    /// The rules with what cannot be met brought to what can.
    fn sound(self) -> ChunkRules {
        let tokens_max = self.tokens_max.max(16);
        ChunkRules {
            tokens_max,
            overlap_tokens: self.overlap_tokens.min(tokens_max / 2),
            section_tokens_min: self.section_tokens_min.min(tokens_max),
            text_bytes_max: self.text_bytes_max.max(64),
            ..self
        }
    }
}

/// A document cannot be parted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// It would take more chunks than the rules allow.
    #[error("The file is too large: it has more than {0} chunks.")]
    TooMany(usize),
}

impl ChunkError {
    /// The same code as that of a file that is too large to be read.
    pub fn code(&self) -> &'static str {
        "file_too_large"
    }
}

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its number, from 0.
    pub ordinal: u32,
    /// The headings it stands under, the topmost first, with ` > ` between them.
    pub heading: String,
    /// Its text, never empty. It is what stands at `bytes` in the document; before it may stand, again, the header of its
    /// table or the question that it is a part of the answer to.
    pub text: String,
    /// The first and the last page it stands on, where the document has pages.
    pub pages: Option<(u32, u32)>,
    /// Where it stands in [`Document::text`], in bytes.
    pub bytes: Range<usize>,
    /// The same in characters.
    pub characters: Range<usize>,
    /// How many tokens its text has.
    pub tokens: u32,
    /// A hash of its headings and text, 32 hexadecimal digits: the same for the same chunk of another version of the document.
    pub hash: String,
}

/// Parts a document. `count` counts the tokens of texts, in their order; it is called with a bounded number of them at a
/// time.
///
/// No chunk has more tokens or bytes than the rules say, except where a single character has. All chunks with their headings
/// are all of the document.
///
/// # Errors
/// [`ChunkError::TooMany`].
pub fn chunk(
    document: &Document,
    rules: &ChunkRules,
    count: &dyn Fn(&[&str]) -> Vec<u32>,
) -> Result<Vec<Chunk>, ChunkError> {
    let rules = rules.sound();
    let text = document.text();
    let counter = Counter(count);
    let pieces = piece::pieces(document, &text, &rules, &counter);
    let stretches = assemble::stretches(&pieces, &rules);
    let rendered = render::render(&text, &pieces, stretches, &rules, &counter)?;
    Ok(finished(&text, rendered))
}

/// Counts tokens, in batches.
struct Counter<'a>(&'a dyn Fn(&[&str]) -> Vec<u32>);

impl Counter<'_> {
    /// How many texts, and about how many bytes of them, are counted at once.
    const BATCH_TEXTS_MAX: usize = 512;
    const BATCH_BYTES_MAX: usize = 256 << 10;

    /// The tokens of each text. What is not counted is estimated, so that a counter that fails makes chunks all the same.
    fn count(&self, texts: &[&str]) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(texts.len());
        let mut rest = texts;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(Self::BATCH_TEXTS_MAX).take_while(|text| {
                bytes += text.len();
                bytes <= Self::BATCH_BYTES_MAX
            });
            let (batch, after) = rest.split_at(fits.count().max(1));
            let mut counted = (self.0)(batch);
            counted.truncate(batch.len());
            for text in batch.get(counted.len()..).unwrap_or_default() {
                counted.push(u32::try_from(text.len().div_ceil(3)).unwrap_or(u32::MAX));
            }
            tokens.append(&mut counted);
            rest = after;
        }
        tokens
    }
}

/// Numbers, hashes and places in characters.
fn finished(text: &str, rendered: Vec<render::Rendered>) -> Vec<Chunk> {
    let (mut start, mut end) = (Cursor::default(), Cursor::default());
    let number = |(chunk, ordinal): (render::Rendered, u32)| Chunk {
        ordinal,
        hash: hash(&[&chunk.heading, &chunk.text]),
        characters: start.at(text, chunk.bytes.start)..end.at(text, chunk.bytes.end),
        heading: chunk.heading,
        text: chunk.text,
        pages: chunk.pages,
        bytes: chunk.bytes,
        tokens: chunk.tokens,
    };
    rendered.into_iter().zip(0..).map(number).collect()
}

/// Counts characters while it goes on through a text.
#[derive(Default)]
struct Cursor {
    byte: usize,
    character: usize,
}

impl Cursor {
    fn at(&mut self, text: &str, byte: usize) -> usize {
        if byte < self.byte {
            *self = Cursor::default();
        }
        self.character += text.get(self.byte..byte).map_or(0, |part| part.chars().count());
        self.byte = byte;
        self.character
    }
}
