//! Did-you-mean: the known name that is nearest to a mistyped one.

/// Names at least this alike (Jaro-Winkler, 0 to 1) are worth suggesting.
const LIKENESS_MIN: f64 = 0.8;

/// The name nearest to `written`, if one is near enough.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&written, &name.to_lowercase().replace('-', "_")), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A help text: the nearest name, else the names there are, else nothing.
pub(crate) fn help<'a>(
    written: &str,
    what: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(name) = nearest(written, known.clone()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let known = list(known);
    (!known.is_empty()).then(|| format!("{what}: {known}"))
}

/// "`a`, `b`, `c`".
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_a_different_word_is_not() {
        let keys = ["source", "files", "environment", "allowed_outbound_hosts", "key_value_stores"];
        let check = |written: &str, expected: Option<&str>| {
            assert_eq!(nearest(written, keys), expected, "{written}");
        };
        check("sorce", Some("source"));
        check("allowed-outbound-host", Some("allowed_outbound_hosts"));
        check("Files", Some("files"));
        check("enviroment", Some("environment"));
        check("keyvalue_stores", Some("key_value_stores"));
        check("zebra", None);
        check("", None);
    }

    #[test]
    fn help_lists_the_names_when_none_is_near() {
        assert_eq!(help("zzz", "known keys", ["a", "b"]).unwrap(), "known keys: `a`, `b`");
        assert_eq!(help("zzz", "known keys", []), None);
    }
}
