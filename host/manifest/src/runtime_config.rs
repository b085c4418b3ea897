//! The runtime configuration: a TOML file of sections, each parsed by the crate it belongs to, with every mistake in
//! its place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::diagnostics::{Diagnostic, Diagnostics, SourceFile};
use crate::document;
use crate::suggest;

/// In one section at most this many mistakes are looked for: each is found by another attempt.
const ATTEMPTS_MAX: usize = 32;

/// Sections of Spin's runtime configuration that have no counterpart here.
const NOT_RUN: [(&str, &str); 4] = [
    ("sqlite_database", "SQLite databases are not run by this host"),
    ("llm_compute", "models inside the host are not run by this host"),
    ("variables_provider", "variables come from `--variable` and the environment"),
    ("config_provider", "variables come from `--variable` and the environment"),
];

/// A runtime configuration, read but not yet understood: ask for each section, then [`RuntimeConfig::finish`].
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    source: SourceFile,
    dir: PathBuf,
    asked: BTreeSet<&'static str>,
}

/// A section's name and value.
type Section<'s> = (Range<usize>, Spanned<DeValue<'s>>);

impl RuntimeConfig {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is larger than [`crate::FILE_BYTES_MAX`], or is no TOML; with every syntax error.
    pub fn load(path: &Path) -> Result<Self, Diagnostics> {
        Self::load_named(path, "`--runtime-config-file FILE` names the runtime configuration")
    }

    /// As [`RuntimeConfig::load`], for another file of sections; `help` says where its name comes from.
    ///
    /// # Errors
    /// As there.
    pub fn load_named(path: &Path, help: &str) -> Result<Self, Diagnostics> {
        Self::read(document::read_file(path, help)?)
    }

    /// Parses a configuration's text. `file_name` is what diagnostics show; paths in it are relative to its folder.
    ///
    /// # Errors
    /// Every syntax error.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Diagnostics> {
        Self::read(SourceFile::new(file_name, text))
    }

    /// A configuration without any section, for a host that was started without a file.
    pub fn empty() -> Self {
        Self {
            source: SourceFile::new("(no runtime configuration)", ""),
            dir: PathBuf::new(),
            asked: BTreeSet::new(),
        }
    }

    fn read(source: SourceFile) -> Result<Self, Diagnostics> {
        let found = document::parse(&source).1.into_diagnostics();
        let dir = Path::new(source.name()).parent().unwrap_or(Path::new("")).to_owned();
        found.into_result(()).map(|_| Self { source, dir, asked: BTreeSet::new() })
    }

    /// The folder that relative paths in the file are relative to; empty for the current one.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The text, to point at in further diagnostics.
    pub fn source_file(&self) -> &SourceFile {
        &self.source
    }

    /// The section `[name]`, if the file has it and it is valid. `T` should deny unknown fields.
    ///
    /// Mistakes go to `found`: a wrong value or an unknown key is set aside and the rest tried again, so that several
    /// in one section are found.
    pub fn section<T: DeserializeOwned>(&mut self, name: &'static str, found: &mut Diagnostics) -> Option<T> {
        self.asked.insert(name);
        let (_, value) = take(&mut self.document(), name)?;
        read_section(&self.source, name, value, found)
    }

    /// The sections `[name.LABEL]` by label, those that are valid. Mistakes go to `found`, as for [`Self::section`].
    pub fn named_sections<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        found: &mut Diagnostics,
    ) -> BTreeMap<String, T> {
        self.asked.insert(name);
        let mut sections = BTreeMap::new();
        let Some((key_span, value)) = take(&mut self.document(), name) else {
            return sections;
        };
        let DeValue::Table(table) = value.into_inner() else {
            let message = format!("`{name}` must hold tables, `[{name}.NAME]`");
            found.push(Diagnostic::error(message).at(&self.source, key_span));
            return sections;
        };
        for (label, value) in table {
            let label = label.into_inner().into_owned();
            let path = format!("{name}.{label}");
            if let Some(section) = read_section(&self.source, &path, value, found) {
                sections.insert(label, section);
            }
        }
        sections
    }

    /// A mistake that only the crate of a section can see, such as a folder that does not exist. `path` names the
    /// section and the key, such as `["key_value_store", "default", "url"]`; the longest part of it that the file has
    /// is marked.
    pub fn mistake(&self, path: &[&str], message: impl Into<String>) -> Diagnostic {
        let document = self.document();
        let mut table = Some(&document);
        let mut place = None;
        for key in path {
            let Some((name, value)) = table.and_then(|table| table.get_key_value(*key)) else {
                break;
            };
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            place = Some(if is_table { name.span() } else { value.span() });
            table = match value.get_ref() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            };
        }
        let mistake = Diagnostic::error(message);
        match place {
            Some(place) => mistake.at(&self.source, place),
            None => mistake,
        }
    }

    /// Reports every top-level section that nobody asked for.
    pub fn finish(&self, found: &mut Diagnostics) {
        let document = self.document();
        let mut unknown: Vec<_> =
            document.keys().filter(|key| !self.asked.contains(key.get_ref().as_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        for key in unknown {
            let name = key.get_ref().as_ref();
            let finding = match NOT_RUN.iter().find(|(not_run, _)| *not_run == name) {
                Some((_, reason)) => {
                    Diagnostic::error(format!("`{name}`: {reason}")).help("remove it".to_owned())
                }
                None => {
                    let help = suggest::help(name, "known sections", self.asked.iter().copied());
                    Diagnostic::error(format!("unknown section `{name}`")).help(help)
                }
            };
            found.push(finding.at(&self.source, key.span()));
        }
    }

    /// The document; parsing again for each section is cheaper than keeping a copy that owns its text.
    fn document(&self) -> DeTable<'_> {
        DeTable::parse(self.source.text()).map(Spanned::into_inner).unwrap_or_default()
    }
}

