//! Marked content (ISO 32000, 14.6), of which only its replacement text counts.

/// How many marks may be inside of each other.
const MARKS_MAX: usize = 256;

/// The marks that are open.
#[derive(Debug, Default)]
pub(super) struct Marked {
    marks: Vec<Option<Replacement>>,
    /// Marks that are open beyond those that are kept.
    more: usize,
}

#[derive(Debug)]
struct Replacement {
    text: String,
    is_given: bool,
}

impl Marked {
    /// A mark begins, with what its content is to be read as.
    pub(super) fn begin(&mut self, text: Option<String>) {
        if self.marks.len() < MARKS_MAX {
            self.marks.push(text.map(|text| Replacement { text, is_given: false }));
        } else {
            self.more += 1;
        }
    }

    /// The last mark ends.
    pub(super) fn end(&mut self) {
        if self.more > 0 {
            self.more -= 1;
        } else {
            self.marks.pop();
        }
    }

    /// What is read in place of what is shown now: nothing after the first time.
    pub(super) fn replacement(&mut self) -> Option<String> {
        let replacement = self.marks.iter_mut().flatten().next()?;
        if std::mem::replace(&mut replacement.is_given, true) {
            return Some(String::new());
        }
        Some(replacement.text.clone())
    }
}
