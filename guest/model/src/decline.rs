//! Whether a model declines to answer, seen by how its answer begins: in English or Chinese, by a table of openings.
//!
//! It is asked of the small tier only, and what it costs when it is wrong is one more call: so the table holds what is
//! said when nothing else follows, not every sentence with "cannot" in it.

/// The most characters of an answer that are looked at; a streamed answer is held back no longer than that.
pub const LOOKED_AT_CHARACTERS_MAX: usize = 48;

/// What the beginning of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The model declines.
    Declines,
    /// It may still become a way to decline: more of the answer is needed.
    Undecided,
    /// The model answers.
    Answers,
}

/// The stages of a way to decline: one of each, in order.
type Ways = &'static [&'static [&'static str]];

const SORRY: &[&str] = &[
    "",
    "sorry, ",
    "sorry, but ",
    "sorry but ",
    "i'm sorry, ",
    "i'm sorry, but ",
    "i'm sorry but ",
    "i am sorry, ",
    "i am sorry, but ",
    "i'm afraid ",
    "i apologize, but ",
    "i apologise, but ",
    "my apologies, but ",
    "unfortunately, ",
    "unfortunately ",
];
const UNABLE: &[&str] = &[
    "i can't ",
    "i cannot ",
    "i can not ",
    "i'm unable to ",
    "i am unable to ",
    "i'm not able to ",
    "i am not able to ",
    "i won't be able to ",
];
const SERVE: &[&str] = &[
    "help",
    "assist",
    "answer",
    "provide",
    "do that",
    "do this",
    "fulfill",
    "comply",
    "solve",
    "determine",
    "complete",
    "process",
    "discuss",
    "respond",
];
const UNKNOWING: &[&str] = &[
    "i don't know",
    "i do not know",
    "i don't have enough info",
    "i do not have enough info",
    "i don't have an answer",
    "i'm not sure how to answer",
    "as an ai",
    "that's beyond my",
    "that is beyond my",
    "this is beyond my",
];
const SORRY_CHINESE: &[&str] = &[
    "",
    "抱歉,",
    "很抱歉,",
    "非常抱歉,",
    "十分抱歉,",
    "对不起,",
    "不好意思,",
    "對不起,",
    "抱歉",
    "很抱歉",
    "非常抱歉",
    "对不起",
    "對不起",
];
const I_CHINESE: &[&str] =
    &["", "我", "我暂时", "我目前", "目前我", "目前", "这个问题我", "我暫時", "這個問題我"];
const UNABLE_CHINESE: &[&str] = &[
    "无法回答",
    "无法提供",
    "无法帮助",
    "无法协助",
    "无法处理",
    "无法解答",
    "无法完成",
    "无法为您",
    "不能回答",
    "不能提供",
    "不能帮",
    "不能协助",
    "没有办法回答",
    "没办法回答",
    "不知道",
    "不清楚",
    "不太清楚",
    "無法回答",
    "無法提供",
    "無法協助",
    "無法處理",
    "不能協助",
];
const MACHINE_CHINESE: &[&str] =
    &["作为一个ai", "作为ai", "作为人工智能", "作为一个人工智能", "作为一名ai", "作為一個ai", "作為ai"];

const WAYS: [Ways; 4] = [
    &[SORRY, UNABLE, SERVE],
    &[SORRY, UNKNOWING],
    &[SORRY_CHINESE, I_CHINESE, UNABLE_CHINESE],
    &[SORRY_CHINESE, MACHINE_CHINESE],
];

/// Looks at the beginning of an answer: all of it that is there, or its first [`LOOKED_AT_CHARACTERS_MAX`] characters.
pub fn opening(text: &str) -> Opening {
    let (plain, whole) = plain(text);
    let mut seen = Opening::Answers;
    for ways in WAYS {
        match walk(&plain, ways) {
            Opening::Declines => return Opening::Declines,
            Opening::Undecided => seen = Opening::Undecided,
            Opening::Answers => {}
        }
    }
    // What is longer than any way to decline cannot become one.
    if whole { seen } else { Opening::Answers }
}

fn walk(text: &str, stages: Ways) -> Opening {
    let [stage, rest @ ..] = stages else { return Opening::Declines };
    let mut seen = Opening::Answers;
    for way in *stage {
        let then = match text.strip_prefix(way) {
            Some(text) => walk(text, rest),
            None if way.starts_with(text) => Opening::Undecided,
            None => Opening::Answers,
        };
        match then {
            Opening::Declines => return Opening::Declines,
            Opening::Undecided => seen = Opening::Undecided,
            Opening::Answers => {}
        }
    }
    seen
}

/// The text without what stands around its words (white space, quotes, marks of emphasis), in small letters and with
/// one form of apostrophe, comma and space; and whether that is all of the text.
fn plain(text: &str) -> (String, bool) {
    let text = text.trim_start_matches(|character: char| {
        character.is_whitespace() || matches!(character, '"' | '\'' | '*' | '_' | '#' | '>' | '“' | '「')
    });
    let mut out = String::with_capacity(text.len().min(4 * LOOKED_AT_CHARACTERS_MAX));
    let mut characters = text.chars();
    for character in characters.by_ref().take(LOOKED_AT_CHARACTERS_MAX) {
        match character {
            '\u{2019}' | '\u{2018}' | '\u{2bc}' => out.push('\''),
            // The comma and the enumeration comma of Chinese.
            '\u{ff0c}' | '\u{3001}' => out.push(','),
            character if character.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            character => out.extend(character.to_lowercase()),
        }
    }
    (out, characters.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Opening) {
        assert_eq!(opening(text), expected, "{text:?}");
    }

    #[test]
    fn a_model_declines_in_either_language() {
        for text in [
            "I'm sorry, but I can't help with that.",
            "I’m sorry, but I cannot assist with that request.",
            "Sorry, I can't answer that.",
            "I don't know.",
            "I am unable to provide legal advice.",
            "Unfortunately, I'm not able to help you here.",
            "  **I cannot fulfill** this request",
            "As an AI language model, I have no opinion",
            "\"I do not have enough information to say\"",
            "抱歉,我无法回答这个问题。",
            "很抱歉,我不能提供这方面的建议。",
            "对不起\u{ff0c}我不知道。",
            "我不清楚",
            "目前无法处理您的请求",
            "作为一个AI语言模型",
            "作为人工智能助手,我",
            "對不起,我無法回答",
        ] {
            check(text, Opening::Declines);
        }
    }

    #[test]
    fn a_model_answers() {
        for text in [
            "Hello! How can I help?",
            "Sorry for the trouble! Your parcel is on its way.",
            "I can help with that.",
            "I can't wait to show you",
            "The answer is 4.",
            "Unfortunately, the item is sold out.",
            "I know that",
            "您好,您的订单已发货。",
            "抱歉让您久等了,退款已经到账。",
            "无论如何",
            "我们的营业时间是九点到六点",
            "42",
        ] {
            check(text, Opening::Answers);
        }
    }

    #[test]
    fn what_may_still_become_either_is_undecided() {
        for text in [
            "",
            " ",
            "I",
            "I'm sorry",
            "I'm sorry, but I can",
            "Sorry, ",
            "抱",
            "抱歉",
            "我",
            "As an",
            "unfortu",
        ] {
            check(text, Opening::Undecided);
        }
    }

    #[test]
    fn no_more_is_looked_at_than_the_bound() {
        let long = |ways: Ways| -> usize {
            ways.iter().map(|stage| stage.iter().map(|way| way.chars().count()).max().unwrap()).sum()
        };
        assert!(WAYS.iter().all(|ways| long(ways) <= LOOKED_AT_CHARACTERS_MAX), "{:?}", WAYS.map(long));
        let mut seen = String::new();
        for character in "I'm sorry, but I won't be able to, I think, say anything of use about it".chars() {
            seen.push(character);
            assert!(seen.chars().count() <= LOOKED_AT_CHARACTERS_MAX || opening(&seen) == Opening::Answers);
        }
    }
}