fn take<'s>(table: &mut DeTable<'s>, name: &str) -> Option<Section<'s>> {
    let (key, value) = table.remove_entry(name)?;
    Some((key.span(), value))
}

fn read_section<T: DeserializeOwned>(
    source: &SourceFile,
    path: &str,
    mut value: Spanned<DeValue<'_>>,
    found: &mut Diagnostics,
) -> Option<T> {
    let mut removed = BTreeSet::new();
    for attempt in 0..ATTEMPTS_MAX {
        let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(section) => return (attempt == 0).then_some(section),
            Err(error) => error,
        };
        let mistake = Mistake::of(error.message());
        if let Mistake::Missing(field) = &mistake
            && removed.contains(field)
        {
            // It is missing only because its wrong value was set aside.
            return None;
        }
        let span = place(&value, &mistake, error.span());
        found.push(explain(path, &mistake, error.message()).at(source, span.clone()));
        let culprit = match value.get_mut() {
            DeValue::Table(table) => remove_at(table, &span),
            _ => None,
        };
        removed.insert(culprit?);
    }
    None
}

/// What serde complains about, as far as its message tells.
enum Mistake {
    Unknown { field: String, known: Vec<String> },
    Missing(String),
    Other,
}

impl Mistake {
    fn of(message: &str) -> Self {
        let mut quoted = message.split('`').skip(1).step_by(2).map(str::to_owned);
        if message.starts_with("unknown field") || message.starts_with("unknown variant") {
            Self::Unknown { field: quoted.next().unwrap_or_default(), known: quoted.collect() }
        } else if message.starts_with("missing field") {
            Self::Missing(quoted.next().unwrap_or_default())
        } else {
            Self::Other
        }
    }
}

fn explain(path: &str, mistake: &Mistake, message: &str) -> Diagnostic {
    match mistake {
        Mistake::Unknown { field, known } => {
            let what = if message.starts_with("unknown variant") { "unknown value" } else { "unknown key" };
            let help = suggest::help(field, "known ones here", known.iter().map(String::as_str));
            Diagnostic::error(format!("{what} `{field}` in `[{path}]`")).help(help)
        }
        Mistake::Missing(field) => {
            let help = format!("add a line `{field} = …`");
            Diagnostic::error(format!("`{field}` is missing in `[{path}]`")).help(help)
        }
        Mistake::Other => Diagnostic::error(format!("in `[{path}]`: {message}")),
    }
}

/// Where the mistake stands. Serde loses the place inside enums that are told apart by a tag; then the key is looked
/// for by name.
fn place(value: &Spanned<DeValue<'_>>, mistake: &Mistake, span: Option<Range<usize>>) -> Range<usize> {
    let own = value.span();
    let lost = span.as_ref().is_none_or(|span| *span == own);
    match (mistake, value.get_ref()) {
        (Mistake::Unknown { field, .. }, DeValue::Table(table)) if lost => {
            table.get_key_value(field.as_str()).map_or(own, |(key, _)| key.span())
        }
        _ => span.unwrap_or(own),
    }
}

