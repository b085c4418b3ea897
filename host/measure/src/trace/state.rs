//! `tracestate`: what other systems want to be carried along. We put nothing in; we only keep what is valid.

use std::sync::Arc;

/// The most bytes that are carried on; entries at the end are left out for it, long ones first.
pub const TRACESTATE_BYTES_MAX: usize = 512;
/// The most entries; more of them make it invalid.
const ENTRIES_MAX: usize = 32;
/// Entries over this are the first that are left out.
const LONG_ENTRY_BYTES: usize = 128;
/// What is read at all of all fields together.
const READ_BYTES_MAX: usize = 16 << 10;
const KEY_BYTES_MAX: usize = 256;
const TENANT_BYTES_MAX: usize = 241;
const SYSTEM_BYTES_MAX: usize = 14;
const VALUE_BYTES_MAX: usize = 256;

/// All fields as one, if they are valid and there is anything in them. Of a key that comes twice, the first counts.
pub(super) fn read<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Option<Arc<str>> {
    let mut entries: Vec<(&str, &str)> = Vec::new();
    let (mut count, mut bytes) = (0, 0);
    for field in fields {
        bytes += field.len();
        if bytes > READ_BYTES_MAX {
            return None;
        }
        for member in std::str::from_utf8(field).ok()?.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            count += 1;
            let (key, value) = member.split_once('=')?;
            if count > ENTRIES_MAX || !is_key(key) || !is_value(value) {
                return None;
            }
            if entries.iter().all(|(present, _)| *present != key) {
                entries.push((key, value));
            }
        }
    }
    let text = written(entries);
    (!text.is_empty()).then(|| text.into())
}

/// The entries within [`TRACESTATE_BYTES_MAX`].
fn written(mut entries: Vec<(&str, &str)>) -> String {
    let length = |entry: &(&str, &str)| entry.0.len() + 1 + entry.1.len();
    let mut total = entries.iter().map(|entry| length(entry) + 1).sum::<usize>().saturating_sub(1);
    while total > TRACESTATE_BYTES_MAX {
        let place = entries.iter().rposition(|entry| length(entry) > LONG_ENTRY_BYTES);
        let Some(place) = place.or(entries.len().checked_sub(1)) else { break };
        total = total.saturating_sub(length(&entries.remove(place)) + 1);
    }
    let mut text = String::with_capacity(total);
    for (key, value) in entries {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(key);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// `simple-key`, which begins with a letter, or `tenant-id "@" system-id`, whose first part may begin with a digit.
fn is_key(key: &str) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let part = |text: &str, bytes_max: usize, may_begin_with_digit: bool| {
        let first = |byte: u8| byte.is_ascii_lowercase() || (may_begin_with_digit && byte.is_ascii_digit());
        text.len() <= bytes_max && text.bytes().next().is_some_and(first) && text.bytes().all(inner)
    };
    match key.split_once('@') {
        Some((tenant, system)) => {
            part(tenant, TENANT_BYTES_MAX, true) && part(system, SYSTEM_BYTES_MAX, false)
        }
        None => part(key, KEY_BYTES_MAX, false),
    }
}

/// Printable ASCII without comma and equals sign, 1 to 256 bytes, not ending in a space.
fn is_value(value: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=VALUE_BYTES_MAX).contains(&value.len()) && value.bytes().all(allowed) && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(field: &str) -> Option<String> {
        read([field.as_bytes()]).map(|text| text.to_string())
    }

    #[test]
    fn what_the_standard_allows_is_kept() {
        let check = |field: &str, expected: &str| {
            assert_eq!(read_one(field).as_deref(), Some(expected), "{field:?}");
        };
        check("foo=1", "foo=1");
        check("foo=1,bar=2", "foo=1,bar=2");
        check("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3");
        check("foo=1,,bar=2,", "foo=1,bar=2");
        check("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
        check("foo-_*/bar=1", "foo-_*/bar=1");
        check("foo@bar=1,0t-_*/@v-_*/0=2", "foo@bar=1,0t-_*/@v-_*/0=2");
        check("foo= a b;c", "foo= a b;c");
        check("foo=1,foo=2", "foo=1");
        let (long_key, long_tenant) = ("z".repeat(256), format!("{}@{}", "t".repeat(241), "v".repeat(14)));
        check(&format!("{long_key}=1"), &format!("{long_key}=1"));
        check(&format!("{long_tenant}=1"), &format!("{long_tenant}=1"));
    }

    /// The cases of the W3C's own test suite, and some more.
    #[test]
    fn what_the_standard_forbids_loses_all_of_it() {
        let cases = [
            String::new(),
            " , ".to_owned(),
            "foo".to_owned(),
            "foo=".to_owned(),
            "=1".to_owned(),
            "foo =1".to_owned(),
            "FOO=1".to_owned(),
            "foo.bar=1".to_owned(),
            "0foo=1".to_owned(),
            "foo@=1,bar=2".to_owned(),
            "@foo=1,bar=2".to_owned(),
            "foo@@bar=1,bar=2".to_owned(),
            "foo@bar@baz=1,bar=2".to_owned(),
            "foo@0bar=1".to_owned(),
            format!("{}=1", "z".repeat(257)),
            format!("{}@v=1", "t".repeat(242)),
            format!("t@{}=1", "v".repeat(15)),
            "foo=bar=baz".to_owned(),
            "foo=,bar=3".to_owned(),
            "foo=a\u{7f}".to_owned(),
            "foo=é".to_owned(),
            format!("foo={}", "x".repeat(257)),
            (0..33).map(|number| format!("key{number}=1")).collect::<Vec<_>>().join(","),
        ];
        for case in cases {
            assert_eq!(read_one(&case), None, "{case:?}");
        }
        assert_eq!(read([&b"foo=\xff"[..]]), None);
    }

    #[test]
    fn what_is_too_long_loses_long_entries_first_and_then_those_at_the_end() {
        let long = format!("long={}", "x".repeat(200));
        let short: Vec<String> = (0..10).map(|number| format!("key{number}={}", "y".repeat(50))).collect();
        let field = format!("{},{long},{}", short[..4].join(","), short[4..].join(","));
        let kept = read_one(&field).unwrap();
        assert!(kept.len() <= TRACESTATE_BYTES_MAX && !kept.contains("long="), "{kept}");
        assert_eq!(kept, short[..9].join(","));
    }
}
