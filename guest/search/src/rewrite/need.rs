//! Whether a question can be understood alone: by its words, without a model. It errs to the side of asking one, since a
//! question that is searched for without what it is about finds something else.

/// A question of so many words or less leaves something out.
const SHORT_WORDS: usize = 3;
/// The same of a question in Chinese, in characters.
const SHORT_CHARACTERS: usize = 6;

/// Words that stand for what was said before.
const REFERRING: [&str; 31] = [
    "it", "its", "they", "them", "their", "theirs", "this", "that", "these", "those", "he", "she", "him",
    "her", "his", "hers", "one", "ones", "there", "then", "former", "latter", "same", "above", "previous",
    "instead", "else", "another", "other", "both", "neither",
];

/// How a question begins that goes on with what was said before.
const CONTINUING: [&str; 12] = [
    "and",
    "but",
    "or",
    "so",
    "also",
    "why",
    "what about",
    "how about",
    "how come",
    "what if",
    "in that case",
    "then",
];

/// The same in Chinese, wherever they stand.
const REFERRING_CHINESE: [&str; 26] = [
    "它", "他", "她", "这", "那", "該", "该", "其", "上面", "前面", "上述", "刚才", "剛才", "之前", "此",
    "前者", "后者", "另外", "其他", "同样", "也", "還", "还有", "还是", "这样", "呢",
];

/// How a question in Chinese begins that goes on.
const CONTINUING_CHINESE: [&str; 8] = ["那", "那么", "还", "然后", "所以", "但", "为什么", "如果"];

fn is_chinese(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Whether a question seems to follow up on what was said before it, if anything was.
pub fn follows_up(question: &str) -> bool {
    let question = question.trim().to_lowercase();
    let chinese = question.chars().filter(|character| is_chinese(*character)).count();
    if chinese > 0 {
        return chinese <= SHORT_CHARACTERS
            || REFERRING_CHINESE.iter().any(|word| question.contains(word))
            || CONTINUING_CHINESE.iter().any(|word| question.starts_with(word));
    }
    let words: Vec<&str> = question
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let said = words.join(" ");
    let continues =
        |start: &&str| said.strip_prefix(*start).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    words.len() <= SHORT_WORDS
        || words.iter().any(|word| REFERRING.contains(word))
        || CONTINUING.iter().any(continues)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_question_that_names_what_it_is_about_stands_alone() {
        for question in [
            "How do I reset my password?",
            "What are the opening hours of the Berlin office?",
            "Which fees apply to transfers within Europe?",
            "如何重置我的登录密码?",
            "信用卡年费是多少钱一年?",
            "Android phones: where do settings live?",
        ] {
            assert!(!follows_up(question), "{question}");
        }
    }

    #[test]
    fn a_question_that_leaves_something_out_follows_up() {
        for question in [
            "How much is it?",
            "And how much does the blue card cost me?",
            "Why?",
            "What about refunds for a card from abroad?",
            "Is that also true for transfers?",
            "And in Berlin?",
            "它多少钱?",
            "那么信用卡的年费怎么算呢?",
            "为什么?",
            "多少钱?",
            "这个功能在哪里可以打开?",
            "",
        ] {
            assert!(follows_up(question), "{question}");
        }
    }

    proptest! {
        #[test]
        fn any_question_can_be_looked_at(question in ".{0,80}") {
            let _decided = follows_up(&question);
        }
    }
}
