//! What docs/telemetry.md lists is what the code tells, and all that the alerts, the dashboard and `waggle top`
//! ask for.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All words of `text` that begin like the name of a metric of ours.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("waggle_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// The names in the first column of the tables.
fn documented() -> BTreeSet<String> {
    let text = read("docs/telemetry.md");
    let first =
        |line: &str| line.strip_prefix("| `").and_then(|rest| rest.split('`').next()).map(str::to_owned);
    text.lines().filter_map(first).flat_map(|cell| names(&cell)).collect()
}

/// The metric whose series a name is: a histogram's have suffixes.
fn metric<'a>(name: &'a str, documented: &BTreeSet<String>) -> &'a str {
    let stem = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
    stem.filter(|stem| documented.contains(*stem)).unwrap_or(name)
}

#[test]
fn nobody_asks_for_what_is_not_documented() {
    let documented = documented();
    assert!(documented.contains("waggle_http_requests_total"), "the tables are read: {documented:?}");
    let top = "host/operations/src/top/view.rs";
    for file in ["deploy/prometheus/alerts.yaml", "deploy/grafana/waggle.json", top] {
        let asked = names(&read(file));
        assert!(!asked.is_empty(), "{file} asks for nothing");
        let unknown: Vec<_> =
            asked.into_iter().filter(|name| !documented.contains(metric(name, &documented))).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

/// The files below a folder that write families, without tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(name.as_str(), "tests" | "examples" | "target") {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

#[test]
fn every_metric_of_the_code_is_documented() {
    let documented = documented();
    let mut files = Vec::new();
    sources(&root().join("host"), &mut files);
    let mut told = BTreeSet::new();
    for text in files.iter().map(|file| fs::read_to_string(file).unwrap()) {
        let text = text.split("#[cfg(test)]").next().unwrap();
        if !text.contains("Families") {
            continue;
        }
        // A name stands alone in quotes; other words of ours do not.
        told.extend(text.split('"').filter(|word| names(word).contains(*word)).map(str::to_owned));
    }
    assert!(told.contains("process_resident_memory_bytes"), "the code is read: {told:?}");
    let missing: Vec<_> = told.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/telemetry.md does not list {missing:?}");
}
