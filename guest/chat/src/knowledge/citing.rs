//! What an answer cites of what was found, while it is being said: by either API that a model is asked by.

use super::citer::{Citer, Found};
use super::sources::Source;
use std::rc::Rc;
use waggle_model::responses::{Answer, OutputItem};
use waggle_openai::item::{Citation, FileCitation, Item, Part, TextPart};

/// The longest answer that is kept for questions that are alike, in bytes.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Finds the citations of one answer.
#[derive(Debug)]
pub(crate) struct Citing {
    sources: Rc<[Source]>,
    /// The text that is being said, of a model whose answer comes as one.
    text: Citer,
    /// The parts that are being said, of a model that adds its items itself: of each item one, with both their indices.
    parts: Vec<(usize, usize, Citer)>,
    /// The answer with its marks, until it is too long to be kept.
    said: Option<String>,
}

impl Citing {
    /// Of an answer that cites these by their places, from 1.
    pub(crate) fn new(sources: Rc<[Source]>) -> Self {
        let text = Citer::new(Rc::clone(&sources));
        Self { sources, text, parts: Vec::new(), said: Some(String::new()) }
    }

    /// Takes more of a text.
    pub(crate) fn feed(&mut self, piece: &str) -> Found {
        self.note(piece);
        self.text.feed(piece)
    }

    /// Takes the end of a text.
    pub(crate) fn finish(&mut self) -> Found {
        self.text.finish()
    }

    /// Goes on to a part of an item: the part before it ends, and what was held back of it comes.
    pub(crate) fn leave_part(&mut self, at: usize, part: usize) -> Option<(usize, Found)> {
        let (_, known, citer) = self.parts.iter_mut().find(|(item, ..)| *item == at)?;
        if *known == part {
            return None;
        }
        let (before, rest) = (*known, citer.finish());
        *known = part;
        Some((before, rest))
    }

    /// Takes more of a part of an item, the one that is being said.
    pub(crate) fn feed_part(&mut self, at: usize, part: usize, piece: &str) -> Found {
        let known = self.parts.iter().position(|(item, ..)| *item == at);
        let place = known.unwrap_or_else(|| {
            self.parts.push((at, part, Citer::new(Rc::clone(&self.sources))));
            self.parts.len() - 1
        });
        self.parts.get_mut(place).map(|(_, _, citer)| citer.feed(piece)).unwrap_or_default()
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

    /// An answer as it ended, in the same way. Items that had ended before are read again, and are the same again.
    pub(crate) fn whole_answer(&mut self, mut answer: Answer) -> Answer {
        if let Some(said) = &mut self.said {
            said.clear();
        }
        let items = std::mem::take(&mut answer.items);
        answer.items = items.into_iter().enumerate().map(|(at, item)| self.whole(at, item)).collect();
        answer
    }

    fn read(&self, text: &mut TextPart<'static>) {
        let mut citer = Citer::new(Rc::clone(&self.sources));
        let mut found = citer.feed(&text.text);
        let rest = citer.finish();
        found.text.push_str(&rest.text);
        found.citations.extend(rest.citations);
        text.text = found.text.into();
        text.annotations = cited(found.citations);
    }

    fn note(&mut self, piece: &str) {
        match &mut self.said {
            Some(said) if said.len() + piece.len() <= KEPT_BYTES_MAX => said.push_str(piece),
            said => *said = None,
        }
    }

    /// The answer with its marks, once; `None` where it was too long, or there is none.
    pub(crate) fn take_said(&mut self) -> Option<String> {
        self.said.take().filter(|said| !said.trim().is_empty())
    }
}

/// Citations of files, among citations of anything.
pub(crate) fn cited(citations: Vec<FileCitation>) -> Vec<Citation> {
    citations.into_iter().map(Citation::File).collect()
}
