//! Takes out of a text what tells who somebody is, or opens something: addresses, numbers, keys. What is found becomes a word
//! in brackets for its kind. It knows patterns and check digits, and neither names nor places: what it leaves is less, not
//! nothing. In doubt it takes out.

use regex::{Captures, Regex};
use std::sync::LazyLock;

/// So many times as much text as is asked for is looked at, at most; the rest would not fit if not nearly all was taken out.
pub(super) const LOOKED_AT_FACTOR: usize = 4;
/// Numbers with fewer digits stay.
const RUN_DIGITS_MIN: usize = 8;
/// As [`RUN_DIGITS_MIN`], where they stand in groups as those of a telephone do.
const GROUPED_DIGITS_MIN: usize = 7;
/// The longest telephone number (ITU-T E.164).
const PHONE_DIGITS_MAX: usize = 15;
/// The lengths of a payment card's number (ISO/IEC 7812).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// The lengths of an IBAN (ISO 13616).
const IBAN_CHARS: std::ops::RangeInclusive<usize> = 15..=34;
/// More digits are no number that has a kind.
const DIGITS_MAX: usize = 64;

/// All patterns in the order in which they are tried where several begin at the same place; each has a group of its name.
/// What may come before a sign by which a pattern is known (`@`, `://`) has a bound: without one, each match would be looked
/// for to the end of the word, however long that is.
/// Word boundaries are those of ASCII, because Chinese has none between a word and a number.
const PATTERN: &str = concat!(
    r"(?P<key>-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    r"|eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]+){0,4}",
    r"|(?i-u:bearer)[ \t]+[A-Za-z0-9._~+/=-]{16,}",
    r"|(?-u:\b)(?:sk|pk|rk|ak)[-_][A-Za-z0-9_-]{8,}",
    r"|(?-u:\b)(?:wk|wadm|wgl|gh[opsur]|github_pat|glpat|xox[abeoprs]|hf|gsk|npm|pypi|shpat)[-_][A-Za-z0-9_-]{10,}",
    r"|(?-u:\b)(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"|(?-u:\b)AIza[A-Za-z0-9_-]{30,}",
    r#"|(?-u:\b)[A-Za-z][A-Za-z0-9+.-]{0,30}://[^ \t\r\n/:@"<>]*:[^ \t\r\n/@"<>]+@)"#,
    r"|(?P<password>(?:(?i-u:(?:password|passwd|passwort|passcode|api[_ -]?key|secret[_ -]?key|",
    r"client[_ -]?secret|access[_ -]?token))|密码|口令|密钥)",
    r#"[\\"'”]{0,3} {0,3}(?:[:=：]|is |是|为) {0,3}[\\"'“]{0,3}[^ \t\r\n"'“”,，。;；\\]{3,})"#,
    r"|(?P<email>[A-Za-z0-9À-ɏ.!#$%&'*+/=?^_`{|}~-]{1,64}(?:[@＠]|%40)[A-Za-z0-9À-ɏ-]+(?:\.[A-Za-z0-9À-ɏ-]+)+)",
    r"|(?P<iban>(?-u:\b)[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30})",
    // Dates and spans of years, which look like telephone numbers.
    r"|(?P<keep>(?-u:\b)(?:(?:19|20)[0-9]{2}[-./][01]?[0-9][-./][0-3]?[0-9]",
    r"|[0-3]?[0-9][-./][0-3]?[0-9][-./](?:19|20)[0-9]{2}",
    r"|(?:19|20)[0-9]{2} ?[-–/] ?(?:19|20)[0-9]{2})(?-u:\b))",
    r"|(?P<digits>[+＋]?[(（]?[0-9０-９](?:[ \u{a0}().（）/\x2d\u{2010}-\u{2015}－]{0,3}[0-9０-９])+[Xx]?)",
);

/// None if it could not be made, which a test excludes; then everything is taken out.
static FOUND: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(PATTERN).ok());

/// `text` without what must not be recorded, at most `bytes_max` bytes of it as they stand in JSON; an ellipsis is at its
/// end if it was cut.
pub(super) fn redacted(text: &str, bytes_max: usize) -> String {
    let Some(pattern) = &*FOUND else { return String::new() };
    let looked_at = looked_at(text, bytes_max.saturating_mul(LOOKED_AT_FACTOR));
    let (mut out, mut at) = (Cut::new(bytes_max), 0);
    while let Some(found) = pattern.captures_at(looked_at, at) {
        let Some(whole) = found.get(0) else { break };
        out.push(&looked_at[at..whole.start()]);
        let (taken, kind) = judge(&found, whole.as_str());
        match kind {
            Some(kind) => out.push(kind),
            None => out.push(&whole.as_str()[..taken]),
        }
        at = whole.start() + taken;
        if out.is_full {
            return out.text;
        }
    }
    out.push(&looked_at[at..]);
    if looked_at.len() < text.len() {
        out.end();
    }
    out.text
}

/// The part of `text` that is looked at. Where it is cut, it ends before a word or a number, so that no half of one stays.
fn looked_at(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    without_last(&text[..text.floor_char_boundary(bytes_max)])
}

/// A text that was cut somewhere, without the address, the key or the number that the cut may have gone through.
pub(super) fn without_last(cut: &str) -> &str {
    let is_latin = |one: char| one.is_ascii_graphic() || ('À'..='ɏ').contains(&one);
    let whole = cut.trim_end_matches(|one: char| is_latin(one) || value(one).is_some() || one == '＠');
    whole.trim_end_matches(|one: char| one.is_ascii_digit() || one.is_whitespace() || "()+-./".contains(one))
}

