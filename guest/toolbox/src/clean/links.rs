//! Links to hosts that nobody has approved: a tool's text must not make a model send its readers there, nor an image
//! carry away what the model knows.

use std::collections::BTreeSet;

/// What stands where a link was.
const REMOVED: &str = "[link removed]";
/// The schemes of links, longest first where one begins as another.
const SCHEMES: [&str; 5] = ["https:", "http:", "wss:", "ws:", "ftp:"];
/// The longest address of IPv6 in brackets, in bytes; one may name a zone.
const ADDRESS_BYTES_MAX: usize = 64;

/// Which links stay.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    /// `None`: all of them.
    approved: Option<BTreeSet<String>>,
}

impl Links {
    /// All stay.
    pub(crate) fn all() -> Self {
        Self { approved: None }
    }

    /// Those to these hosts stay; `*.example.com` stands for all hosts below one. An origin stands for its host.
    pub(crate) fn approved(hosts: impl Iterator<Item = String>) -> Self {
        let host = |entry: String| {
            let entry = entry.trim().to_ascii_lowercase();
            let bare = SCHEMES.iter().find_map(|scheme| entry.strip_prefix(scheme)).unwrap_or(&entry);
            host_of(bare.trim_start_matches('/')).to_owned()
        };
        Self { approved: Some(hosts.map(host).filter(|host| !host.is_empty()).collect()) }
    }

    /// `text` with only the links that stay. In JSON a link ends before its string does.
    pub(super) fn keep_approved(&self, text: String, is_json: bool) -> String {
        let Some(approved) = &self.approved else { return text };
        // Most texts have none.
        let Some(mut found) = find(&text, 0, is_json) else { return text };
        let mut kept = String::with_capacity(text.len());
        let mut done = 0;
        loop {
            let authority = end_of(&text, found.host, |character| ends_authority(character, is_json));
            if is_approved(approved, host_of(text.get(found.host..authority).unwrap_or_default())) {
                // What follows may hold another: an approved host may lead on to any.
                kept.push_str(text.get(done..authority).unwrap_or_default());
                done = authority;
            } else {
                kept.push_str(text.get(done..found.start).unwrap_or_default());
                kept.push_str(REMOVED);
                done = end_of(&text, found.host, |character| ends_link(character, is_json));
            }
            match find(&text, done, is_json) {
                Some(next) => found = next,
                None => break,
            }
        }
        kept.push_str(text.get(done..).unwrap_or_default());
        kept
    }
}

/// Where a link begins, and where its host does.
struct Found {
    start: usize,
    host: usize,
}

/// The first link from `from` on: a scheme with at least one slash, or backslash, as browsers read it; two of them where a
/// target stands (`](//host`, `="//host`); or a name that begins with `www.`.
fn find(text: &str, from: usize, is_json: bool) -> Option<Found> {
    let bytes = text.as_bytes();
    (from..bytes.len()).filter(|at| text.is_char_boundary(*at)).find_map(|start| {
        let rest = text.get(start..)?;
        let first = *bytes.get(start)?;
        if matches!(first, b'/' | b'\\') {
            let before = start.checked_sub(1).and_then(|before| bytes.get(before));
            if !matches!(before, Some(b'(' | b'"' | b'\'' | b'=' | b'<')) {
                return None;
            }
            let slashes = slashes(rest, is_json);
            return (slashes >= 2).then_some(Found { start, host: start + slashes });
        }
        if !first.is_ascii_alphabetic() {
            return None;
        }
        if let Some(length) = scheme(rest) {
            let behind = rest.get(length..)?;
            let slashes = slashes(behind, is_json);
            let is_link = slashes > 0 || behind.starts_with(char::is_alphanumeric);
            return is_link.then_some(Found { start, host: start + length + slashes });
        }
        // In JSON a line may end before it: `\nwww.`.
        let is_word = start == 0
            || !bytes.get(start - 1).is_some_and(u8::is_ascii_alphanumeric)
            || (start > 1 && bytes.get(start - 2) == Some(&b'\\'));
        (is_word && begins_with(rest, "www.")).then_some(Found { start, host: start })
    })
}

fn begins_with(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len()).is_some_and(|text| text.eq_ignore_ascii_case(beginning))
}

fn scheme(text: &str) -> Option<usize> {
    SCHEMES.iter().find(|scheme| begins_with(text, scheme)).map(|scheme| scheme.len())
}

