//! Mistakes in a file that holds secrets, told without a value that stands there: their place and what is wrong.
//!
//! A secret stands where a mistake is made as a rule: in the wrong key, without its quotes, as a text in place of a
//! table. So of a line its key is shown at most, and no value that a message repeats.

use waggle_manifest::{Diagnostic, Diagnostics};

/// What is wrong with a file that is no TOML: nobody knows where its values begin, so nothing of it is shown.
pub(crate) fn syntax(found: &Diagnostics) -> Diagnostics {
    told(found, |_line| String::new())
}

/// What is wrong with the values of a file.
pub(crate) fn values(found: &Diagnostics) -> Diagnostics {
    told(found, key_of)
}

/// A mistake whose message is known to repeat no secret.
pub(crate) fn place(diagnostic: &Diagnostic) -> Diagnostic {
    with_lines(diagnostic, key_of)
}

fn told(found: &Diagnostics, shown: fn(&str) -> String) -> Diagnostics {
    let mut told = Diagnostics::new();
    for diagnostic in found {
        let message = without_values(&diagnostic.message);
        told.push(Diagnostic { message, ..with_lines(diagnostic, shown) });
    }
    told
}

fn with_lines(diagnostic: &Diagnostic, shown: fn(&str) -> String) -> Diagnostic {
    let mut told = diagnostic.clone();
    let related = told.related.iter_mut().map(|(_label, location)| location);
    for location in told.location.iter_mut().chain(related) {
        location.source_line = shown(&location.source_line);
        let left = location.source_line.chars().count().saturating_sub(location.column - 1);
        location.marked_chars = location.marked_chars.min(left).max(1);
    }
    told
}

/// What may be shown of a line: the key and that there is a value, or the name of a section.
fn key_of(line: &str) -> String {
    match line.split_once('=') {
        Some((key, _value)) => format!("{key}= …"),
        None if is_section(line) => line.to_owned(),
        None => String::new(),
    }
}

/// Whether a line without a value is the name of a section and no part of a list.
fn is_section(line: &str) -> bool {
    let name = line.trim_start().strip_prefix('[').map(|name| name.trim_start_matches('['));
    name.is_some_and(|name| name.starts_with(|first: char| first.is_ascii_alphabetic()))
}

/// A message of the reader without the values it repeats: where one can stand, it is cut out.
fn without_values(message: &str) -> String {
    // From the first word to the second (or to the end), what stands between them.
    const AROUND: [(&str, &str, &str); 4] = [
        ("unknown value ", " in `[", "unknown value"),
        ("invalid type: ", ", expected", "a value of the wrong type"),
        ("invalid value: ", ", expected", "a value that cannot be used"),
        ("must stand in quotes", "\n", "must stand in quotes"),
    ];
    for (begins, ends, instead) in AROUND {
        if let Some((before, rest)) = message.split_once(begins) {
            let after = rest.rfind(ends).map_or("", |at| &rest[at..]);
            return format!("{before}{instead}{after}");
        }
    }
    // Nothing else is known to repeat a value; if it does, it is quoted as a text is.
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}…{}", &message[..=first], &message[last..]),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use waggle_manifest::RuntimeConfig;
    use waggle_tenancy::TenantSettings;

    /// What is told of a file.
    fn told(text: &str) -> String {
        let mut found = Diagnostics::new();
        match RuntimeConfig::parse("tenants.toml", text) {
            Ok(mut file) => {
                let _: BTreeMap<String, TenantSettings> = file.named_sections("tenant", &mut found);
                file.finish(&mut found);
            }
            Err(mistakes) => return syntax(&mistakes).render(false),
        }
        values(&found).render(false)
    }

    #[test]
    fn no_mistake_repeats_the_secret_it_was_made_with() {
        #[track_caller]
        fn check(line: &str, place: &str, part: &str) {
            let text = format!("[tenant.a.secrets.model]\norigin = \"https://x.example\"\n{line}\n");
            let told = told(&text);
            assert!(!told.contains("hunter") && !told.contains("4711"), "{line}: {told}");
            assert!(told.contains(&format!("tenants.toml:{place}")) && told.contains(part), "{line}: {told}");
        }
        check("secret = \"hunter2\"", "3:", "unknown value");
        check("secret = { valu = \"hunter2\" }", "3:", "unknown value");
        check("secret = { value = \"hunter2\", x = 1 }", "3:", "wanted");
        check("secret = { value = 4711 }", "3:", "wrong type");
        check("secret = { value = [\"hunter2\"] }", "3:", "wrong type");
        check("secret = [\"hunter2\"]", "3:", "wanted string or table");
        check("secret = [\n[\"hunter2\"],\n[4711],\n]", "3:", "wanted string or table");
        check("secret = hunter2", "3:", "must stand in quotes");
        check("secret = { value = hunter2 }", "3:", "must stand in quotes");
        check("secret = { value = \"hunter2 }", "3:", "TOML");
        check("secret = { value = 'hunter2 }", "3:", "TOML");
        check("secret = { value = \"hunter2\" ", "3:", "TOML");
        check("secret { value = \"hunter2\" }", "3:", "TOML");
        check("secret = { value = \"hunter2\" } hunter3", "3:", "TOML");
        check("prefix = 1\nsecret = { value = \"hunter2\" }", "3:", "wrong type");
        check("header = \"hunter2\"\nheader = \"hunter3\"", "4:", "twice");
        check("seecret = { value = \"hunter2\" }", "3:", "seecret");
        check("secret = { value = \"\"\"\nhunter2", "5:", "TOML");
    }

    #[test]
    fn what_repeats_no_value_stays_as_it_is() {
        let told = told("[tenant.a]\n  colour = 1\nname = 7\n");
        for part in
            ["tenants.toml:2:3\n", "2 |   colour = …\n  |   ^^^^^^", "tenants.toml:3:8\n", "3 | name = …\n"]
        {
            assert!(told.contains(part), "{part:?} is missing in {told}");
        }
        for message in ["unknown key `x` in `[tenant.a]`", "`secret` is missing in `[tenant.a]`"] {
            assert_eq!(without_values(message), message);
        }
        assert_eq!(without_values("a \"b\" c \"d\" e"), "a \"…\" e");
    }
}
