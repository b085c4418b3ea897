//! The numbers in brackets by which a text cites its sources, found in it as it comes and taken out of it.
//!
//! However a text is cut into pieces, the same comes of it, and what was said of it before its end is a beginning of what
//! comes of the whole.

use super::sources::Source;
use std::ops::RangeInclusive;
use std::rc::Rc;
use waggle_openai::item::FileCitation;

/// The longest mark that is looked for, in bytes.
const MARK_BYTES_MAX: usize = 64;
/// The longest number in one, in digits.
const DIGITS_MAX: usize = 3;
/// The most numbers of one mark.
const NUMBERS_MAX: usize = 16;
/// The longest run of backticks that is taken for the bound of program text.
const BACKTICKS_MAX: usize = 16;

/// What came of a piece.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Text without marks.
    pub(crate) text: String,
    /// What it cites, or what the text before it does.
    pub(crate) citations: Vec<FileCitation>,
}

/// Reads one text.
#[derive(Debug)]
pub(crate) struct Citer {
    sources: Rc<[Source]>,
    /// How many characters were handed on.
    said: u64,
    /// What may still become a mark.
    held: String,
    /// Citations in front of a text that has not begun.
    ahead: Vec<FileCitation>,
    last: Option<FileCitation>,
    /// How many backticks end the program text that has begun: marks in it are none.
    code: Option<usize>,
}

/// What stands at the beginning of a text.
enum Step {
    /// So many bytes that are no mark.
    Plain(usize),
    /// So many backticks.
    Backticks(usize),
    /// A mark of so many bytes, of which a space in front is kept or not.
    Mark { bytes: usize, space: bool, numbers: Vec<RangeInclusive<usize>> },
    /// It depends on what comes next.
    Wait,
}

/// What stands in brackets.
enum Bracket {
    Mark { bytes: usize, numbers: Vec<RangeInclusive<usize>> },
    Other,
    Wait,
}

impl Citer {
    /// Of a text that cites these by their places, from 1.
    pub(crate) fn new(sources: Rc<[Source]>) -> Self {
        Self { sources, said: 0, held: String::new(), ahead: Vec::new(), last: None, code: None }
    }

    /// Takes the next piece.
    pub(crate) fn feed(&mut self, piece: &str) -> Found {
        self.held.push_str(piece);
        self.advance(false)
    }

    /// Takes the end of the text. What comes then is another text.
    pub(crate) fn finish(&mut self) -> Found {
        let found = self.advance(true);
        *self = Self::new(Rc::clone(&self.sources));
        found
    }

    fn advance(&mut self, is_end: bool) -> Found {
        let held = std::mem::take(&mut self.held);
        let (mut rest, mut found) = (held.as_str(), Found::default());
        while !rest.is_empty() {
            let bytes = match self.step(rest, is_end) {
                Step::Wait => break,
                Step::Plain(bytes) => {
                    self.say(rest.get(..bytes).unwrap_or_default(), &mut found);
                    bytes
                }
                Step::Backticks(bytes) => {
                    self.say(rest.get(..bytes).unwrap_or_default(), &mut found);
                    self.bound(bytes);
                    bytes
                }
                Step::Mark { bytes, space, numbers } => {
                    if space {
                        self.say(" ", &mut found);
                    }
                    for number in numbers.into_iter().flatten() {
                        self.cite(number, &mut found);
                    }
                    bytes
                }
            };
            rest = rest.get(bytes..).unwrap_or_default();
        }
        rest.clone_into(&mut self.held);
        found
    }

    fn say(&mut self, text: &str, found: &mut Found) {
        if text.is_empty() {
            return;
        }
        found.text.push_str(text);
        self.said += text.chars().count() as u64;
        found.citations.append(&mut self.ahead);
        // Program text within a line ends with it, whether it was closed or not.
        if text.contains('\n') && self.code.is_some_and(|backticks| backticks < 3) {
            self.code = None;
        }
    }

    /// Program text begins or ends.
    fn bound(&mut self, backticks: usize) {
        self.code = match self.code {
            None => Some(backticks),
            Some(open) if open == backticks => None,
            open => open,
        };
    }