/// How many bytes of what was found are meant, and the word for them; none: they stay.
fn judge(found: &Captures<'_>, whole: &str) -> (usize, Option<&'static str>) {
    let is = |name: &str| found.name(name).is_some();
    if is("key") {
        (whole.len(), Some("[key]"))
    } else if is("password") {
        (whole.len(), Some("[password]"))
    } else if is("email") {
        (whole.len(), Some("[email]"))
    } else if is("keep") {
        (whole.len(), None)
    } else if is("iban") {
        // Its two letters stay where it is none; the number that follows is looked at for itself.
        iban(whole).map_or((2, None), |bytes| (bytes, Some("[iban]")))
    } else {
        digits(whole)
    }
}

/// How many bytes at the beginning are an IBAN. What follows one may look like a part of it.
fn iban(text: &str) -> Option<usize> {
    let chars: Vec<(usize, char)> =
        text.char_indices().filter(|(_, one)| one.is_ascii_alphanumeric()).collect();
    let longest = chars.len().min(*IBAN_CHARS.end());
    let is_valid = |count: usize| {
        // The first four go behind the rest; a letter counts two digits, A being 10.
        let rotated = chars[4..count].iter().chain(&chars[..4]);
        let remainder = rotated.fold(0_u32, |sum, (_, one)| match one.to_digit(36) {
            Some(value @ 10..) => (sum * 100 + value) % 97,
            value => (sum * 10 + value.unwrap_or(0)) % 97,
        });
        remainder == 1
    };
    let count = (*IBAN_CHARS.start()..=longest).rev().find(|count| is_valid(*count))?;
    chars.get(count - 1).map(|(at, _)| at + 1)
}

/// What a number is: the digits of `text`, with what stands between them.
fn digits(text: &str) -> (usize, Option<&'static str>) {
    let number = text.trim_end_matches(['X', 'x']);
    let values: Vec<u8> = number.chars().filter_map(value).take(DIGITS_MAX).collect();
    if number.len() < text.len() && is_resident_identity(&values, 10) {
        return (text.len(), Some("[id]"));
    }
    (number.len(), kind(number, &values))
}

fn kind(number: &str, values: &[u8]) -> Option<&'static str> {
    let is_international = number.starts_with(['+', '＋']);
    let between = number.chars().filter(|one| value(*one).is_none()).count();
    let is_grouped = between > usize::from(is_international);
    let count = values.len();
    if let Some((last, rest)) = values.split_last()
        && is_resident_identity(rest, *last)
    {
        return Some("[id]");
    }
    if !is_international && CARD_DIGITS.contains(&count) && is_luhn(values) {
        return Some("[card]");
    }
    let is_mobile_of_china = count == 11 && matches!(values, [1, second, ..] if *second >= 3);
    let looks_like_phone = is_international || is_grouped || is_mobile_of_china || values.first() == Some(&0);
    let digits_min = if is_international || is_grouped { GROUPED_DIGITS_MIN } else { RUN_DIGITS_MIN };
    if count < digits_min || is_amount(number) {
        return None;
    }
    Some(if looks_like_phone && count <= PHONE_DIGITS_MAX { "[phone]" } else { "[number]" })
}

/// Of a digit, also of the wide ones of East Asia.
fn value(one: char) -> Option<u8> {
    let value = match one {
        '０'..='９' => u32::from(one) - u32::from('０'),
        _ => one.to_digit(10)?,
    };
    u8::try_from(value).ok()
}

/// `12345.67`: one point, and one or two digits behind it.
fn is_amount(number: &str) -> bool {
    let is_run = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_cents = |part: &str| (1..=2).contains(&part.len()) && is_run(part);
    number.split_once('.').is_some_and(|(whole, cents)| is_run(whole) && is_cents(cents))
}

/// The check digit of payment cards (ISO/IEC 7812-1, annex B).
fn is_luhn(values: &[u8]) -> bool {
    let doubled = |value: u8| u32::from(if value > 4 { value * 2 - 9 } else { value * 2 });
    let sum: u32 = values
        .iter()
        .rev()
        .enumerate()
        .map(|(place, value)| if place % 2 == 1 { doubled(*value) } else { u32::from(*value) })
        .sum();
    sum.is_multiple_of(10)
}

/// A resident identity number of China (GB 11643): a region, a day of birth, an order, and the check digit `check`.
fn is_resident_identity(body: &[u8], check: u8) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: [u8; 11] = [1, 0, 10, 9, 8, 7, 6, 5, 4, 3, 2];
    if body.len() != WEIGHTS.len() {
        return false;
    }
    let sum: u32 = body.iter().zip(WEIGHTS).map(|(value, weight)| u32::from(*value) * weight).sum();
    CHECKS.get(sum as usize % CHECKS.len()) == Some(&check)
}

/// How many bytes a character takes in a text of JSON.
fn json_bytes(one: char) -> usize {
    match one {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => one.len_utf8(),
    }
}

/// How many bytes a text takes in JSON, without its quotes.
pub(super) fn json_text_bytes(text: &str) -> usize {
    text.chars().map(json_bytes).sum()
}

/// A text up to a length.
struct Cut {
    text: String,
    left: usize,
    is_full: bool,
}

impl Cut {
    const ELLIPSIS: &str = "…";

    fn new(bytes_max: usize) -> Self {
        Self { text: String::new(), left: bytes_max.saturating_sub(Self::ELLIPSIS.len()), is_full: false }
    }

    fn push(&mut self, more: &str) {
        if self.is_full {
            return;
        }
        for one in more.chars() {
            let Some(left) = self.left.checked_sub(json_bytes(one)) else { return self.end() };
            self.left = left;
            self.text.push(one);
        }
    }

    /// More does not fit.
    fn end(&mut self) {
        if !self.is_full {
            self.text.push_str(Self::ELLIPSIS);
        }
        self.is_full = true;
    }
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
