//! Which characters belong to scripts that write words without spaces between them.

/// Whether the character is Chinese or Japanese: an ideograph, or kana.
pub fn is_ideographic(character: char) -> bool {
    matches!(character,
        '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
}

/// Whether lines that meet at the character join without a space: ideographs, and the punctuation that goes with them.
pub fn joins_without_space(character: char) -> bool {
    is_ideographic(character) || matches!(character, '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ff65}')
}

/// Whether a space belongs between two characters that stand on two lines of a paragraph.
pub(crate) fn needs_space(before: Option<char>, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let is_spaced = before.is_whitespace() || after.is_whitespace();
    !(is_spaced || joins_without_space(before) && joins_without_space(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_chinese_join_without_a_space() {
        let check = |before, after| needs_space(Some(before), Some(after));
        assert!(!check('语', '言'));
        assert!(!check('。', '下'));
        assert!(check('a', 'b'));
        assert!(check('语', 'a'));
        assert!(!check(' ', 'b'));
        assert!(!needs_space(None, Some('b')));
    }
}