    /// Cites the source of that number, if there is one. What is cited twice at one place is cited once.
    fn cite(&mut self, number: usize, found: &mut Found) {
        let Some(source) = number.checked_sub(1).and_then(|place| self.sources.get(place)) else { return };
        let citation = FileCitation {
            file_id: source.file_id.clone(),
            filename: source.filename.clone(),
            index: self.said,
        };
        if self.last.as_ref() == Some(&citation) {
            return;
        }
        self.last = Some(citation.clone());
        // A citation belongs to a part that has begun.
        let list = if self.said == 0 { &mut self.ahead } else { &mut found.citations };
        list.push(citation);
    }

    fn step(&self, text: &str, is_end: bool) -> Step {
        let (space, at) = if text.starts_with(' ') { (true, 1) } else { (false, 0) };
        let rest = text.get(at..).unwrap_or_default();
        match rest.chars().next() {
            None if is_end => Step::Plain(at),
            None => Step::Wait,
            Some('`') if !space => backticks(rest, is_end),
            Some('[' | '【') if self.code.is_none() => match bracket(rest, is_end) {
                Bracket::Wait => Step::Wait,
                Bracket::Other => Step::Plain(at + rest.chars().next().map_or(0, char::len_utf8)),
                Bracket::Mark { bytes, numbers } => {
                    let next = rest.get(bytes..).and_then(|after| after.chars().next());
                    let space = space && next.is_some_and(char::is_alphanumeric);
                    Step::Mark { bytes: at + bytes, space, numbers }
                }
            },
            Some(_) if space => Step::Plain(at),
            Some(_) => {
                let plain = |character: char| !matches!(character, ' ' | '`' | '[' | '【' | '\n');
                let first = rest.chars().next().map_or(0, char::len_utf8);
                let more = rest.get(first..).unwrap_or_default();
                Step::Plain(first + more.find(|character| !plain(character)).unwrap_or(more.len()))
            }
        }
    }
}

fn backticks(text: &str, is_end: bool) -> Step {
    let run = text.bytes().take_while(|byte| *byte == b'`').take(BACKTICKS_MAX).count();
    if run == text.len() && run < BACKTICKS_MAX && !is_end { Step::Wait } else { Step::Backticks(run) }
}

/// What stands at the beginning of `text`, which is an opening bracket: `[1]`, `[2, 3]`, `[1-3]`, `【4】`, `【5†name】`.
fn bracket(text: &str, is_end: bool) -> Bracket {
    let (open, close) = if text.starts_with('[') { ('[', ']') } else { ('【', '】') };
    let inside = text.get(open.len_utf8()..).unwrap_or_default();
    let head = inside.get(..inside.floor_char_boundary(MARK_BYTES_MAX)).unwrap_or_default();
    let Some(end) = head.find(close) else {
        let undecided = head.len() == inside.len() && !is_end && may_be_numbers(head, open);
        return if undecided { Bracket::Wait } else { Bracket::Other };
    };
    let Some(numbers) = head.get(..end).and_then(|inside| numbers(inside, open)) else { return Bracket::Other };
    let bytes = open.len_utf8() + end + close.len_utf8();
    match text.get(bytes..).and_then(|after| after.chars().next()) {
        None if !is_end => Bracket::Wait,
        // A link of Markdown's.
        Some('(') if open == '[' => Bracket::Other,
        _ => Bracket::Mark { bytes, numbers },
    }
}

/// Whether this may be the beginning of what stands in a mark.
fn may_be_numbers(text: &str, open: char) -> bool {
    let numbers = if open == '【' { text.split('†').next().unwrap_or_default() } else { text };
    numbers.chars().all(|character| character.is_ascii_digit() || is_separator(character) || is_range(character))
}

fn is_separator(character: char) -> bool {
    matches!(character, ' ' | ',' | ';' | '\u{ff0c}' | '\u{3001}')
}

fn is_range(character: char) -> bool {
    matches!(character, '-' | '–')
}

