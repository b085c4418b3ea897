//! What is usual in a document: the size of its text, how far its lines are apart, what stands on every page.

use crate::document::BlockKind;
use crate::pdf::lines::Line;
use crate::plain::is_item;
use std::collections::{HashMap, HashSet};

/// A line is a heading if it is larger than the text by this factor and not longer than so many characters.
const HEADING_FACTOR: f64 = 1.12;
const HEADING_CHARACTERS_MAX: usize = 150;
/// The same for a line of the text's size that is bold.
const BOLD_CHARACTERS_MAX: usize = 80;
/// How many sizes of headings are told apart.
const LEVELS_MAX: usize = 4;
/// What stands at the same place on so many pages, and on so great a share of them, is not of the text.
const REPEATED_PAGES_MIN: usize = 3;
const REPEATED_SHARE: f64 = 0.6;
const REPEATED_BYTES_MAX: usize = 200;
/// The distance of lines where a document says nothing of it, in their size.
const LEADING: f64 = 1.2;

/// What is usual in a document.
#[derive(Debug)]
pub(super) struct Profile {
    /// Of most of the text, in half points.
    body: i64,
    is_body_bold: bool,
    /// Sizes of headings in half points, the largest first.
    headings: Vec<i64>,
    /// The usual distance of lines, in their size.
    pub(super) leading: f64,
    repeated: HashSet<(i64, String)>,
}

fn size(line: &Line) -> i64 {
    (line.size * 2.0).round() as i64
}

/// What makes a line the same on another page: where it stands, and what it says but for its numbers.
fn key(line: &Line) -> Option<(i64, String)> {
    let text = line.text();
    if text.len() > REPEATED_BYTES_MAX {
        return None;
    }
    let mut key = String::new();
    for character in text.trim().chars() {
        let character = if character.is_numeric() { '#' } else { character };
        if character != '#' || !key.ends_with('#') {
            key.push(character);
        }
    }
    Some(((line.y / 2.0).round() as i64, key))
}

impl Profile {
    /// Of some pages.
    pub(super) fn of(pages: &[(u32, Vec<Line>)]) -> Profile {
        let lines = || pages.iter().flat_map(|(_, lines)| lines);
        let mut sizes: HashMap<i64, (usize, usize)> = HashMap::new();
        for line in lines() {
            let length = line.cells.iter().map(String::len).sum::<usize>();
            let entry = sizes.entry(size(line)).or_default();
            entry.0 += length;
            entry.1 += if line.is_bold { length } else { 0 };
        }
        let most = sizes.iter().max_by_key(|(size, (length, _))| (*length, **size));
        let (body, is_body_bold) =
            most.map_or((24, false), |(size, (length, bold))| (*size, bold * 2 > *length));
        let is_heading = |size: &i64| *size as f64 > body as f64 * HEADING_FACTOR;
        let mut headings: Vec<i64> = sizes.keys().copied().filter(is_heading).collect();
        headings.sort_unstable_by_key(|size| -size);
        headings.dedup_by(|smaller, larger| *smaller as f64 > *larger as f64 * 0.95);
        headings.truncate(LEVELS_MAX);
        Profile { body, is_body_bold, headings, leading: leading(pages, body), repeated: repeated(pages) }
    }

    /// Whether the line stands on most pages.
    pub(super) fn is_repeated(&self, line: &Line) -> bool {
        !self.repeated.is_empty() && key(line).is_some_and(|key| self.repeated.contains(&key))
    }

    /// What a line is, by itself.
    pub(super) fn kind(&self, line: &Line, text: &str) -> BlockKind {
        let length = text.chars().count();
        let says = text.chars().any(char::is_alphabetic);
        if size(line) as f64 > self.body as f64 * HEADING_FACTOR && length <= HEADING_CHARACTERS_MAX && says {
            let larger =
                self.headings.iter().filter(|heading| **heading as f64 * 0.95 > size(line) as f64).count();
            return BlockKind::Heading { level: (larger + 1).min(LEVELS_MAX) as u8 };
        }
        let ends_sentence = text.ends_with(['.', '。', ',', '，', ';', '；', ':', '：', '!', '！']);
        let is_bold = line.is_bold && !self.is_body_bold && size(line) >= self.body;
        if is_bold && length <= BOLD_CHARACTERS_MAX && says && !ends_sentence && line.cells.len() == 1 {
            return BlockKind::Heading { level: (self.headings.len() + 1).min(6) as u8 };
        }
        if is_item(text) { BlockKind::List } else { BlockKind::Paragraph }
    }
}

/// The middle one of the distances between lines of the text.
fn leading(pages: &[(u32, Vec<Line>)], body: i64) -> f64 {
    let mut gaps: Vec<f64> = Vec::new();
    for pair in pages.iter().flat_map(|(_, lines)| lines.windows(2)) {
        let gap = (pair[0].y - pair[1].y) / pair[1].size.max(0.1);
        if size(&pair[0]) == body && size(&pair[1]) == body && gap > 0.5 && gap < 3.0 {
            gaps.push(gap);
        }
    }
    gaps.sort_unstable_by(f64::total_cmp);
    // Within paragraphs lines are closest; where most paragraphs have one line, the lower half tells.
    gaps.get(gaps.len() / 4).copied().unwrap_or(LEADING)
}

fn repeated(pages: &[(u32, Vec<Line>)]) -> HashSet<(i64, String)> {
    let mut counts: HashMap<(i64, String), usize> = HashMap::new();
    for (_, lines) in pages {
        let keys: HashSet<(i64, String)> = lines.iter().filter_map(key).collect();
        for key in keys {
            *counts.entry(key).or_default() += 1;
        }
    }
    let least = REPEATED_PAGES_MIN.max((pages.len() as f64 * REPEATED_SHARE).ceil() as usize);
    counts.into_iter().filter(|(_, count)| *count >= least).map(|(key, _)| key).collect()
}
