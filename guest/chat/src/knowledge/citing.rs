//! What an answer cites of what was found, while it is being said: by either API that a model is asked by.
//!
//! However a text is cut into pieces, the same comes of it, and what was said of it before its end is a beginning of what
//! comes of the whole. So an endpoint that repeats at the end what it said in pieces is not contradicted.

use std::rc::Rc;
use waggle_model::responses::{Answer, OutputItem};
use waggle_openai::item::{Citation, FileCitation, Item, Part, TextPart};
use waggle_search::citations::{Annotation, Citations, Cited, CitedFile};

/// The longest answer that is kept for questions that are alike, in bytes.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// What came of a piece of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Text without the numbers of sources.
    pub(crate) text: String,
    /// What it cites, or what the text before it does.
    pub(crate) citations: Vec<Citation>,
}

/// One text, as it is being said.
#[derive(Debug)]
struct Reader {
    citations: Citations,
    /// Citations in front of a text that has not begun: they belong to a part, and there is none yet.
    ahead: Option<Vec<Citation>>,
}

fn citation(annotation: Annotation) -> Citation {
    let Annotation { file_id, filename, index, .. } = annotation;
    Citation::File(FileCitation { file_id, filename, index: index as u64 })
}

impl Reader {
    fn new(files: &Rc<[CitedFile]>) -> Self {
        Self { citations: Citations::new(files.to_vec()), ahead: Some(Vec::new()) }
    }

    fn feed(&mut self, piece: &str) -> Found {
        let cited = self.citations.feed(piece);
        self.found(cited)
    }

    fn end(&mut self) -> Found {
        let cited = self.citations.end();
        self.found(cited)
    }

    fn found(&mut self, Cited { text, annotations }: Cited) -> Found {
        let mut citations: Vec<Citation> = annotations.into_iter().map(citation).collect();
        if let Some(ahead) = &mut self.ahead {
            ahead.append(&mut citations);
            if !text.is_empty() {
                citations = self.ahead.take().unwrap_or_default();
            }
        }
        Found { text, citations }
    }
}

/// Finds the citations of one answer.
#[derive(Debug)]
pub(crate) struct Citing {
    files: Rc<[CitedFile]>,
    /// The text that is being said, of a model whose answer comes as one.
    text: Reader,
    /// The parts that are being said, of a model that adds its items itself: of each item one, with both their indices.
    parts: Vec<(usize, usize, Reader)>,
    /// The answer with its numbers, until it is too long to be kept.
    said: Option<String>,
}

impl Citing {
    /// Of an answer that cites these by their places, from 1.
    pub(crate) fn new(files: Rc<[CitedFile]>) -> Self {
        let text = Reader::new(&files);
        Self { files, text, parts: Vec::new(), said: Some(String::new()) }
    }

    /// Takes more of a text.
    pub(crate) fn feed(&mut self, piece: &str) -> Found {
        self.note(piece);
        self.text.feed(piece)
    }

    /// Takes the end of a text. What comes then is another one.
    pub(crate) fn end(&mut self) -> Found {
        let found = self.text.end();
        self.text = Reader::new(&self.files);
        found
    }

    /// Goes on to a part of an item: the part before it ends, and what was held back of it comes.
    pub(crate) fn leave_part(&mut self, at: usize, part: usize) -> Option<(usize, Found)> {
        let (_, known, reader) = self.parts.iter_mut().find(|(item, ..)| *item == at)?;
        if *known == part {
            return None;
        }
        let (before, rest) = (*known, reader.end());
        (*known, *reader) = (part, Reader::new(&self.files));
        Some((before, rest))
    }

    /// Takes more of a part of an item, the one that is being said.
    pub(crate) fn feed_part(&mut self, at: usize, part: usize, piece: &str) -> Found {
        if let Some((.., reader)) = self.parts.iter_mut().find(|(item, ..)| *item == at) {
            return reader.feed(piece);
        }
        let mut reader = Reader::new(&self.files);
        let found = reader.feed(piece);
        self.parts.push((at, part, reader));
        found
    }

    /// An item as it ended, with what was found in all its texts.
    pub(crate) fn whole(&mut self, at: usize, mut ended: OutputItem) -> OutputItem {
        self.parts.retain(|(item, ..)| *item != at);
        let Some(Item::Message { parts, .. }) = &mut ended.item else { return ended };
        for part in parts {
            if let Part::Text(text) = part {
                self.note(&text.text);
                self.read(text);
            }
        }
        ended
    }

