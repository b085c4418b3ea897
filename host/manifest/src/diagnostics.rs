//! Mistakes, collected: what is wrong, where (file, line, column), and what to do about it.

mod render;
mod source;

use std::fmt;
use std::ops::Range;

pub use source::{Location, SourceFile};

/// More mistakes than this in one file are counted, not kept.
pub const DIAGNOSTICS_MAX: usize = 500;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not do what its author thinks.
    Warning,
}

/// One finding. Display draws it as rustc would; [`Diagnostic::render`] adds colour on request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where; absent only for what stands in no file, such as a command-line flag.
    pub location: Option<Location>,
    /// Other places that belong to the finding, each with a word on why, such as the first of two duplicates.
    pub related: Vec<(String, Location)>,
    /// What was expected or what to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without a place yet.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            location: None,
            related: Vec::new(),
            help: None,
        }
    }

    /// A warning without a place yet.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Places the finding at a byte span of `source`.
    #[must_use]
    pub fn at(mut self, source: &SourceFile, span: Range<usize>) -> Self {
        self.location = Some(source.locate(span));
        self
    }

    /// Adds a second place and why it matters.
    #[must_use]
    pub fn related(mut self, label: impl Into<String>, source: &SourceFile, span: Range<usize>) -> Self {
        self.related.push((label.into(), source.locate(span)));
        self
    }

    /// Says what to do; may have several lines. Nothing happens for `None`, so optional suggestions chain.
    #[must_use]
    pub fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// The finding as text for a terminal, with ANSI colours if `colour`.
    pub fn render(&self, colour: bool) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = render::Painter::new(&mut text, colour).diagnostic(self);
        text
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        render::Painter::new(f, false).diagnostic(self)
    }
}

/// All findings of one pass, in the order of their places once sorted. As an error it holds at least one error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
    omitted: usize,
}

impl Diagnostics {
    /// An empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding. An exact repeat is dropped, and so is what comes after [`DIAGNOSTICS_MAX`] others, counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.items.contains(&diagnostic) {
        } else if self.items.len() < DIAGNOSTICS_MAX {
            self.items.push(diagnostic);
        } else {
            self.omitted += 1;
        }
    }

    /// Adds all findings of `other`.
    pub fn append(&mut self, other: Self) {
        other.items.into_iter().for_each(|diagnostic| self.push(diagnostic));
        self.omitted += other.omitted;
    }

    /// True if nothing was found, not even a warning.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The number of findings kept.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True if something was found that makes the file unusable.
    pub fn has_errors(&self) -> bool {
        self.items.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// The findings.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.items.iter()
    }

    /// Brings the findings into the order of the text; those without a place come last.
    pub fn sort(&mut self) {
        self.items.sort_by_key(|diagnostic| {
            let place = diagnostic.location.as_ref();
            (place.is_none(), place.map(|location| (location.file.clone(), location.span.start)))
        });
    }

    /// `value` with the warnings if there is no error, else all findings, sorted.
    ///
    /// # Errors
    /// The findings, if at least one is an error.
    pub fn into_result<T>(mut self, value: T) -> Result<(T, Self), Self> {
        self.sort();
        if self.has_errors() { Err(self) } else { Ok((value, self)) }
    }

    /// All findings as text, a blank line between them and a count at the end, with ANSI colours if `colour`.
    pub fn render(&self, colour: bool) -> String {
        let mut text = self.items.iter().map(|item| item.render(colour)).collect::<Vec<_>>().join("\n\n");
        if let Some(summary) = self.summary() {
            text.push_str("\n\n");
            text.push_str(&summary);
        }
        text
    }

    /// `error: 3 errors and 1 warning`, or nothing for fewer than two findings.
    fn summary(&self) -> Option<String> {
        let errors = self.items.iter().filter(|item| item.severity == Severity::Error).count();
        let warnings = self.items.len() - errors;
        let count = |number: usize, word: &str| match number {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{number} {word}s")),
        };
        if self.items.len() < 2 {
            return None;
        }
        let word = if errors > 0 { "error" } else { "warning" };
        let parts = [count(errors, "error"), count(warnings, "warning")];
        let mut summary =
            format!("{word}: {}", parts.into_iter().flatten().collect::<Vec<_>>().join(" and "));
        if self.omitted > 0 {
            summary.push_str(&format!(", and {} more that are not shown", self.omitted));
        }
        Some(summary)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { items: vec![diagnostic], omitted: 0 }
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = \"a\"\n\tsorce = \"知识\"\nlast = 1\n";

    fn finding() -> Diagnostic {
        let source = SourceFile::new("spin.toml", TEXT);
        Diagnostic::error("unknown key `sorce`")
            .at(&source, 12..17)
            .related("the first one", &source, 0..4)
            .help("did you mean `source`?\nor not".to_owned())
    }

    #[test]
    fn a_finding_is_drawn_with_place_line_carets_and_help() {
        let expected = "\
error: unknown key `sorce`
 --> spin.toml:2:2
  |
2 |     sorce = \"知识\"
  |     ^^^^^
  = note: the first one
 --> spin.toml:1:1
  |
1 | name = \"a\"
  | ^^^^
  = help: did you mean `source`?
          or not";
        assert_eq!(finding().to_string(), expected);
    }

    #[test]
    fn carets_take_the_width_of_wide_characters() {
        let source = SourceFile::new("f", "知 = 识识 x");
        let drawn = Diagnostic::error("m").at(&source, 6..12).to_string();
        assert!(drawn.ends_with("\n  |      ^^^^"), "{drawn}");
    }

    #[test]
    fn colour_only_when_asked() {
        assert!(!finding().render(false).contains('\u{1b}'));
        assert!(finding().render(true).contains("\u{1b}[1;31merror"));
    }

    #[test]
    fn control_characters_of_the_file_do_not_reach_the_terminal() {
        let source = SourceFile::new("f\u{7}", "a\u{1b}[2Jb\u{202e}c");
        let drawn = Diagnostic::error("bad \u{1b}[2J").at(&source, 0..1).to_string();
        assert!(!drawn.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{drawn:?}");
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_mistake() {
        let text = format!("{}WRONG{}", "x".repeat(5_000), "y".repeat(5_000));
        let source = SourceFile::new("f", text);
        let drawn = Diagnostic::error("m").at(&source, 5_000..5_005).to_string();
        assert!(drawn.len() < 1_000, "{}", drawn.len());
        let lines: Vec<&str> = drawn.lines().collect();
        let caret = lines[4].chars().position(|c| c == '^').unwrap();
        let shown: String = lines[3].chars().skip(caret).take(5).collect();
        assert_eq!(shown, "WRONG");
    }

    #[test]
    fn findings_past_the_bound_are_counted() {
        let mut found = Diagnostics::new();
        for number in 0..DIAGNOSTICS_MAX + 7 {
            found.push(Diagnostic::error(format!("mistake {number}")));
        }
        assert_eq!(found.len(), DIAGNOSTICS_MAX);
        assert!(found.to_string().ends_with("error: 500 errors, and 7 more that are not shown"));
    }

    #[test]
    fn warnings_alone_are_no_error() {
        let warning = Diagnostics::from(Diagnostic::warning("w"));
        let (value, warnings) = warning.into_result(5).unwrap();
        assert_eq!((value, warnings.len()), (5, 1));
        assert!(Diagnostics::from(Diagnostic::error("e")).into_result(5).is_err());
    }
}
