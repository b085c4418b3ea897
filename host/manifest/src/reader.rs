//! Reads a TOML table key by key: wrong types, missing keys and unknown keys become diagnostics in place, and reading
//! goes on, so that one pass finds every mistake.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::Report;
use crate::located::Located;
use crate::suggest;

/// A value of a table: where its key stands, and the value.
#[derive(Clone)]
pub(crate) struct Entry<'t, 'i> {
    pub(crate) key_span: Range<usize>,
    /// The key with the names of the tables around it, such as `component.chat.source`.
    pub(crate) path: String,
    pub(crate) value: &'t Spanned<DeValue<'i>>,
}

/// One table, while it is read.
pub(crate) struct TableReader<'t, 'i> {
    entries: &'t DeTable<'i>,
    path: String,
    /// The table's header or, for an inline table, its braces.
    pub(crate) span: Range<usize>,
    known: Vec<&'static str>,
    /// Known to Spin, but not run here: neither unknown nor worth suggesting.
    refused: Vec<&'static str>,
}

impl<'t, 'i> TableReader<'t, 'i> {
    pub(crate) fn new(entries: &'t DeTable<'i>, path: impl Into<String>, span: Range<usize>) -> Self {
        Self { entries, path: path.into(), span, known: Vec::new(), refused: Vec::new() }
    }

    /// The key's full name.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of `key`, which from now on counts as known.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Entry<'t, 'i>> {
        self.known.push(key);
        let (name, value) = self.entries.get_key_value(key)?;
        Some(Entry { key_span: name.span(), path: self.path_of(key), value })
    }

    /// True if the table has `key`, known or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where `key` stands, if it does; it does not become known.
    pub(crate) fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(name, _)| name.span())
    }

    /// Accepts `key` without looking at its value.
    pub(crate) fn ignore(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// Reports `key`, if present and not an empty list or table, as something this host does not run, and why.
    pub(crate) fn refuse_unless_empty(
        &mut self,
        key: &'static str,
        reason: &str,
        help: &str,
        report: &mut Report<'_>,
    ) {
        self.refused.push(key);
        let Some((name, value)) = self.entries.get_key_value(key) else {
            return;
        };
        let is_empty = match value.get_ref() {
            DeValue::Array(list) => list.is_empty(),
            DeValue::Table(table) => table.is_empty(),
            _ => false,
        };
        if !is_empty {
            report.error(name.span(), format!("`{}`: {reason}", self.path_of(key)), help.to_owned());
        }
    }

    pub(crate) fn string(&mut self, key: &'static str, report: &mut Report<'_>) -> Option<Located<String>> {
        self.get(key)?.string(report)
    }

    /// The string at `key`; reports its absence with what it is for.
    pub(crate) fn required_string(
        &mut self,
        key: &'static str,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Located<String>> {
        let entry = self.get(key);
        if entry.is_none() {
            let message = format!("`{}` is missing", self.path_of(key));
            report.absence(self.span.clone(), message, format!("add a line such as `{example}`"));
        }
        entry?.string(report)
    }

    pub(crate) fn boolean(&mut self, key: &'static str, report: &mut Report<'_>) -> Option<Located<bool>> {
        let entry = self.get(key)?;
        match entry.value.get_ref() {
            DeValue::Boolean(value) => Some(Located::new(*value, entry.value.span())),
            _ => entry.wrong_type("true or false", report),
        }
    }

    /// A list of strings; empty if absent.
    pub(crate) fn strings(&mut self, key: &'static str, report: &mut Report<'_>) -> Vec<Located<String>> {
        let items = self.get(key).map(|entry| entry.items("a list of strings", report)).unwrap_or_default();
        items.iter().filter_map(|item| item.string(report)).collect()
    }

    /// A table of strings in the order of the file; empty if absent.
    pub(crate) fn string_map(
        &mut self,
        key: &'static str,
        report: &mut Report<'_>,
    ) -> Vec<(Located<String>, Located<String>)> {
        let entries = self.get(key).map(|entry| entry.entries("a table", report)).unwrap_or_default();
        let pairs = entries.into_iter();
        pairs.filter_map(|(name, entry)| Some((name, entry.string(report)?))).collect()
    }

    pub(crate) fn table(
        &mut self,
        key: &'static str,
        report: &mut Report<'_>,
    ) -> Option<TableReader<'t, 'i>> {
        self.get(key)?.table(report)
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self, report: &mut Report<'_>) {
        let is_expected = |key: &str| self.known.contains(&key) || self.refused.contains(&key);
        let mut unknown: Vec<_> = self.entries.keys().filter(|key| !is_expected(key.get_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        for key in unknown {
            let written = key.get_ref();
            let help = suggest::help(written, "known keys here", self.known.iter().copied());
            report.error(key.span(), format!("unknown key `{}`", self.path_of(written)), help);
        }
    }
}

impl<'t, 'i> Entry<'t, 'i> {
    /// Where the value stands.
    pub(crate) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Reports that the value should have been `expected`.
    pub(crate) fn wrong_type<T>(&self, expected: &str, report: &mut Report<'_>) -> Option<T> {
        // A table's own span is its header, an absent value's is empty: the key is then the better place.
        let span = if self.value.span().is_empty() { self.key_span.clone() } else { self.value.span() };
        let found = type_name(self.value.get_ref());
        report.error(span, format!("`{}` must be {expected}, not {found}", self.path), None);
        None
    }

    pub(crate) fn string(&self, report: &mut Report<'_>) -> Option<Located<String>> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(Located::new(text.to_string(), self.value.span())),
            _ => self.wrong_type("a string", report),
        }
    }

    /// The value as a list of entries, each named `path[index]`; empty, and reported, if it is none.
    pub(crate) fn items(&self, expected: &str, report: &mut Report<'_>) -> Vec<Self> {
        let DeValue::Array(array) = self.value.get_ref() else {
            return self.wrong_type(expected, report).unwrap_or_default();
        };
        let items = array.iter().enumerate();
        items
            .map(|(index, value)| Entry {
                key_span: value.span(),
                path: format!("{}[{index}]", self.path),
                value,
            })
            .collect()
    }

    /// The value as a table's entries, in the order of the file; empty, and reported, if it is none.
    pub(crate) fn entries(
        &self,
        expected: &str,
        report: &mut Report<'_>,
    ) -> Vec<(Located<String>, Entry<'t, 'i>)> {
        let DeValue::Table(table) = self.value.get_ref() else {
            return self.wrong_type(expected, report).unwrap_or_default();
        };
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let name = Located::new(key.get_ref().to_string(), key.span());
                let path = format!("{}.{}", self.path, name.value);
                (name, Entry { key_span: key.span(), path, value })
            })
            .collect();
        entries.sort_by_key(|(name, _)| name.span.start);
        entries
    }

    pub(crate) fn table(&self, report: &mut Report<'_>) -> Option<TableReader<'t, 'i>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(TableReader::new(table, self.path.clone(), self.value.span())),
            _ => self.wrong_type("a table", report),
        }
    }
}

/// What a value is, in words.
pub(crate) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
