//! Characters that nobody sees: controls, what turns the direction of writing, what has no width, and tags. Models read
//! them all the same, so whoever hides words from people hides them in these.

/// Whether a character is never kept.
pub(crate) fn is_hidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        // C0, DEL, C1; the soft hyphen, the grapheme joiner, the Arabic letter mark, Khmer vowels that are not seen.
        _ if character.is_control() => true,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{17b4}' | '\u{17b5}' => true,
        // The separator of Mongolian vowels, and its selectors.
        '\u{180b}'..='\u{180f}' => true,
        // No width, and the marks of direction.
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        // Joiners of words, operators that are not seen, isolates, and what is deprecated.
        '\u{2060}'..='\u{206f}' => true,
        // The mark of byte order; annotations between lines.
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' => true,
        // Tags, and the selectors by which any byte is hidden behind a letter.
        '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// Whether a character has a meaning between two that are seen, and could carry something else in a row of them: the two
/// joiners of Persian, Hindi and emoji, and the selectors of a form.
fn is_joining(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// `text` without what is hidden. Lines end in `\n`; a joining character stays alone and behind one that is no ASCII.
pub(crate) fn clean_text(text: &str) -> String {
    clean_lines(text, '\n')
}

/// The same of a text in JSON, in whose strings no line ends: what would end one becomes a space.
pub(crate) fn clean_json(text: &str) -> String {
    clean_lines(text, ' ')
}

fn clean_lines(text: &str, separator: char) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut may_join = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let character = match character {
            '\r' if characters.peek() == Some(&'\n') => continue,
            '\r' => '\n',
            '\u{2028}' | '\u{2029}' | '\u{85}' => separator,
            character => character,
        };
        if is_hidden(character) {
            continue;
        }
        if is_joining(character) {
            if may_join {
                clean.push(character);
            }
            // The form of a sign, and then one joiner: so emoji are put together.
            may_join = may_join && matches!(character, '\u{fe0f}') && characters.peek() == Some(&'\u{200d}');
            continue;
        }
        may_join = !character.is_ascii() && !character.is_whitespace();
        clean.push(character);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(clean_text(text), expected, "{text:?}");
    }

    #[test]
    fn what_is_hidden_goes() {
        check("a\0b\u{1b}[2Jc\u{7f}d\u{9b}e", "ab[2Jcde");
        check("\u{feff}a\u{200b}b\u{2060}c\u{ad}d", "abcd");
        check("\u{202e}evil\u{202c} \u{2066}x\u{2069}\u{200f}", "evil x");
        // "hi" in tags, and a byte behind a letter.
        check("x\u{e0068}\u{e0069}\u{e007f}y\u{e0150}", "xy");
        check("x\u{200d}\u{200c}\u{200d}\u{fe01}\u{fe02}y", "xy");
        check("é\u{fe01}\u{fe02}\u{fe03}y", "é\u{fe01}y");
    }

    #[test]
    fn lines_and_what_scripts_need_stay() {
        check("a\r\nb\rc\u{2028}d\te\u{85}", "a\nb\nc\nd\te\n");
        check("می\u{200c}خواهم", "می\u{200c}خواهم");
        check("क्\u{200d}ष", "क्\u{200d}ष");
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        check(family, family);
        let heart = "\u{2764}\u{fe0f}\u{200d}\u{1f525}";
        check(heart, heart);
        check("你好，世界", "你好，世界");
    }
}
