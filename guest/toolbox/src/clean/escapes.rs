//! Characters that are written as `\uXXXX` in JSON: whoever reads the JSON sees what was taken out of plain text.

use super::characters::is_hidden;

/// `json`, in which no escape means a hidden character, and none a character of ASCII that can stand for itself.
pub(super) fn clean_escapes(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        clean.push_str(before);
        let (length, meaning) = read(escape);
        let written = escape.get(..length).unwrap_or(escape);
        match meaning {
            Some(character) if is_hidden(character) => {}
            Some(character @ ' '..='~') if character != '"' && character != '\\' => clean.push(character),
            // It joins, or it does not, as its neighbours are.
            Some(character) if length >= 6 && !character.is_control() && !character.is_ascii() => {
                clean.push(character);
            }
            _ => clean.push_str(written),
        }
        rest = escape.get(length..).unwrap_or_default();
    }
    clean.push_str(rest);
    clean
}

/// How long the escape is that `text` begins with, and what it means, unless that is a quote, a backslash or white space.
fn read(text: &str) -> (usize, Option<char>) {
    match text.as_bytes().get(1) {
        Some(b'/') => return (2, Some('/')),
        // Controls, though they have names.
        Some(b'b' | b'f' | b'r') => return (2, Some('\0')),
        _ => {}
    }
    let Some(first) = unit(text) else {
        // `\n` and its like: the backslash and what follows.
        return (text.char_indices().nth(2).map_or(text.len(), |(at, _)| at), None);
    };
    if let Some(character) = char::from_u32(first.into()) {
        return (6, Some(character));
    }
    let second = text.get(6..).and_then(unit);
    match second.and_then(|second| char::decode_utf16([first, second]).next()?.ok()) {
        Some(character) => (12, Some(character)),
        // Half of a pair means nothing: it is dropped, as a hidden character is.
        None => (6, Some('\0')),
    }
}

fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn check(json: &str, expected: &str) {
        let clean = clean_escapes(json);
        assert_eq!(clean, expected, "{json}");
        serde_json::from_str::<Value>(&clean).unwrap();
    }

    #[test]
    fn escapes_of_hidden_characters_go_and_all_others_mean_the_same() {
        check(r#""a\u200bb\u0000c\u001B[2J""#, r#""abc[2J""#);
        check(r#""\udb40\udc41x""#, r#""x""#);
        check(r#""\ud83d\ude00""#, "\"\u{1f600}\"");
        check(r#""\ud83dx\ude00""#, r#""x""#);
        check(r#""\\u200b \" \n \t \\""#, r#""\\u200b \" \n \t \\""#);
        check(r#""\u0068ttps:\/\/x""#, r#""https://x""#);
        check(r#""a\r\nb\ftp\b""#, r#""a\nbtp""#);
        check(r#""\u0022\u005c""#, r#""\u0022\u005c""#);
        check(r#""\u00e9""#, r#""é""#);
    }
}
