//! Sentences of a text.

/// The most sentences of one passage that are looked at.
const SENTENCES_MAX: usize = 100;
/// The longest sentence that is quoted whole, in characters.
const CHARACTERS_MAX: usize = 600;
/// Words before whose full stop no sentence ends.
const ABBREVIATIONS: &[&str] =
    &["e.g", "i.e", "etc", "mr", "mrs", "ms", "dr", "no", "vs", "cf", "fig", "approx", "st"];

/// Ends of Chinese sentences: full stop, exclamation mark, question mark, semicolon.
const ENDS_CHINESE: &str = "\u{3002}\u{ff01}\u{ff1f}\u{ff1b}";

/// A sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sentence<'a> {
    pub(super) text: &'a str,
    /// Whether it is a question.
    pub(super) asks: bool,
}

impl<'a> Sentence<'a> {
    fn new(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let asks = text.ends_with(['?', '\u{ff1f}']);
        let says = text.chars().any(char::is_alphanumeric);
        says.then_some(Self { text, asks })
    }

    /// As it is quoted.
    pub(super) fn shown(&self) -> String {
        match self.text.char_indices().nth(CHARACTERS_MAX) {
            Some((end, _)) => format!("{}…", self.text.get(..end).unwrap_or_default().trim_end()),
            None => self.text.to_owned(),
        }
    }
}

/// Whether a sentence ends with the character at the end of `text`, before `next`.
fn ends(text: &str, next: Option<char>) -> bool {
    let Some(last) = text.chars().next_back() else { return false };
    if last == '\n' || ENDS_CHINESE.contains(last) {
        return true;
    }
    if !matches!(last, '.' | '!' | '?') || !next.is_none_or(char::is_whitespace) {
        return false;
    }
    let word = text.trim_end_matches('.').rsplit(|character: char| character.is_whitespace()).next();
    let word = word.unwrap_or_default().to_lowercase();
    // A single letter is an initial; digits that nothing stands before are the number of a list's element.
    let is_initial = word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_number = text.trim().trim_end_matches('.').bytes().all(|byte| byte.is_ascii_digit());
    last != '.' || !(ABBREVIATIONS.contains(&word.as_str()) || is_initial || is_number)
}

/// The sentences of a text, in their order.
pub(super) fn sentences(text: &str) -> Vec<Sentence<'_>> {
    let mut all = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((place, character)) = characters.next() {
        let end = place + character.len_utf8();
        // Most characters end nothing, and need no closer look.
        let may_end = matches!(character, '.' | '!' | '?' | '\n') || ENDS_CHINESE.contains(character);
        let next = characters.peek().map(|(_, next)| *next);
        if may_end && text.get(start..end).is_some_and(|sentence| ends(sentence, next)) {
            all.extend(text.get(start..end).and_then(Sentence::new));
            start = end;
            if all.len() == SENTENCES_MAX {
                return all;
            }
        }
    }
    all.extend(text.get(start..).and_then(Sentence::new));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let seen: Vec<&str> = sentences(text).iter().map(|sentence| sentence.text).collect();
        assert_eq!(seen, expected, "{text:?}");
    }

    #[test]
    fn sentences_end_where_they_end() {
        check("", &[]);
        check("One. Two! Three? Four", &["One.", "Two!", "Three?", "Four"]);
        check("It costs 3.50 euros, e.g. for you.", &["It costs 3.50 euros, e.g. for you."]);
        check("A. Smith came.", &["A. Smith came."]);
        check("It opens at 9. Come in.", &["It opens at 9.", "Come in."]);
        check("10. Click here. 11. Wait.", &["10. Click here.", "11. Wait."]);
        check("line\nline two\n\n---\n", &["line", "line two"]);
        check("一。二!三", &["一。", "二!三"]);
        check("一\u{ff01}二\u{ff1f}", &["一\u{ff01}", "二\u{ff1f}"]);
        assert!(sentences("Why?")[0].asks && !sentences("So.")[0].asks);
    }

    #[test]
    fn what_is_looked_at_is_bounded() {
        assert_eq!(sentences(&"a. ".repeat(500)).len(), 1, "initials end nothing");
        assert_eq!(sentences(&"word. ".repeat(500)).len(), SENTENCES_MAX);
        let long = "x".repeat(5_000);
        assert_eq!(sentences(&long)[0].shown().chars().count(), CHARACTERS_MAX + 1);
    }
}
