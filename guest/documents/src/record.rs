//! Records of named values, from CSV and JSON alike: a question with its answer, or one line a value.

use crate::document::{BlockKind, Builder, one_line};
use crate::error::ExtractError;

/// Names of columns that hold questions, lower case.
const QUESTIONS: [&str; 12] = [
    "question",
    "questions",
    "q",
    "问题",
    "问",
    "提问",
    "标准问",
    "标准问题",
    "問題",
    "query",
    "prompt",
    "faq question",
];
/// Names of columns that hold answers, lower case.
const ANSWERS: [&str; 13] = [
    "answer",
    "answers",
    "a",
    "答案",
    "答",
    "回答",
    "回复",
    "标准答案",
    "答复",
    "response",
    "completion",
    "reply",
    "faq answer",
];

fn is_one_of(name: &str, names: &[&str]) -> bool {
    let name = name.trim().to_lowercase();
    names.contains(&name.as_str())
}

/// Whether among the names is one for questions and one for answers.
pub(crate) fn has_question_and_answer<'a>(mut names: impl Iterator<Item = &'a str> + Clone) -> bool {
    names.clone().any(|name| is_one_of(name, &QUESTIONS)) && names.any(|name| is_one_of(name, &ANSWERS))
}

/// Adds a record. Values without text are left out.
///
/// # Errors
/// [`ExtractError::TooLarge`].
pub(crate) fn push(fields: &[(&str, &str)], builder: &mut Builder) -> Result<(), ExtractError> {
    let value = |names: &[&str]| {
        fields.iter().position(|(name, value)| is_one_of(name, names) && !value.trim().is_empty())
    };
    let (question, answer) = (value(&QUESTIONS), value(&ANSWERS));
    let mut text = String::new();
    let mut kind = BlockKind::Record;
    if let (Some(question), Some(answer)) = (question, answer) {
        kind = BlockKind::QuestionAnswer;
        let of = |place: usize| fields.get(place).map_or("", |(_, value)| value.trim());
        text = format!("{}\n{}\n", one_line(of(question)), of(answer));
    }
    let is_said = |place: usize| {
        kind == BlockKind::QuestionAnswer && (Some(place) == question || Some(place) == answer)
    };
    for (place, (name, value)) in fields.iter().enumerate() {
        let value = value.trim();
        if value.is_empty() || is_said(place) {
            continue;
        }
        if !name.trim().is_empty() {
            text.push_str(name.trim());
            text.push_str(": ");
        }
        text.push_str(value);
        text.push('\n');
    }
    builder.push(kind, &text)
}