/// The numbers in a mark; `None` where there is anything else.
fn numbers(text: &str, open: char) -> Option<Vec<RangeInclusive<usize>>> {
    let text = if open == '【' { text.split('†').next()? } else { text };
    let number = |text: &str| {
        let digits = (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<usize>().ok().filter(|_| digits)
    };
    let range = |word: &str| match word.split_once(is_range) {
        None => number(word).map(|one| one..=one),
        Some((from, to)) => {
            let (from, to) = (number(from)?, number(to)?);
            (from <= to && to - from < NUMBERS_MAX).then_some(from..=to)
        }
    };
    let words: Vec<&str> = text.split(is_separator).filter(|word| !word.is_empty()).collect();
    if words.is_empty() || words.len() > NUMBERS_MAX {
        return None;
    }
    words.into_iter().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sources() -> Rc<[Source]> {
        let source = |name: &str| Source { file_id: name.to_owned(), filename: format!("{name}.md"), text: String::new() };
        [source("a"), source("b"), source("a")].into()
    }

    /// What comes of a text in these pieces: the text, and each citation as its file and place.
    fn read<'p>(pieces: impl IntoIterator<Item = &'p str>) -> (String, Vec<(String, u64)>) {
        let mut citer = Citer::new(sources());
        let mut found: Vec<Found> = pieces.into_iter().map(|piece| citer.feed(piece)).collect();
        found.push(citer.finish());
        let text = found.iter().map(|found| found.text.as_str()).collect();
        let cited = found.iter().flat_map(|found| &found.citations);
        (text, cited.map(|citation| (citation.file_id.clone(), citation.index)).collect())
    }

    fn check(text: &str, expected: &str, cited: &[(&str, u64)]) {
        let (said, found) = read([text]);
        let found: Vec<(&str, u64)> = found.iter().map(|(file, index)| (file.as_str(), *index)).collect();
        assert_eq!((said.as_str(), found.as_slice()), (expected, cited), "{text}");
    }

    #[test]
    fn numbers_become_citations_of_the_place_where_they_stood() {
        check("Paris [1].", "Paris.", &[("a", 5)]);
        check("Paris[1], Rome [2].", "Paris, Rome.", &[("a", 5), ("b", 11)]);
        check("Both [1][2] are.", "Both are.", &[("a", 4), ("b", 4)]);
        check("Both [1] [2]", "Both", &[("a", 4), ("b", 4)]);
        check("All [1, 2;3] x", "All x", &[("a", 3), ("b", 3), ("a", 3)]);
        check("All [1-2] x", "All x", &[("a", 3), ("b", 3)]);
        check("巴黎【1】。罗马【2†source】", "巴黎。罗马", &[("a", 2), ("b", 5)]);
        check("[1] says so", " says so", &[("a", 0)]);
        check("one [2]two", "one two", &[("b", 4)]);
    }

    #[test]
    fn what_is_cited_twice_at_one_place_is_cited_once() {
        check("x [1][3] y [1]", "x y", &[("a", 1), ("a", 3)]);
    }

    #[test]
    fn numbers_of_no_source_are_taken_out() {
        check("x [4] y [0].", "x y.", &[]);
        check("x [1, 9].", "x.", &[("a", 1)]);
        check("[7]", "", &[]);
        check("[1]", "", &[]);
    }

    #[test]
    fn what_is_no_mark_stays() {
        for text in [
            "[a]", "[]", "[ ]", "[1", "[1 and", "[2024]", "[1](https://e.x)", "[[", "a [b [", "[-]", "[3-1]", "[1,x]",
            "【】", "x `a[1]` y", "```\na[1] [2]\n```", "  ", "x  y", "`", "[1-900]", "[1.5]",
        ] {
            check(text, text, &[]);
        }
        let long = format!("[{}]", "1,".repeat(100));
        check(&long, &long, &[]);
        check("an odd ` here [1]\nand [2]", "an odd ` here [1]\nand", &[("b", 21)]);
    }

    proptest! {
        #[test]
        fn however_a_text_is_cut_the_same_comes_of_it(
            text in "[ a`1-3,\\[\\]【】†(\\n巴]{0,60}",
            cuts in prop::collection::vec(0usize..200, 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| text.floor_char_boundary(cut)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]);
            prop_assert_eq!(read(pieces), read([text.as_str()]));
        }

        #[test]
        fn what_is_said_before_the_end_begins_what_comes_of_the_whole(
            text in "[ a`1-3,\\[\\]【】†(\\n巴]{0,60}",
            cut in 0usize..200,
        ) {
            let (whole, cited) = read([text.as_str()]);
            let mut citer = Citer::new(sources());
            let begun = citer.feed(&text[..text.floor_char_boundary(cut)]);
            prop_assert!(whole.starts_with(&begun.text), "{:?} {:?}", whole, begun.text);
            let told = begun.citations.iter().map(|one| (one.file_id.clone(), one.index)).collect::<Vec<_>>();
            prop_assert!(cited.starts_with(&told), "{:?} {:?}", cited, told);
            prop_assert!(citer.held.len() <= MARK_BYTES_MAX + 8);
            let characters = whole.chars().count() as u64;
            prop_assert!(cited.iter().all(|(_, index)| *index <= characters));
        }
    }
}