/// Takes the innermost entry around `span` out of the table, and returns its key.
fn remove_at(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    // The innermost first. What stands in a `[section.table]` is not covered by its place, which is the header.
    let inner = table.iter_mut().find_map(|(_, value)| match value.get_mut() {
        DeValue::Table(inner) => remove_at(inner, span),
        _ => None,
    });
    if inner.is_some() {
        return inner;
    }
    let covers =
        |outer: Range<usize>| !outer.is_empty() && outer.start <= span.start && span.end <= outer.end;
    let mut entries = table.iter();
    let (key, _) = entries.find(|(key, value)| covers(key.span()) || covers(value.span()))?;
    let key = key.get_ref().to_string();
    table.remove(key.as_str());
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Engine {
        instances_max: u32,
        #[serde(default)]
        name: String,
        #[serde(default)]
        limits: HashMap<String, u8>,
        #[serde(default)]
        nested: Option<Nested>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nested {
        a: u8,
        b: u8,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    enum Store {
        Redis { url: String },
        Embedded {},
    }

    /// The lines and messages found when both kinds of section are asked for.
    fn check(text: &str, expected: &[(usize, &str)]) {
        let mut config = RuntimeConfig::parse("runtime.toml", text).unwrap();
        let mut found = Diagnostics::new();
        let _ = config.section::<Engine>("engine", &mut found);
        let _ = config.named_sections::<Store>("key_value_store", &mut found);
        config.finish(&mut found);
        found.sort();
        let shown: Vec<_> =
            found.iter().map(|d| (d.location.as_ref().map_or(0, |l| l.line), d.to_string())).collect();
        assert_eq!(shown.len(), expected.len(), "{found}");
        for ((line, text), (expected_line, message)) in shown.iter().zip(expected) {
            assert!(line == expected_line && text.contains(message), "{expected_line} {message} in\n{found}");
        }
    }

    #[test]
    fn valid_sections_are_read() {
        let text = "[engine]\ninstances_max = 5\nlimits.a = 1\n[engine.nested]\na = 1\nb = 2\n\
                    [key_value_store.default]\ntype = \"redis\"\nurl = \"redis://x\"\n";
        check(text, &[]);
        let mut config = RuntimeConfig::parse("some/where/runtime.toml", text).unwrap();
        let mut found = Diagnostics::new();
        let engine: Engine = config.section("engine", &mut found).unwrap();
        assert_eq!((engine.instances_max, engine.limits["a"]), (5, 1));
        let stores: BTreeMap<String, Store> = config.named_sections("key_value_store", &mut found);
        assert_eq!(stores["default"], Store::Redis { url: "redis://x".to_owned() });
        assert_eq!(config.section::<Engine>("absent", &mut found), None);
        assert!(found.is_empty());
        assert_eq!(config.dir(), Path::new("some/where"));
        let check = |path: &[&str], marked: Option<&str>| {
            let place = config.mistake(path, "m").location.map(|place| text[place.span].to_owned());
            assert_eq!(place.as_deref(), marked, "{path:?}");
        };
        check(&["key_value_store", "default", "url"], Some("\"redis://x\""));
        check(&["key_value_store", "default", "absent"], Some("default"));
        check(&["engine", "instances_max"], Some("5"));
        check(&["absent", "x"], None);
    }

    #[test]
    fn every_mistake_of_a_section_is_found_in_its_place() {
        check(
            "[engine]\ninstance_max = 5\nname = 7\nfoo = 1\n",
            &[
                (1, "`instances_max` is missing"),
                (2, "did you mean `instances_max`?"),
                (3, "expected a string"),
                (4, "unknown key `foo`"),
            ],
        );
        check("[engine]\ninstances_max = -1\n", &[(2, "invalid value: integer `-1`, expected u32")]);
        check(
            "[engine]\ninstances_max = 1\n[engine.nested]\na = 1\nc = 2\nd = 3\n",
            &[(3, "`b` is missing"), (5, "unknown key `c`"), (6, "unknown key `d`")],
        );
        check(
            "[engine]\ninstances_max = 1\nlimits = { a = 1, b = 999, c = \"x\" }\n",
            &[(3, "integer `999`"), (3, "string \"x\"")],
        );
        check("engine = 5\n", &[(1, "invalid type")]);
    }

    #[test]
    fn every_named_section_is_checked() {
        check(
            "[key_value_store.a]\ntype = \"reids\"\n[key_value_store.b]\ntype = \"redis\"\nurl = \"x\"\nfoo = 1\n\
             [key_value_store.c]\nurl = \"x\"\n[key_value_store.d]\ntype = \"redis\"\n",
            &[
                (2, "did you mean `redis`?"),
                (6, "unknown key `foo`"),
                (7, "`type` is missing"),
                (9, "`url` is missing"),
            ],
        );
        check("key_value_store = 5\n", &[(1, "must hold tables")]);
        check("[key_value_store]\na = 5\n", &[(2, "in `[key_value_store.a]`")]);
    }

    #[test]
    fn a_section_that_nobody_knows_is_a_mistake() {
        check(
            "[engin]\nx = 1\n[zebra]\n[sqlite_database.a]\n",
            &[
                (1, "did you mean `engine`?"),
                (3, "known sections: `engine`, `key_value_store`"),
                (4, "SQLite databases are not run"),
            ],
        );
    }

    #[test]
    fn syntax_errors_are_found_before_any_section() {
        let found = RuntimeConfig::parse("r.toml", "a = \nb = \"x\n").unwrap_err();
        assert_eq!(found.len(), 2, "{found}");
        let mut empty = RuntimeConfig::empty();
        let mut found = Diagnostics::new();
        assert_eq!(empty.section::<Engine>("engine", &mut found), None);
        empty.finish(&mut found);
        assert!(found.is_empty());
    }
}
