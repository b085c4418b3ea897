//! TOML text to a table that keeps the place of every key and value, with all syntax errors the parser can recover
//! from; and the collector that readers of that table report to.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

use crate::diagnostics::{Diagnostic, Diagnostics, SourceFile};

/// A larger file is refused unread; ten thousand tenants take about a tenth of this.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads a file of at most [`FILE_BYTES_MAX`] bytes of UTF-8.
pub(crate) fn read_file(path: &Path, hint: &str) -> Result<SourceFile, Diagnostics> {
    let name = path.display().to_string();
    let failed =
        |message: String, help: &str| Diagnostics::from(Diagnostic::error(message).help(help.to_owned()));
    let size = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(failed(format!("{name} is a folder, not a file"), hint));
        }
        Ok(metadata) => metadata.len(),
        Err(error) => return Err(failed(format!("cannot read {name}: {error}"), hint)),
    };
    if size > FILE_BYTES_MAX {
        return Err(failed(
            format!("{name} has {size} bytes"),
            &format!("at most {FILE_BYTES_MAX} are read; is this the right file?"),
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(format!("cannot read {name}: {error}"), hint))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile::new(name, text)),
        Err(error) => {
            let position = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let source = SourceFile::new(name, text);
            Err(Diagnostic::error("this byte is not UTF-8")
                .at(&source, position..position + 1)
                .help("save the file as UTF-8; TOML allows no other encoding".to_owned())
                .into())
        }
    }
}

/// Parses `source`, reporting every syntax error; the table holds what could be recovered.
pub(crate) fn parse<'s>(source: &'s SourceFile) -> (Spanned<DeTable<'s>>, Report<'s>) {
    let (table, mut errors) = DeTable::parse_recoverable(source.text());
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let mut report = Report { source, found: Diagnostics::new(), broken_lines: BTreeSet::new() };
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        // One slip makes the parser stumble several times; only the first on a line helps.
        if report.broken_lines.insert(source.line_index(span.start)) {
            report.found.push(explain_syntax(source, error.message(), span));
        }
    }
    (table, report)
}

/// Says a syntax error in words that name the usual cause.
fn explain_syntax(source: &SourceFile, message: &str, span: Range<usize>) -> Diagnostic {
    let marked = source.text().get(span.clone()).unwrap_or("").trim();
    let (message, help) = if message.starts_with("string values must be quoted") && marked.is_empty() {
        ("a value is missing after `=`".to_owned(), None)
    } else if message.starts_with("string values must be quoted") {
        (format!("a text must stand in quotes: `\"{marked}\"`"), None)
    } else if message.starts_with("invalid basic string, expected `\"`") {
        ("this string is not closed".to_owned(), Some("a string ends with `\"` on the same line"))
    } else if message.starts_with("invalid literal string") {
        ("a value is missing, or a string is not closed".to_owned(), None)
    } else if message == "duplicate key" {
        let help = "each key and each `[table]` may stand only once; `[[double brackets]]` make a list";
        (format!("`{marked}` is defined twice"), Some(help))
    } else {
        (format!("this is not valid TOML: {message}"), None)
    };
    Diagnostic::error(message).at(source, span).help(help.map(str::to_owned))
}

/// Collects what is found in one document. Findings that a syntax error would cause by itself are held back.
#[derive(Debug)]
pub(crate) struct Report<'s> {
    source: &'s SourceFile,
    found: Diagnostics,
    /// Lines (from 0) with a syntax error: what stands there was guessed by the parser.
    broken_lines: BTreeSet<usize>,
}

impl<'s> Report<'s> {
    pub(crate) fn source(&self) -> &'s SourceFile {
        self.source
    }

    /// Reports something wrong at `span`.
    pub(crate) fn error(&mut self, span: Range<usize>, message: String, help: impl Into<Option<String>>) {
        self.push(Diagnostic::error(message).at(self.source, span).help(help));
    }

    /// Reports something suspicious at `span`.
    pub(crate) fn warning(&mut self, span: Range<usize>, message: String, help: impl Into<Option<String>>) {
        self.push(Diagnostic::warning(message).at(self.source, span).help(help));
    }

    /// Reports that something is absent; held back if a syntax error may have swallowed it.
    pub(crate) fn absence(&mut self, span: Range<usize>, message: String, help: impl Into<Option<String>>) {
        if !self.is_broken() {
            self.error(span, message, help);
        }
    }

    /// Reports a finding, unless it stands on a line that the parser did not understand.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        let line = diagnostic.location.as_ref().map(|location| location.line - 1);
        if line.is_none_or(|line| !self.broken_lines.contains(&line)) {
            self.found.push(diagnostic);
        }
    }

    /// True if the text has a syntax error, so that what is missing may only have been misread.
    pub(crate) fn is_broken(&self) -> bool {
        !self.broken_lines.is_empty()
    }

    /// True if an error was reported.
    pub(crate) fn has_errors(&self) -> bool {
        self.found.has_errors()
    }

    pub(crate) fn into_diagnostics(self) -> Diagnostics {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syntax_error_is_reported_once_in_order() {
        let text = "a = \nb = 2\nc = yes\n[x\n[y]\nd = \"abc\ny.e = 1\ny.e = 2\n[y]\n= 3\nk k = 2\n";
        let source = SourceFile::new("f", text);
        let (_, report) = parse(&source);
        let found = report.into_diagnostics();
        let found: Vec<(usize, &str)> = found
            .iter()
            .map(|d| (d.location.as_ref().map_or(0, |place| place.line), d.message.as_str()))
            .collect();
        let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 4, 6, 8, 9, 10, 11], "{found:?}");
        assert_eq!(found[0].1, "a value is missing after `=`");
        assert_eq!(found[1].1, "a text must stand in quotes: `\"yes\"`");
        assert_eq!(found[3].1, "this string is not closed");
        assert_eq!(found[4].1, "`e` is defined twice");
    }

    #[test]
    fn files_that_cannot_be_read_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, content: Option<&[u8]>, expected: &str| {
            let path = folder.path().join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let found = read_file(&path, "the hint").unwrap_err().to_string();
            assert!(found.contains(expected), "{found}");
        };
        check("absent.toml", None, "the hint");
        check("", None, "is a folder");
        check("latin1.toml", Some(b"a = 1\nb = \"\xe4\"\n"), "latin1.toml:2:6");
        check("big.toml", Some(&vec![b'#'; FILE_BYTES_MAX as usize + 1]), "16777217 bytes");
    }
}
