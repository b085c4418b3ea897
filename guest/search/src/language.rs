//! Which of the two languages of our own texts a question is answered in: its own, if it is one of them.

use crate::settings::NoAnswer;

/// A language of our own texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Chinese.
    Chinese,
    /// English, and whatever we have no text in.
    English,
}

/// So many Latin letters weigh as much as one Chinese character: a word of the one is a word of the other.
const LETTERS_PER_CHARACTER: usize = 4;

impl Language {
    /// The language of a text, by its characters.
    pub fn of(text: &str) -> Self {
        let chinese = text.chars().filter(|character| matches!(character, '\u{3400}'..='\u{9fff}')).count();
        let letters = text.chars().filter(char::is_ascii_alphabetic).count();
        if chinese > 0 && chinese * LETTERS_PER_CHARACTER >= letters { Self::Chinese } else { Self::English }
    }

    /// What is said when no source holds the answer.
    pub fn no_answer(self, chosen: NoAnswer) -> &'static str {
        match (self, chosen) {
            (Self::Chinese, NoAnswer::Say) => "抱歉,现有资料中没有找到这个问题的答案。",
            (Self::Chinese, NoAnswer::HandOver) => {
                "抱歉,现有资料中没有找到这个问题的答案,我将为您转接人工客服。"
            }
            (Self::English, NoAnswer::Say) => "Sorry, I found no answer to this in the documents I have.",
            (Self::English, NoAnswer::HandOver) => {
                "Sorry, I found no answer to this in the documents I have. I am handing you over to a colleague."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_in_its_language() {
        for (text, expected) in [
            ("", Language::English),
            ("Where is it?", Language::English),
            ("在哪里?", Language::Chinese),
            ("怎么安装 PostgreSQL?", Language::Chinese),
            ("What does 你好 mean in the documentation of this program?", Language::English),
        ] {
            assert_eq!(Language::of(text), expected, "{text}");
        }
    }
}