/// How many bytes of slashes, and of backslashes, `text` begins with. In JSON a backslash is two, and one alone begins
/// something else.
fn slashes(text: &str, is_json: bool) -> usize {
    let mut rest = text;
    loop {
        let backslash = if is_json { "\\\\" } else { "\\" };
        match rest.strip_prefix('/').or_else(|| rest.strip_prefix(backslash)) {
            Some(behind) => rest = behind,
            None => return text.len() - rest.len(),
        }
    }
}

/// Where what begins at `host` ends.
fn end_of(text: &str, host: usize, ends: impl Fn(char) -> bool) -> usize {
    let rest = text.get(host..).unwrap_or_default();
    // An address of IPv6 has what else ends a link.
    let bracket = rest.bytes().take(ADDRESS_BYTES_MAX).position(|byte| byte == b']');
    let skipped = bracket.filter(|_| rest.starts_with('[')).map_or(0, |at| at + 1);
    let behind = rest.get(skipped..).unwrap_or_default();
    host + skipped + behind.find(ends).unwrap_or(behind.len())
}

fn ends_link(character: char, is_json: bool) -> bool {
    character.is_whitespace()
        || matches!(character, '"' | '\'' | '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | '`' | '|' | '^')
        || (is_json && character == '\\')
}

fn ends_authority(character: char, is_json: bool) -> bool {
    matches!(character, '/' | '\\' | '?' | '#') || ends_link(character, is_json)
}

/// The host of what stands behind the slashes of a link, in lower case letters as it stands there.
fn host_of(link: &str) -> &str {
    let authority = link.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = if host.starts_with('[') {
        host.split_inclusive(']').next().unwrap_or_default()
    } else {
        host.split(':').next().unwrap_or_default()
    };
    host.trim_end_matches(['.', ',', ';', '!'])
}

fn is_approved(approved: &BTreeSet<String>, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let below = |entry: &String| {
        entry.strip_prefix('*').is_some_and(|suffix| suffix.starts_with('.') && host.ends_with(suffix))
    };
    // Who approves a host approves the name by which people call it.
    let bare = host.strip_prefix("www.").unwrap_or(&host);
    approved.contains(&host) || approved.contains(bare) || approved.iter().any(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let hosts = ["https://shop.example:8443", "docs.example", "*.cdn.example"];
        let links = Links::approved(hosts.iter().map(|host| (*host).to_owned()));
        assert_eq!(links.keep_approved(text.to_owned(), false), expected, "{text}");
        assert_eq!(Links::all().keep_approved(text.to_owned(), false), text);
    }

    #[test]
    fn links_to_approved_hosts_stay() {
        for text in [
            "see https://shop.example/orders/7?x=1#y, or",
            "HTTPS://DOCS.EXAMPLE",
            "[a](https://a.cdn.example/b.png)",
            "https://www.docs.example/x",
            "https://shop.example:8443/x",
            "no link at all: a//b http x",
            "ratio 3:4 // a comment",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn links_to_all_others_go() {
        check("see https://evil.example/a?b=c now", "see [link removed] now");
        check("![x](https://evil.example/?q=secret)", "![x]([link removed])");
        check("<a href='//evil.example'>x</a>", "<a href='[link removed]'>x</a>");
        check("[x](//evil.example/y)", "[x]([link removed])");
        check("HtTpS:\\\\evil.example\\x", "[link removed]");
        check("https:/evil.example", "[link removed]");
        check("https://docs.example@evil.example/", "[link removed]");
        check("https://docs.example.evil.example", "[link removed]");
        check("https://evilcdn.example https://cdn.example", "[link removed] [link removed]");
        check("www.evil.example/x and awww.x", "[link removed] and awww.x");
        check("wss://evil.example ftp://evil.example", "[link removed] [link removed]");
        check("https://", "[link removed]");
        check("https://[2001:db8::1]/x", "[link removed]");
    }

    #[test]
    fn an_approved_host_leads_nowhere_else() {
        check("https://docs.example/?to=https://evil.example/x.", "https://docs.example/?to=[link removed]");
        check("httphttps://evil.examples://evil.example", "http[link removed]");
        check(
            "https://evil.example https://docs.example https://evil.example",
            "[link removed] https://docs.example [link removed]",
        );
    }

    #[test]
    fn in_json_a_link_ends_with_its_string() {
        let links = Links::approved(std::iter::empty());
        let cleaned =
            links.keep_approved(r#"{"a":"https://evil.example\nwww.evil.example\"x\""}"#.to_owned(), true);
        assert_eq!(cleaned, r#"{"a":"[link removed]\n[link removed]\"x\""}"#);
    }
}