    /// An answer as it ended, in the same way. Its items that had ended before are read again, and are the same again.
    pub(crate) fn whole_answer(&mut self, mut answer: Answer) -> Answer {
        if let Some(said) = &mut self.said {
            said.clear();
        }
        let items = std::mem::take(&mut answer.items);
        answer.items = items.into_iter().enumerate().map(|(at, item)| self.whole(at, item)).collect();
        answer
    }

    fn read(&self, text: &mut TextPart<'static>) {
        let mut reader = Reader::new(&self.files);
        let (mut found, rest) = (reader.feed(&text.text), reader.end());
        found.text.push_str(&rest.text);
        found.citations.extend(rest.citations);
        text.text = found.text.into();
        text.annotations = found.citations;
    }

    fn note(&mut self, piece: &str) {
        match &mut self.said {
            Some(said) if said.len() + piece.len() <= KEPT_BYTES_MAX => said.push_str(piece),
            said => *said = None,
        }
    }

    /// The answer with its numbers, once; `None` where it was too long, or there is none.
    pub(crate) fn take_said(&mut self) -> Option<String> {
        self.said.take().filter(|said| !said.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use waggle_openai::item::Role;

    fn citing() -> Citing {
        let file = |id: &str| CitedFile { file_id: id.to_owned(), filename: format!("{id}.md") };
        Citing::new([file("a"), file("b")].into())
    }

    /// Which files are cited, and where.
    fn places(citations: &[Citation]) -> Vec<(&str, u64)> {
        let files = citations.iter().filter_map(|citation| match citation {
            Citation::File(file) => Some((file.file_id.as_str(), file.index)),
            Citation::Url(_) => None,
        });
        files.collect()
    }

    #[test]
    fn texts_that_follow_one_another_are_cited_each_for_itself() {
        let mut citing = citing();
        for _ in 0..2 {
            let (found, rest) = (citing.feed("Yes [1"), citing.feed("] no"));
            assert_eq!((found.text.as_str(), rest.text.as_str()), ("Yes", " no"));
            assert_eq!(places(&rest.citations), [("a", 3)]);
            assert_eq!(citing.end(), Found::default());
        }
        assert_eq!(citing.take_said().unwrap(), "Yes [1] noYes [1] no");
        assert_eq!(citing.take_said(), None, "it is given once");
    }

    #[test]
    fn a_citation_in_front_of_a_text_waits_for_its_beginning() {
        let mut citing = citing();
        assert_eq!(citing.feed("[2]"), Found::default());
        let found = citing.feed(" so");
        assert_eq!(places(&found.citations), [("b", 0)]);
    }

    #[test]
    fn parts_and_items_are_read_side_by_side() {
        let mut citing = citing();
        assert_eq!(citing.feed_part(0, 0, "a [").text, "a");
        assert_eq!(citing.feed_part(1, 0, "b ").text, "b");
        assert_eq!(citing.leave_part(0, 0), None);
        let (before, rest) = citing.leave_part(0, 1).unwrap();
        assert_eq!((before, rest.text.as_str()), (0, " ["));
        let found = citing.feed_part(0, 1, "c [1].");
        assert_eq!((found.text.as_str(), places(&found.citations)), ("c.", vec![("a", 1)]));
    }

    #[test]
    fn an_answer_that_is_too_long_is_not_kept() {
        let mut citing = citing();
        citing.feed(&"x".repeat(KEPT_BYTES_MAX));
        citing.feed("y");
        assert_eq!(citing.take_said(), None);
    }

    proptest! {
        #[test]
        fn what_is_said_in_pieces_begins_what_comes_of_the_whole(
            text in "[ a`12,\\[\\]【】(\\n巴]{0,40}",
            cut in 0usize..120,
        ) {
            let mut citing = citing();
            let begun = citing.feed_part(0, 0, &text[..text.floor_char_boundary(cut)]);
            let parts = vec![Part::text(text.clone())];
            let item = Item::Message { role: Role::Assistant, parts, phase: None };
            let whole = citing.whole(0, OutputItem { item: Some(item), whole: true });
            let Some(Item::Message { parts, .. }) = whole.item else { panic!("{whole:?}") };
            let Some(Part::Text(whole)) = parts.first() else { panic!("{parts:?}") };
            prop_assert!(whole.text.starts_with(&begun.text), "{:?} {:?}", whole.text, begun.text);
            prop_assert!(whole.annotations.starts_with(&begun.citations), "{:?}", begun.citations);
        }
    }
}
